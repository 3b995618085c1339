"""How two graphs of one architecture differ: before and after training or pruning.

Nodes are matched by key, which `trace` derives from the layer and the unit: so it needs
no search, and means nothing for graphs of different architectures.
"""

from typing import NamedTuple

from sparsejax import pages
from sparsejax.flowgraph import _structure
from sparsejax.flowgraph._structure import Structure


class Diff(NamedTuple):
    """What differs between two graphs.

    Attributes:
        only_a: keys of nodes that the second graph lacks, in the first's order.
        only_b: keys of nodes that the first graph lacks.
        changed: (key, what differs) of nodes in both, and (output name, nodes) of
            outputs that are other nodes.
        same: number of nodes that are equal.
    """

    only_a: list[str]
    only_b: list[str]
    changed: list[tuple[str, str]]
    same: int

    @pages.display
    def _repr_html_(self) -> str:
        rows = [
            *((key, "only in the first") for key in self.only_a),
            *((key, "only in the second") for key in self.only_b),
            *self.changed,
        ]
        title = f"{pages.counted(len(rows), 'difference')}, {self.same:,} nodes equal"
        return pages.output(pages.listing(rows, ("node", "what differs"), title=title))


def diff(a: Structure, b: Structure) -> Diff:
    """Compare the nodes of equal keys: operations, operands and numbers.

    Args:
        a, b: graphs of one level.

    Raises:
        ValueError: for graphs of different levels.
    """
    if a.level != b.level:
        raise ValueError(
            f"the graphs are at levels {a.level!r} and {b.level!r}; compare at one"
        )
    old, new = _by_key(a), _by_key(b)
    pairs = [(key, _what(old[key], new[key])) for key in old if key in new]
    changed = [(key, what) for key, what in pairs if what]
    return Diff(
        [key for key in old if key not in new],
        [key for key in new if key not in old],
        changed + _outputs(a, b),
        len(pairs) - len(changed),
    )


def _by_key(graph: Structure) -> dict[str, tuple[str, list[tuple[str, float]], float]]:
    """Operation, operands with coefficients, and constant of every node."""
    found = {}
    for op, args, coefs, const, key in _structure.nodes(graph):
        terms = list(zip((graph.keys[a] for a in args), coefs, strict=True))
        ordered = op in ("select", "div", "pow", "rem", "arctan2") or len(terms) < 2
        found[key] = op, terms if ordered else sorted(terms), const
    return found


def _what(old, new) -> str:
    """The differences of two nodes in words; empty if there are none."""
    if old == new:
        return ""
    parts = []
    if old[0] != new[0]:
        parts.append(f"{old[0]} -> {new[0]}")
    before, after = dict(old[1]), dict(new[1])
    parts += [f"no longer reads {key}" for key in before if key not in after]
    parts += [f"now reads {key}" for key in after if key not in before]
    parts += [
        f"{key}: {c:.6g} -> {after[key]:.6g}"
        for key, c in before.items()
        if key in after and after[key] != c
    ]
    if old[2] != new[2]:
        parts.append(f"constant: {old[2]:.6g} -> {new[2]:.6g}")
    return "; ".join(parts) or "reads the same nodes in another order"


def _outputs(a: Structure, b: Structure) -> list[tuple[str, str]]:
    def named(g):
        return dict(
            zip(g.output_names, (g.keys[i] for i in g.outputs.tolist()), strict=True)
        )

    old, new = named(a), named(b)
    missing = "no output"
    pairs = [(k, old.get(k, missing), new.get(k, missing)) for k in {**old, **new}]
    return [(name, f"{x} -> {y}") for name, x, y in pairs if x != y]
