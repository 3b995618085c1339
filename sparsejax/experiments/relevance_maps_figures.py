"""The figures of a run of explanations, each with its caption."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sparsejax import masks
from sparsejax.experiments import relevance_maps_measure as measure
from sparsejax.experiments.relevance_maps_config import LABELS, Config
from sparsejax.experiments.relevance_maps_measure import Subject
from sparsejax.experiments.relevance_maps_records import (
    Arrays,
    Records,
    account,
    best,
    blame,
    blaming,
)
from sparsejax.pages import counted
from sparsejax.plots import relevance as figures_

_SINGLES = 12  # biases that are drawn one by one


def figures(
    config: Config,
    subject: Subject,
    records: Records,
    found: Mapping[str, Arrays],
    control: Arrays,
) -> dict[str, tuple[Any, str]]:
    """All of them, `{name: (figure, caption)}`; arguments as of the report."""
    drawn = {"maps": _grid(config, subject, found)}
    if (one := blaming(records)) is not None:
        drawn["biases"] = _biases(subject, one, found[one["method"]])
    drawn["curves"] = _curves(config, records, found, control)
    drawn["randomised"] = _randomised(subject, records)
    if config.levels:
        drawn["levels"] = _levels(subject, found)
    return drawn


def baseline(config: Config) -> str:
    """What is compared with, in words."""
    return "the mean training image" if config.baseline == "mean" else "zero"


def _grid(config, subject: Subject, found) -> tuple[Any, str]:
    part = slice(subject.shown)
    answers = subject.logits.argmax(1)
    rows = [f"{label} / {answer}" for label, answer in
            zip(subject.labels[part], answers[part])]  # fmt: skip
    columns = {LABELS[name]: _square(subject, arrays["map"][part])
               for name, arrays in found.items()}  # fmt: skip
    right = (answers == subject.labels)[part].sum()
    what = _target(config)
    figure = figures_.relevance_grid(
        _square(subject, subject.x[part]), rows, columns,
        title=f"Evidence for {what}, {right} of {counted(len(rows), 'sample')} "
              f"answered right",
    )  # fmt: skip
    return figure, (
        f"Rows: label / answer of the network. Maps explain the logit of {what}, each "
        "on a scale of its own (full colour is its largest |value|): blue speaks for "
        "it, orange against. Gradients (SmoothGrad, guided backprop, deconvnet are "
        "some) say what raising a pixel would do, the others what it contributes."
    )


def _biases(subject: Subject, one, arrays) -> tuple[Any, str]:
    part, rest = slice(subject.shown), slice(subject.shown, None)
    biases = {k[5:]: v for k, v in arrays.items() if k.startswith("bias/")}
    sums = account(arrays)
    parts = {"input": sums.input[part]}
    order = [path for layer in subject.layers for path in biases
             if path.rpartition("/")[0] == layer]  # fmt: skip
    for path in (*order, *(biases.keys() - set(order))):
        values = biases[path][part]
        parts[path] = values.reshape(len(values), -1).sum(1)
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
    figure = figures_.bias_parts(
        [str(label) for label in subject.labels[part]], parts, sums.output[part],
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


def _curves(config, records, found, control) -> tuple[Any, str]:
    curves = {LABELS[name]: tuple(arrays[c].mean(0) for c in measure.CURVES)
              for name, arrays in found.items()}  # fmt: skip
    random = tuple(control[c].mean(0) for c in measure.CURVES)
    top = best(records, "deletion")
    figure = figures_.removal_curves(
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


def _randomised(subject: Subject, records) -> tuple[Any, str]:
    layers = list(reversed(subject.layers))
    series = {
        LABELS[r["method"]]: np.array([r["randomised"][k] for k in layers], float)
        for r in records[1:]
    }  # None becomes NaN
    most = max(series, key=lambda name: np.nan_to_num(series[name])[-1])
    images = min(measure.CHUNK, records[0]["images"])
    figure = figures_.randomized_layers(
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
        f"of absolute values over {counted(images, 'test image')}. What stays high "
        f"shows the "
        "image or the architecture. Methods that are zero where the image is owe to "
        "that alone a good part of what they keep. (Adebayo et al., arXiv 1810.03292.)"
    )


def _levels(subject: Subject, found) -> tuple[Any, str]:
    here = int(masks.count(subject.network.mask))
    counts = [here, *(count for _, count in subject.others.values())]
    keys = ["map", *(f"level_{level}" for level in subject.others)]
    order = sorted(range(len(counts)), key=lambda i: -counts[i])
    columns = {
        LABELS[name]: _square(subject, np.stack([arrays[keys[i]][0] for i in order]))
        for name, arrays in found.items()
    }
    images = np.repeat(_square(subject, subject.x[:1]), len(order), axis=0)
    rows = [f"{counts[i]:,}\nweights" for i in order]
    figure = figures_.relevance_grid(
        images, rows, columns,
        title=f"A {subject.labels[0]}, explained at {counted(len(rows), 'level')} "
              f"of pruning",
    )  # fmt: skip
    return figure, (
        "The first of the samples above, a row for each level of the run, every map on "
        f"its own scale. The rest of this page is about the one of "
        f"{counted(here, 'weight')}."
    )


def _square(subject: Subject, maps: np.ndarray) -> np.ndarray:
    """Inputs or maps as pictures: channels summed."""
    return maps.reshape(len(maps), *subject.setting.image).sum(-1)


def _target(config: Config) -> str:
    words = {"label": "the label", "predicted": "the answer"}
    return words.get(config.target, f"output {config.target}")
