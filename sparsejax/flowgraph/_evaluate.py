"""The values of a graph's nodes, in JAX: level by level, a batch at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from sparsejax import checks, interpret
from sparsejax.flowgraph._ops import OPS
from sparsejax.flowgraph._structure import PLAIN, Structure, arity

_ENTRIES = 1 << 24  # of edges, all inputs together, that are computed at a time


def nodes(graph: Structure, x: ArrayLike | Any) -> Float[Array, "*batch nodes"]:
    """The value of every node; see `Graph.evaluate`.

    Compiled once a graph. The numbers are float32, or float64 where `x` is.
    """
    batch = batch_shape(graph, x)
    x = jnp.asarray(x)
    dtype = x.dtype if x.dtype == jnp.float64 else jnp.float32
    flat = x.reshape(-1, len(graph.low)).astype(dtype)
    return _in_parts(graph, flat).reshape(*batch, len(graph))


def _in_parts(graph: Structure, flat) -> Array:
    """Values for some inputs at a time: each takes memory for every edge."""
    run, size = compiled(graph), max(1, _ENTRIES // max(1, len(graph.args)))
    if len(flat) <= size or isinstance(flat, Tracer):
        return run(flat)
    parts = [run(flat[i : i + size]) for i in range(0, len(flat) - size, size)]
    last = run(flat[-size:])  # of one size, to be compiled once
    return jnp.concatenate([*parts, last[size * (len(parts) + 1) - len(flat) :]])


def outputs(graph: Structure, x: ArrayLike | Any) -> Float[Array, "*batch outputs"]:
    """The values of the outputs alone."""
    return nodes(graph, x)[..., graph.outputs]


def batch_shape(graph: Structure, x: ArrayLike | Any) -> tuple[int, ...]:
    """The axes of inputs before those of one; a `ValueError` if they do not fit."""
    checks.array(x, before="")
    shape, rank = np.shape(x), len(graph.shape)
    if shape[len(shape) - rank :] != graph.shape or len(shape) < rank:
        raise ValueError(
            f"expected inputs of shape (*batch, {', '.join(map(str, graph.shape))}), "
            f"got {shape}"
        )
    return shape[: len(shape) - rank]


def check(graph: Structure, fn: Callable, x: ArrayLike | Any) -> float:
    """See `Graph.check`."""
    checks.array(x, before="")
    x = jnp.asarray(x)
    (expected,) = jax.tree.leaves(interpret.Compiled(jax.vmap(fn))(x))
    found = outputs(graph, x)
    if expected.size != found.size:
        raise ValueError(
            f"the graph has {found.shape[-1]} outputs, the function returns "
            f"{expected.shape[1:]}; compare it with the function it was traced from"
        )
    difference = np.asarray(expected, np.float64).reshape(found.shape) - found
    return float(np.abs(difference).max(initial=0.0))


def in_numpy(graph: Structure, x: ArrayLike) -> Float[np.ndarray, "*batch nodes"]:
    """The same as `nodes` in float64, node by node: slow, obvious and exact."""
    x = np.asarray(x, np.float64)
    flat = x.reshape(*x.shape[: x.ndim - len(graph.shape)], len(graph.low))
    values = np.zeros((len(graph), *flat.shape[:-1]))

    def spread(weights):
        return weights.reshape(-1, *(1 for _ in flat.shape[:-1]))

    for i, op in enumerate(graph.ops):
        args, coefs = graph.operands(i)
        if op == "input":
            values[i] = flat[..., graph.inputs[i]]
            continue
        with np.errstate(all="ignore"):
            total = (spread(coefs) * values[args]).sum(axis=0) + graph.consts[i]
            if op in PLAIN:
                values[i] = total
            elif arity(graph, op) == 1:
                values[i] = numpy_function(graph, op)(total)
            else:
                values[i] = numpy_function(graph, op)(*values[args])
    return np.moveaxis(values, 0, -1)


def numpy_function(graph: Structure, op: str) -> Callable[..., np.ndarray]:
    """An operation of a graph on float64 arrays."""
    if op not in graph.functions:
        return OPS[op].numpy
    body = graph.functions[op]

    def apply(*operands):
        values = in_numpy(body, np.stack(operands, axis=-1))
        return values[..., body.outputs[0]]

    return apply


def compiled(graph: Structure) -> Callable[[Array], Array]:
    """The jitted function from flat inputs `(batch, inputs)` to `(batch, nodes)`."""
    if "_compiled" not in graph.__dict__:
        graph.__dict__["_compiled"] = jax.jit(plan(graph))
    return graph.__dict__["_compiled"]


def plan(graph: Structure) -> Callable[[Array], Array]:
    """That function before it is jitted: one step for every depth and operation."""
    groups: dict[tuple, list[int]] = {}
    for i, (op, depth) in enumerate(zip(graph.ops, graph.depth.tolist(), strict=True)):
        plain = op in PLAIN or arity(graph, op) == 1
        count = 0 if plain else int(graph.starts[i + 1] - graph.starts[i])
        groups.setdefault((depth, op, count), []).append(i)
    order = sorted(groups)
    block = np.empty(len(graph), np.int64)  # that a node's value is in, and its row
    row = np.empty(len(graph), np.int64)
    for k, key in enumerate(order):
        block[groups[key]], row[groups[key]] = k, np.arange(len(groups[key]))
    steps = [_step(graph, key[1], groups[key], block, row) for key in order]
    place = np.empty(len(graph), np.int64)
    place[[i for key in order for i in groups[key]]] = np.arange(len(graph))

    def values(flat):
        blocks = []  # nodes first: what a step reads are then whole rows
        for step, reads in steps:
            rows = [blocks[k] for k in reads]
            blocks.append(step(flat, jnp.concatenate(rows) if rows else None))
        return jnp.concatenate(blocks)[place].T

    return values


def _step(graph: Structure, op: str, members: list[int], block, row) -> tuple:
    """The values of nodes of one operation and depth, and the blocks that they read."""
    edges = np.concatenate(
        [np.arange(graph.starts[i], graph.starts[i + 1]) for i in members]
    ).astype(np.int64)
    sources = graph.args[edges]
    reads, which = np.unique(block[sources], return_inverse=True)
    sizes = np.bincount(block)[reads]
    args = (np.cumsum(sizes) - sizes)[which] + row[sources]
    return _operation(graph, op, members, args, graph.coefs[edges]), reads.tolist()


def _operation(graph: Structure, op: str, members, args, coefs) -> Callable:
    """A step as a function of the flat input and of the rows that it reads."""
    consts = graph.consts[members]
    owner = np.repeat(np.arange(len(members)), np.diff(graph.starts)[members])

    def weighted(rows):
        terms = rows[args] * jnp.asarray(coefs, rows.dtype)[:, None]
        total = jax.ops.segment_sum(terms, owner, len(members), indices_are_sorted=True)
        return total + jnp.asarray(consts, rows.dtype)[:, None]

    if op == "input":
        return lambda flat, rows: flat[:, graph.inputs[members]].T
    if op == "const":

        def constant(flat):
            return jnp.asarray(consts, flat.dtype)[:, None]

        return lambda flat, rows: jnp.broadcast_to(
            constant(flat), (len(members), len(flat))
        )
    if op in ("affine", "output"):
        return lambda flat, rows: weighted(rows)
    apply = function(graph.functions[op]) if op in graph.functions else OPS[op].jax
    if arity(graph, op) == 1:
        return lambda flat, rows: apply(weighted(rows))
    table = args.reshape(len(members), -1)
    return lambda flat, rows: apply(*(rows[table[:, k]] for k in range(table.shape[1])))


def function(body: Structure) -> Callable[..., Array]:
    """A graph of a few operands as a function of arrays, applied element by element."""
    run = plan(body)

    def apply(*operands):
        flat = jnp.stack([operand.reshape(-1) for operand in operands], axis=-1)
        return run(flat)[:, body.outputs[0]].reshape(operands[0].shape)

    return apply
