"""A report in words."""

from typing import Any

from sparsejax import pages
from sparsejax.pages import tag

_SHOWN = 12
_VERDICTS = {True: "yes", False: "no", None: "not known"}


def text(report: Any) -> str:
    """The report of a circuit, one fact a line."""
    lines = [
        f"circuit of {len(report.subset)} of {report.n} nodes: {_list(report.labels)}",
        f"found by {report.method}; loss: {report.metric}; ablation: {report.ablation}",
        _losses(report),
        f"without it, all others alone: {report.complement:.4g}",
        *_supersets(report),
        _alternatives(report),
    ]
    if report.stability is not None:
        lines.append(f"overlap with other finders and seeds: {report.stability:.2f}")
    lines.append(_control(f"random sets of {len(report.subset)}", report.random))
    lines += [_control(name, control) for name, control in report.controls.items()]
    return "\n".join([*lines, _verdict(report)])


def html(report: Any) -> str:
    """The circuit and what it is compared with, a row each; the verdict below."""
    size = len(report.subset)
    above = report.supersets
    rows = [
        ("the circuit", report.loss, above.means[0], report.full),
        (f"random sets of {size}", *_numbers(report.random)),
        *((name, *_numbers(control)) for name, control in report.controls.items()),
    ]
    others = f"with {above.keep_prob[0]:g} of the others on"
    header = ("", "loss alone", others, "all nodes")
    title = f"Circuit of {size} of {report.n} nodes: {_list(report.labels)}"
    details = text(report).split("\n")[1:5]
    return pages.output(
        pages.listing(rows, header, title=title),
        tag("p", tag("b", _verdict(report))),
        tag("p", "; ".join(details), class_="sj-quiet"),
    )


def _numbers(control) -> tuple[float, float, float]:
    return control.loss, control.supersets, control.full


def _verdict(report) -> str:
    return "faithful: " + ": ".join([_VERDICTS[report.faithful], *_why(report)])


def _why(report) -> list[str]:
    return ["; ".join(report.reasons)] if report.reasons else []


def _losses(report) -> str:
    line = f"loss {report.loss:.4g} (all nodes {report.full:.4g}, none "
    line += f"{report.empty:.4g}"
    if report.target is not None:
        line += f", target {report.target:.4g}"
    line += ")"
    if report.held_out is not None:
        line += f"; on held-out examples {report.held_out:.4g}"
    return line


def _supersets(report) -> list[str]:
    above = report.supersets
    free = report.n - len(report.subset)
    how = (
        f"exactly, over all 2^{free}"
        if above.samples is None
        else f"over {above.samples} samples each"
    )
    means = ", ".join(
        f"{mean:.4g} with {p:g} of the others on"
        for p, mean in zip(above.keep_prob, above.means, strict=True)
    )
    return [f"supersets, {how}: mean {means}; worst {above.worst:.4g}"]


def _alternatives(report) -> str:
    other = report.alternatives
    whose = "of all sets" if other.exact else "of those found"
    line = f"sets of this size within {other.slack:.3g} of the best: {len(other.sets)} "
    line += f"{whose}; nodes in all of them: {len(other.necessary)}"
    if other.minimal is not None:
        line += f"; minimal circuits of any size: {other.minimal}"
    return line


def _control(name: str, control) -> str:
    return (
        f"{name}: loss {control.loss:.4g}, with others {control.supersets:.4g} (all "
        f"nodes {control.full:.4g})"
    )


def _list(labels) -> str:
    more = len(labels) - _SHOWN
    shown = ", ".join(labels[:_SHOWN]) or "none"
    return f"{shown} and {more} more" if more > 0 else shown
