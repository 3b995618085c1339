"""The lines of `metrics.jsonl`, and what they come to in a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsejax.experiments.relevance import measure
from sparsejax.experiments.relevance.config import EXACT, LABELS
from sparsejax.experiments.relevance.images import Images
from sparsejax.experiments.relevance.methods import Account

Arrays = Mapping[str, np.ndarray]
Records = Sequence[Mapping[str, Any]]


def record(name: str, arrays: Arrays, images: Images) -> dict[str, Any]:
    """A line of `metrics.jsonl`: means over the drawn test images.

    account is None where a method claims nothing of sums; residual is the largest over
    images of |residual| / magnitude, bias_share the median of |all biases' relevance| /
    |output|, of methods that give biases any.
    """
    line: dict[str, Any] = {
        "method": name,
        "images": len(images.positions) - images.shown,
        **{curve: _area(arrays[curve].mean(0)) for curve in measure.CURVES},
    }
    if name == measure.CONTROL:
        return line
    parts = account(arrays, images.shown)
    line["account"] = line["residual"] = line["bias_share"] = None
    if np.isfinite(parts.output).all():
        residual = np.asarray(parts.residual())
        means = {k: float(v.mean()) for k, v in parts._asdict().items()}
        line["account"] = {**means, "residual": float(residual.mean())}
        line["residual"] = float(
            (np.abs(residual) / np.maximum(parts.magnitude, 1e-30)).max()
        )
        there = np.asarray(parts.output) != 0
        compares = name == "deeplift"  # what both inputs have gets nothing
        if there.any() and not compares and any(p.startswith("bias/") for p in arrays):
            share = np.asarray(parts.bias)[there] / np.asarray(parts.output)[there]
            line["bias_share"] = float(np.median(np.abs(share)))
    line["randomized"] = {
        layer: mean(values)
        for layer, values in zip(reversed(images.layers), arrays["randomized"])
    }
    return line


def line(record: Mapping[str, Any]) -> str:
    """A line of progress."""
    gap = record["residual"]
    sums = "no shares" if gap is None else f"residual {gap:.0e}"
    return (
        f"{record['method']:20} {sums:14} deletion {record['deletion']:.3f}  "
        f"insertion {record['insertion']:.3f}"
    )


def finding(records: Records) -> str:
    """One sentence: what biases are to blame for, and what matters when deleted."""
    one, top = blaming(records), best(records, "deletion")
    said = (
        f"deleting first what {LABELS[top['method']]} marks leaves a mean "
        f"probability of {top['deletion']:.2f}, a random order "
        f"{records[0]['deletion']:.2f}"
    )
    if one is None:
        return said[0].upper() + said[1:]
    return f"{blame(one)}; {said}"


def blame(record: Mapping[str, Any]) -> str:
    """How much of the output biases are to blame for."""
    return f"What biases contribute is {record['bias_share']:.0%} of the output's size"


def blaming(records: Records) -> Mapping[str, Any] | None:
    """The record that tells of biases: an exact method's, else the first's."""
    telling = [r for r in records[1:] if r["bias_share"] is not None]
    exact = [r for r in telling if r["method"] in EXACT]
    return next(iter(exact + telling), None)


def best(records: Records, curve: str) -> Mapping[str, Any]:
    """The method with the best area under a curve."""
    choose = min if curve == "deletion" else max
    return choose(records[1:], key=lambda r: r[curve])


def account(arrays: Arrays, start: int = 0) -> Account:
    """The accounts of a method's images from `start` on."""
    return Account(**{k: arrays[f"account/{k}"][start:] for k in Account._fields})


def mean(values: np.ndarray) -> float | None:
    """Of those that are finite, if there are any."""
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else None


def _area(curve: np.ndarray) -> float:
    return float(np.trapezoid(curve, np.linspace(0, 1, len(curve))))
