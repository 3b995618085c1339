"""Activations that JAX writes out, found again and made one node each.

`jax.nn.gelu` is no call in a jaxpr: it is a power, a tanh and products. As one node it
reads as what it is, and its bounds are tight. Nothing is trusted to a name: a node is
replaced where, as a function of one other node, it has gelu's values.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy import special

from sparsejax.flowgraph._graph import Graph, function
from sparsejax.flowgraph._ops import OPS

_GRID = np.linspace(-4.0, 4.0, 41)
_CUBE = np.sqrt(2 / np.pi) * (_GRID + 0.044715 * _GRID**3)
KNOWN = {
    "gelu": _GRID * 0.5 * (1 + np.tanh(_CUBE)),
    "gelu_erf": _GRID * 0.5 * (1 + special.erf(_GRID / np.sqrt(2))),
}


_MOST = 12  # nodes that gelu is written with


def recognize(
    nodes: list[tuple], name: Callable[[str, Graph], str]
) -> list[tuple[int, str, int]]:
    """The nodes that are a known activation of one other node.

    Args:
        nodes: (op, args, coefs, const, key) each.
        name: gives an operation its name, from a suggestion and its body.

    Returns:
        (node, operation, operand) each; the operations have been named.
    """
    if not {"tanh", "erf", "erfc"} & {node[0] for node in nodes}:
        return []
    found = []
    for i, (op, args, *_) in enumerate(nodes):
        for operand in _operands(nodes, args) if op == "mul" else ():
            between = _between(nodes, operand, i)
            if between is None:
                continue
            values = _values(nodes, operand, between)
            for label, expected in KNOWN.items():
                if np.allclose(values, expected, rtol=0, atol=1e-6):
                    found.append(
                        (i, name(label, _body(nodes, operand, between)), operand)
                    )
    return found


def _operands(nodes, args) -> Iterator[int]:
    """What a product x * g(x) may be a function of: a factor, or what it is twice."""
    for factor in args:
        yield factor
        op, inner, *_ = nodes[factor]
        if op == "affine" and len(inner) == 1:
            yield inner[0]


def _between(nodes, operand: int, last: int) -> list[int] | None:
    """The nodes from an operand to a result, if it depends on nothing else."""
    inside, waiting = {last}, [last]
    while waiting:
        op, args, *_ = nodes[waiting.pop()]
        if op == "input" or (op not in OPS and op not in ("affine", "const")):
            return None
        new = {a for a in args if a != operand and a not in inside}
        inside |= new
        waiting += new
        if len(inside) > _MOST:
            return None
    return sorted(inside)


def _values(nodes, operand: int, between: list[int]) -> np.ndarray:
    values = {operand: _GRID}
    for i in between:
        op, args, coefs, const, _ = nodes[i]
        terms = [values[a] for a in args]
        if op in ("affine", "const"):
            scaled = [c * v for c, v in zip(coefs, terms, strict=True)]
            values[i] = sum(scaled, np.full_like(_GRID, const))
        else:
            with np.errstate(all="ignore"):
                values[i] = OPS[op].numpy(*terms)
    return values[between[-1]]


def _body(nodes, operand: int, between: list[int]) -> Graph:
    """The nodes between an operand and a result, as a graph of one input."""
    new = {operand: 0} | {old: k + 1 for k, old in enumerate(between)}
    rows: list[tuple] = [("input", (), (), 0.0, "x")]
    for k, i in enumerate(between):
        op, args, coefs, const, _ = nodes[i]
        rows.append((op, [new[a] for a in args], coefs, const, f"{op}_{k}"))
    return function(rows, len(between))
