"""The records, figures and page of a run on sample-targeted pruning."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import pages, plots, runs
from sparsejax.experiments.spade_measure import ARMS, METHODS, STAGES
from sparsejax.experiments.spade_pictures import CLASSES
from sparsejax.experiments.spade_toy import DISCS, inside
from sparsejax.pages import counted
from sparsejax.plots import spade as figures_

Records = Sequence[Mapping[str, Any]]
Arrays = Mapping[str, np.ndarray]
_COLUMNS = {
    "agreement": "agrees with dense", "pointing": "pointing game",
    "insertion": "insertion", "deletion": "deletion",
    **{f"auc, {name}": f"AUC, {name}" for name in METHODS},
}  # fmt: skip
_DRAWS = 10_000  # of the bootstrap


def records(seed: int, found: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """A record for each arm: means over images, and the paired gain over dense."""
    made = []
    for arm in ARMS:

        def of(name, arm=arm):
            return found[f"measures/{arm}/{name}"]

        gain = of("auc") - found["measures/dense/auc"]
        made.append({
            "seed": seed, "arm": arm, "images": len(gain),
            "accuracy": float(found["accuracy"]), "success": float(found["success"]),
            "density": dict(zip(STAGES, found["density"].tolist(), strict=True)),
            **{name: float(of(name).mean()) for name in ("auc", *_COLUMNS)},
            "gain": gain.tolist(),
        })  # fmt: skip
    return made


def gains(
    records: Records, arm: str, over: str = "dense"
) -> tuple[float, float, float]:
    """Mean gain in AUC over another arm, and its 95% interval, in points.

    Images are paired; seeds are drawn with replacement, then images within each.
    """

    def of(arm):
        return [100 * np.asarray(r["gain"]) for r in records if r["arm"] == arm]

    groups = [a - b for a, b in zip(of(arm), of(over), strict=True)]
    rng = np.random.default_rng(0)

    def draw(n, shape):
        return rng.integers(0, n, (_DRAWS, *shape))

    # (draws, slots, seeds): what every slot would be, were it of that seed
    each = [g[draw(len(g), (len(groups), len(g)))].mean(-1) for g in groups]
    chosen = draw(len(groups), (len(groups),))[..., None]
    means = np.take_along_axis(np.stack(each, -1), chosen, -1).mean((1, 2))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.mean([g.mean() for g in groups])), float(low), float(high)


def finding(records: Records) -> str:
    """One sentence."""
    dense, spade = (_mean(records, arm, "auc") for arm in ("dense", "spade"))
    rest = [arm for arm in ARMS if arm not in ("dense", "spade")]
    best = max(rest, key=lambda arm: _mean(records, arm, "auc"))
    return (
        f"Saliency maps find the patch with an AUC of {100 * dense:.1f}% in the dense "
        f"network and {100 * spade:.1f}% after SPADE, {_told(gains(records, 'spade'))} "
        f"points (95% interval); the best control, {ARMS[best]}, has "
        f"{100 * _mean(records, best, 'auc'):.1f}%, and SPADE is ahead by "
        f"{_told(gains(records, 'spade', over=best))}"
    )


def _told(interval: tuple[float, float, float]) -> str:
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*interval)


def write(
    folder: Path,
    config,
    records: Records,
    found: Mapping[int, Any],
    drawn: Arrays,
    plane: Arrays,
) -> None:
    """Write `fig_*.svg`, `table.md` and `index.html`."""
    first = found[config.seeds[0]]
    spread = {ARMS[arm]: gains(records, arm) for arm in ARMS if arm != "dense"}
    figures = {
        "auc": figures_.gains(spread, title="Gain in AUC over the dense network"),
        "maps": figures_.maps(
            first["shown"],
            {ARMS[arm]: first[f"maps/{arm}"] for arm in ARMS},
            title="|gradient| of the patch's class, dense and pruned",
        ),
    }
    captions = {
        "auc": "Mean over images and seeds of the paired gain, in points; lines are "
        "95% intervals of a bootstrap over seeds and images.",
        "maps": "The first measured images of the first seed, not chosen. Every map "
        "has a scale of its own.",
    }
    if drawn:
        figures["causes"], captions["causes"] = _causes(drawn)
    figures["toy"], captions["toy"] = _toy(plane)
    shown = {}
    for name, figure in figures.items():
        path = folder / f"fig_{name}.svg"
        plots.save(figure, path)
        shown[name] = pages.figure_svg(
            path.read_bytes(), captions[name], captions[name]
        )
    header, *rows = table(records)
    lines = [header, ["---"] * len(header), *rows]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    runs.write_text(folder / "table.md", text)
    densities = [
        [str(r["seed"]), *(f"{share:g}" for share in r["density"].values()),
         f"{100 * r['accuracy']:.1f}%", f"{100 * r['success']:.1f}%"]
        for r in records if r["arm"] == "spade"
    ]  # fmt: skip
    html = pages.page(
        "Pruning for a sample: do saliency maps find the patch?",
        pages.section("Against controls that look elsewhere, or at nothing",
                      shown["auc"], pages.table(rows, header)),
        pages.section("Maps", shown["maps"]),
        pages.section("What drives a class", shown["causes"]) if drawn else "",
        pages.section("A unit with two positive regions", shown["toy"]),
        pages.section(
            "What was chosen on other images",
            pages.table(densities, ["seed", *STAGES, "clean accuracy", "patch works"]),
        ),
        lead=finding(records),
        footer=f"{config.dataset}, {counted(config.train_images, 'image')} to train "
               f"on, "
        f"{counted(config.count, 'image')} with patches a seed, "
        f"{counted(config.samples, 'variation')} each; "
        f"densities chosen by {config.tune}. Pruning for an image took "
        f"{_seconds(found):.1f} s (median).",
    )  # fmt: skip
    runs.write_text(folder / "index.html", html)


def _causes(drawn: Arrays) -> tuple[Any, str]:
    """Pictures of classes, and how much of the patch is in them."""

    def first(name):
        return drawn[name][:, 0]

    amount = {
        arm: drawn[f"amount/{arm}"].mean() for arm in ("dense", "clean", "patched")
    }
    height = first("drawn/dense").shape[1]
    more = height - drawn["patches"].shape[1]
    around = (more // 2, more - more // 2)
    patches = np.pad(
        drawn["patches"], ((0, 0), around, around, (0, 0)), constant_values=0
    )
    figure = figures_.causes(
        {
            "patch that means the class": patches,
            "dense": first("drawn/dense"),
            "image without patch": first("samples/clean"),
            "pruned for it": first("drawn/clean"),
            "image with patch": first("samples/patched"),
            "pruned for that": first("drawn/patched"),
        },
        [f"class {label}" for label in CLASSES],
        title="What drives a class: in the network, and pruned for one image",
    )
    told = ", ".join(f"{arm} {value:.2f}" for arm, value in amount.items())
    caption = (
        "Pictures that maximise a class's logit, first seed, first image of each kind. "
        "How much of the patch is in them (0: as in images without, 1: with one), "
        f"means over {counted(drawn['amount/clean'].size, 'network')} pruned for "
        f"images without "
        f"and as many for images with it: {told}."
    )
    return figure, caption


def _toy(plane: Arrays) -> tuple[Any, str]:
    """Decision regions of the first seed, and shares over all."""
    names = {"dense": "dense", "dataset": "pruned for the data set"}
    names |= {disc: f"pruned for the {disc} disc" for disc in DISCS}

    def share(arm, disc):
        return inside(plane[f"points/{arm}"], disc).mean(1)

    def label(arm, name):
        return (
            f"{name}\n{100 * share(arm, 'large')[0]:.0f}% large, "
            f"{100 * share(arm, 'small')[0]:.0f}% small"
        )

    figure = figures_.planes(
        {
            label(arm, name): (plane[f"surface/{arm}"], plane[f"points/{arm}"][0])
            for arm, name in names.items()
        },
        list(DISCS.values()),
        title="What drives a unit with two positive regions (green), first seed",
    )

    def listed(values):
        return ", ".join(f"{100 * v:.0f}" for v in values)

    told = "; ".join(
        f"{name}: {listed(share(arm, 'large'))}% in the large disc and "
        f"{listed(share(arm, 'small'))}% in the small one"
        for arm, name in names.items()
    )
    return figure, f"100 points from random starts, by seeds: {told}."


def _seconds(found: Mapping[int, Any]) -> float:
    return float(np.median(np.concatenate([one["seconds"] for one in found.values()])))


def table(records: Records) -> list[list[str]]:
    """Rows of means over seeds, in percent, by arm."""
    rows = [["network", "mean AUC", "gain", "SPADE ahead by", *_COLUMNS.values()]]
    for arm, label in ARMS.items():
        auc, *cells = (
            f"{100 * _mean(records, arm, name):.1f}" for name in ("auc", *_COLUMNS)
        )
        gain = "" if arm == "dense" else _told(gains(records, arm))
        lead = "" if arm == "spade" else _told(gains(records, "spade", over=arm))
        rows.append([label, auc, gain, lead, *cells])
    return rows


def _mean(records: Records, arm: str, name: str) -> float:
    return float(np.mean([r[name] for r in records if r["arm"] == arm]))
