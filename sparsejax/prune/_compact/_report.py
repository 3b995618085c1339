"""What `compact` removed, and what it could not remove."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from sparsejax import pages, trees
from sparsejax.prune._compact._coupling import Coupling
from sparsejax.prune._compact._slices import FIXED, Solution


class Group(NamedTuple):
    """Units that hang together, one for one, over parameters and activations.

    Attributes:
        axes: of parameters, such as "conv_0/kernel[3]".
        names: activations that have these units.
        units: number of units before.
        kept: number of units that stay.
        reason: why units stay that their masks remove; "" if none do.
    """

    axes: tuple[str, ...]
    names: tuple[str, ...]
    units: int
    kept: int
    reason: str


class Report(NamedTuple):
    """What went, and what stayed and why; `print` it.

    Attributes:
        groups: of units, those of which some went, and those that have names.
        kept: for each named activation the numbers of the units of its last axis that
            stay.
        sizes: for each parameter the shapes before and after.
        own: what happens when the function given runs on the smaller parameters by
            itself; "" if it returns the same.
        notes: what could not be done.
    """

    groups: tuple[Group, ...]
    kept: dict[str, np.ndarray]
    sizes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    own: str
    notes: tuple[str, ...]

    @property
    def before(self) -> int:
        """Number of parameters before."""
        return sum(math.prod(old) for old, _ in self.sizes.values())

    @property
    def after(self) -> int:
        """Number of parameters that stay."""
        return sum(math.prod(new) for _, new in self.sizes.values())

    @pages.display
    def _repr_html_(self) -> str:
        rows = [
            (group.units, group.kept, _some(group.names), _some(group.axes),
             group.reason)
            for group in self.groups
        ]  # fmt: skip
        header = ("units", "kept", "activations", "parameters", "")
        title = f"{self.after:,} of {self.before:,} parameters stay"
        notes = [pages.tag("p", note, class_="sj-quiet") for note in self.notes]
        return pages.output(pages.listing(rows, header, title=title), *notes)

    def __str__(self) -> str:
        rows = [("units", "kept", "activations", "parameters", "")]
        rows += [
            (str(group.units), str(group.kept), _some(group.names),
             _some(group.axes), group.reason)
            for group in self.groups
        ]  # fmt: skip
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = []
        for *numbers, names, axes, reason in rows:
            cells = [n.rjust(w) for n, w in zip(numbers, widths, strict=False)]
            cells += [names.ljust(widths[2]), axes.ljust(widths[3]), reason]
            lines.append("  ".join(cells).rstrip())
        share = f"{self.after / max(self.before, 1):.1%}"
        lines.append(f"{self.before} parameters, {self.after} stay ({share})")
        if self.own:
            lines.append(
                f"fn itself {self.own} on the smaller parameters; use the returned fn, "
                "or build the model with these sizes"
            )
        return "\n".join([*lines, *self.notes])


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def report(
    coupling: Coupling,
    solution: Solution,
    params,
    axes: Sequence,
    nodes: Mapping[str, np.ndarray],
    said: tuple[str, Sequence[str]],
) -> Report:
    """What was removed and what stays, of one network."""
    leaves = {k: v for k, v in trees.by_path(params).items() if hasattr(v, "shape")}
    own = [value.ids for value in axes]
    sizes = {
        name: (value.shape, tuple(int(solution(ids).sum()) for ids in value.ids))
        for name, value in zip(leaves, axes, strict=True)
    }
    kept = {
        name: np.flatnonzero(solution(value.ids[-1]))
        for name, value in coupling.named.items()
        if value.ids
    }
    places = [
        (f"{name}[{axis}]", ids)
        for name, value in zip(leaves, own, strict=True)
        for axis, ids in enumerate(value)
    ]
    groups = _groups(coupling, solution, places, nodes)
    return Report(tuple(groups), kept, sizes, said[0], tuple(said[1]))


def _groups(coupling, solution: Solution, places, nodes) -> list[Group]:
    """Axes of parameters that have units in common."""
    units = _units(coupling, solution)
    own = [np.unique(units[ids[ids != FIXED]]) for _, ids in places]
    pairs = [(np.repeat(some[:1], len(some)), some) for some in own if len(some)]
    group = _components(pairs, int(units.max()) + 1)
    members: dict[int, list[int]] = {}
    for i, some in enumerate(own):
        if len(some):
            members.setdefault(int(group[some[0]]), []).append(i)
    stays = np.zeros(units.max() + 1, bool)
    stays[units] = solution(np.arange(len(units)))
    number = group[units]
    names, stuck = _names(coupling, number), _stuck(coupling, solution, number, nodes)
    groups = []
    for key, inside in members.items():
        some = np.unique(np.concatenate([own[i] for i in inside]))
        kept = int(stays[some].sum())
        if kept == len(some) and key not in names:
            continue
        paths = tuple(places[i][0] for i in inside)
        named = tuple(names.get(key, ()))
        groups.append(Group(paths, named, len(some), kept, stuck.get(key, "")))
    return groups


def _units(coupling, solution: Solution) -> np.ndarray:
    """The number of the unit of every id.

    Where all that an axis is merged with is alike, as the taps of a kernel are, a
    position of the axis and those of the merged axis are one unit.
    """
    pairs = []
    for whole, parts in coupling.slices.merges:
        classes = solution.classes[whole]
        for axis, part in enumerate(parts):
            rows = np.moveaxis(classes, axis, 0).reshape(len(part), -1)
            if rows.size and (rows == rows[:, :1]).all() and (part != FIXED).all():
                pairs.append((solution.classes[part], rows[:, 0]))
    return _components(pairs, len(solution.kept))[solution.classes]


def _components(pairs: Sequence, count: int) -> np.ndarray:
    rows, columns = [np.concatenate(side) for side in zip(*pairs, strict=True)] or [
        np.zeros(0, int)
    ] * 2
    links = coo_matrix((np.ones(len(rows), bool), (rows, columns)), (count, count))
    return connected_components(links, directed=False)[1]


def _names(coupling, number: np.ndarray) -> dict[int, list[str]]:
    """The named activations of every group."""
    names: dict[int, list[str]] = {}
    for name, value in coupling.named.items():
        for ids in value.ids:
            for key in np.unique(number[ids[ids != FIXED]]).tolist():
                names.setdefault(key, []).append(name)
    return names


def _stuck(coupling, solution, number: np.ndarray, nodes) -> dict[int, str]:
    """Why units stay that a mask removes, by group."""
    reasons: dict[int, str] = {}
    for name, mask in nodes.items():
        ids = coupling.named[name].ids
        for axis in range(-mask.ndim, 0):
            if mask.shape[axis] == 1:
                continue
            others = tuple(a for a in range(-mask.ndim, 0) if a != axis)
            off = ~(mask != 0).any(axis=others)
            stay = ids[axis][off & solution(ids[axis])]
            if len(stay):
                why = solution.reason(stay)
                reasons[int(number[stay[0]])] = f"{len(stay)} masked stay: {why}"
    return reasons
