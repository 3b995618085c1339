"""The figures of a run of explanations, each with its caption."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sparsejax import masks
from sparsejax.experiments.relevance import charts, measure
from sparsejax.experiments.relevance.config import LABELS, Config
from sparsejax.experiments.relevance.images import Images
from sparsejax.experiments.relevance.records import (
    Arrays,
    Records,
    account,
    best,
    blame,
    blaming,
)
from sparsejax.pages import counted

_SINGLES = 12  # biases that are drawn one by one
Drawn = tuple[Any, str]


def figures(
    config: Config,
    images: Images,
    records: Records,
    arrays: Mapping[str, Arrays],
    control: Arrays,
) -> dict[str, Drawn]:
    """All of them, `{name: (figure, caption)}`.

    Args:
        config: of the run.
        images: what is explained.
        records: the lines of `metrics.jsonl`.
        arrays: of every method, by its name.
        control: of places in random order.
    """
    drawn = {"maps": _grid(config, images, arrays)}
    if (one := blaming(records)) is not None:
        drawn["biases"] = _biases(images, one, arrays[one["method"]])
    drawn["curves"] = _curves(config, records, arrays, control)
    drawn["randomized"] = _randomized(images, records)
    if config.levels:
        drawn["levels"] = _levels(images, arrays)
    return drawn


def baseline(config: Config) -> str:
    """What is compared with, in words."""
    return "the mean training image" if config.baseline == "mean" else "zero"


def _grid(config, images: Images, by_method) -> Drawn:
    part = slice(images.shown)
    answers = images.logits.argmax(1)
    rows = [f"{label} / {answer}" for label, answer in
            zip(images.labels[part], answers[part])]  # fmt: skip
    columns = {LABELS[name]: _square(images, arrays["map"][part])
               for name, arrays in by_method.items()}  # fmt: skip
    right = (answers == images.labels)[part].sum()
    what = _target(config)
    figure = charts.relevance_grid(
        _picture(images, images.x[part]), rows, columns,
        title=f"Evidence for {what}, {right} of {counted(len(rows), 'sample')} "
              f"answered right",
    )  # fmt: skip
    return figure, (
        f"Rows: label / answer of the network. Maps explain the logit of {what}, each "
        "on a scale of its own (full colour is its largest |value|): blue speaks for "
        "it, orange against. Gradients (SmoothGrad, guided backprop, deconvnet are "
        "some) say what raising a pixel would do, the others what it contributes."
    )


def _biases(images: Images, one, arrays) -> Drawn:
    part, rest = slice(images.shown), slice(images.shown, None)
    biases = {k[5:]: v for k, v in arrays.items() if k.startswith("bias/")}
    sums = account(arrays)
    parts = {"input": sums.input[part]}
    for path in sorted(biases, key=lambda path: _layer(images, path)):
        values = biases[path][part]
        # of a block of layers, all of its biases together
        key = path if path.count("/") < 2 else path.partition("/")[0]
        parts[key] = parts.get(key, 0) + values.reshape(len(values), -1).sum(1)
    other = (sums.constants + sums.absorbed)[part]
    if np.abs(other).max() > 1e-4 * sums.magnitude.max():
        parts["constants, absorbed"] = other
    singles = {
        f"{path.removesuffix('/bias')}[{i}]": values[rest][:, i]
        for path, values in biases.items()
        for i in range(values.shape[1])
    }
    largest = sorted(singles, key=lambda k: -abs(singles[k].mean()))[:_SINGLES]
    share = one["bias_share"]
    exact = ", LRP-0 with every bias an input of its own" if (
        one["method"] == "blame_the_bias") else ""  # fmt: skip
    figure = charts.bias_parts(
        [str(label) for label in images.labels[part]], parts, sums.output[part],
        {name: singles[name] for name in largest},
        title=blame(one),
    )  # fmt: skip
    return figure, (
        f"By {LABELS[one['method']]}{exact}. Left: the samples, by label; bars from "
        "zero to both sides sum to the black mark. Right: the biases whose mean "
        f"relevance over {counted(one['images'], 'test image')} is furthest from zero. "
        f"{share:.0%} is the median over these of the size of all biases' relevance "
        "together, over that of the output."
    )


def _curves(config, records, by_method, control) -> Drawn:
    curves = {LABELS[name]: tuple(arrays[c].mean(0) for c in measure.CURVES)
              for name, arrays in by_method.items()}  # fmt: skip
    random = tuple(control[c].mean(0) for c in measure.CURVES)
    top = best(records, "deletion")
    figure = charts.removal_curves(
        np.linspace(0, 1, len(random[0])), curves, random,
        title=f"Deleting what {LABELS[top['method']]} marks first: mean probability "
        f"{top['deletion']:.2f}, in random order {records[0]['deletion']:.2f}",
    )  # fmt: skip
    return figure, (
        f"Mean over {counted(top['images'], 'test image')} of the probability of "
        f"{_target(config)} while pixels give way to {baseline(config)} (left), or "
        f"the other way round (right). This asks for a comparison with "
        f"{baseline(config)}, which DeepLIFT, integrated gradients and occlusion make; "
        "LRP compares with zero (--baseline= changes both). A gradient says what "
        "raising a pixel would do, not what it contributes: replacing dark pixels of "
        "large gradient raises the output, so that such orders can do worse than a "
        "random one."
    )


def _randomized(images: Images, records) -> Drawn:
    layers = list(reversed(images.layers))
    series = {
        LABELS[r["method"]]: np.array([r["randomized"][k] for k in layers], float)
        for r in records[1:]
    }  # None becomes NaN
    most = max(series, key=lambda name: np.nan_to_num(series[name])[-1])
    count = min(measure.CHUNK, records[0]["images"])
    figure = charts.randomized_layers(
        layers,
        series,
        title="Maps while layers are shuffled"
        + (
            f": at most {series[most][-1]:.2f} of rank correlation is left ({most})"
            if np.isfinite(series[most][-1])
            else ""
        ),
    )
    return figure, (
        "The entries of layer after layer are shuffled, from the last to all, and "
        "every map compared with that of the network as trained: mean rank correlation "
        f"of absolute values over {counted(count, 'test image')}. What stays high "
        f"shows the "
        "image or the architecture. Methods that are zero where the image is owe to "
        "that alone a good part of what they keep. (Adebayo et al., arXiv 1810.03292.)"
    )


def _levels(images: Images, by_method) -> Drawn:
    here = int(masks.count(images.subject.mask))
    counts = [here, *(count for _, count in images.others.values())]
    keys = ["map", *(f"level_{level}" for level in images.others)]
    order = sorted(range(len(counts)), key=lambda i: -counts[i])
    columns = {
        LABELS[name]: _square(images, np.stack([arrays[keys[i]][0] for i in order]))
        for name, arrays in by_method.items()
    }
    pictures = np.repeat(_picture(images, images.x[:1]), len(order), axis=0)
    rows = [f"{counts[i]:,}\nweights" for i in order]
    figure = charts.relevance_grid(
        pictures, rows, columns,
        title=f"A {images.labels[0]}, explained at {counted(len(rows), 'level')} "
              f"of pruning",
    )  # fmt: skip
    return figure, (
        "The first of the samples above, a row for each level of the run, every map on "
        f"its own scale. The rest of this page is about the one of "
        f"{counted(here, 'weight')}."
    )


def _layer(images: Images, path: str) -> int:
    """The place of a bias's layer, the last for those of none."""
    layer = path.partition("/")[0]
    return images.layers.index(layer) if layer in images.layers else len(images.layers)


def _picture(images: Images, x: np.ndarray) -> np.ndarray:
    """Inputs as pictures: the mean of their channels."""
    return x.reshape(len(x), *images.setting.image).mean(-1)


def _square(images: Images, maps: np.ndarray) -> np.ndarray:
    """Maps as pictures: channels summed."""
    return maps.reshape(len(maps), *images.setting.image).sum(-1)


def _target(config: Config) -> str:
    words = {"label": "the label", "predicted": "the answer"}
    return words.get(config.target, f"output {config.target}")
