"""Units followed through a function: to the kernels that read them, and to biases.

The rule of `remove_nodes` for `interpret.walk`. Parameters, units and their products
with kernels are values of other kinds, which say of each element where it comes from.
"""

import itertools as it
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from sparsejax import checks, interpret, trees
from sparsejax.interpret import primitives as families
from sparsejax.prune import _origins as origins_
from sparsejax.prune._origins import MOVES, OTHER, POOLS, ZERO


class _Leaf(NamedTuple):
    """A parameter, perhaps reshaped.

    Attributes:
        number: of the leaf.
        value: the array.
        origin: of each element the flat index in the leaf.
    """

    number: int
    value: Any
    origin: np.ndarray


class _Units(NamedTuple):
    """Units on their way to a kernel.

    Attributes:
        names: of their activations.
        value: the array.
        part: what of it is due to removed units.
        origin: of each element the unit that it comes from, counted over all of
            `nodes`; `OTHER` if none of these, `ZERO` if it is always zero.
    """

    names: tuple[str, ...]
    value: Any
    part: Any
    origin: np.ndarray


class _Sum(NamedTuple):
    """Units times a kernel, before the bias; as in `_Units`."""

    names: tuple[str, ...]
    value: Any
    part: Any


# The kernels of a ragged product share their units.
_PRODUCTS = families.PRODUCTS - {"ragged_dot_general"}


class Remover:
    """The rule for `interpret.walk`, and what it has met so far."""

    def __init__(self, params, nodes, sequential: bool, axis: str | None):
        self.sequential, self.axis = sequential, axis
        self.kept = {
            name: jnp.asarray(mask).astype(bool) for name, mask in nodes.items()
        }
        widths = [len(mask) for mask in self.kept.values()]
        self.first = dict(zip(nodes, it.accumulate(widths, initial=0), strict=False))
        self.leaves, self.paths = jax.tree.leaves(params), [*trees.by_path(params)]
        arrays = {i: p for i, p in enumerate(self.leaves) if hasattr(p, "shape")}

        def flat(fill):
            return {i: np.full(p.size, fill) for i, p in arrays.items()}

        self.uses, self.places = flat(0), {i: [] for i in arrays}
        self.rows = flat(OTHER)  # the unit that each entry multiplies
        self.biases = flat(False)  # the entries that are biases to adjust
        self.shifts: dict[int, Any] = {}  # by how much, flat

    def run(self, program) -> dict[int, Any]:
        """The parameters that change, by the number of their leaf."""
        inputs = list(program.inputs)
        for k, i in enumerate(self.uses):
            origin = np.arange(inputs[k].size).reshape(inputs[k].shape)
            inputs[k] = _Leaf(i, inputs[k], origin)
        for out in interpret.walk(program, inputs, self.rule):
            if isinstance(out, _Units | _Sum):
                raise _error([out], _returned(program.out_tree))
            self.use(out, "the results of fn")
        changed = {}
        kept = jnp.concatenate([*self.kept.values(), jnp.ones(1, bool)])  # OTHER: last
        for i, rows in self.rows.items():
            if (self.uses[i][(rows >= 0) | self.biases[i]] > 1).any():
                raise ValueError(
                    f"cannot remove units: parameter {self.paths[i]!r} would have to "
                    f"change, but is used more than once: {'; '.join(self.places[i])}"
                )
            leaf = jnp.asarray(self.leaves[i])
            if i in self.shifts:
                leaf = changed[i] = leaf + self.shifts[i].reshape(leaf.shape)
            if (rows >= 0).any():
                mask = kept[rows].reshape(leaf.shape)
                changed[i] = jnp.where(mask, leaf, jnp.zeros_like(leaf))
        return changed

    def rule(self, step, arguments) -> list:
        """Run one primitive."""
        kinds = {type(a) for a in arguments} & {_Leaf, _Units, _Sum}
        if step.enter and (kinds or "name" in step.inner):
            return step.enter(arguments, self.rule)
        named = step.name == "name" and step.params["name"] in self.kept
        if kinds <= {_Leaf}:
            moves = step.name in MOVES and len(arguments) == 1
            if kinds and not named and (moves or step.name in families.CASTS):
                return _move_leaf(step, *arguments)
            values = [self.use(a, _where(step)) for a in arguments]
            return [self.name(step, *values)] if named else step.run(*values)
        if _Sum not in kinds and step.name in _PRODUCTS:
            return [self.product(step, arguments)]
        if _Units not in kinds and step.name == "add":
            return [self.add(step, arguments)]
        if not named and _is_linear(step, arguments):
            return self.move(step, arguments)
        what = "is applied to them"
        if _Units not in kinds:
            what = "comes before a bias is added to their product with a kernel"
        if mend := interpret.unrolling(step):
            what += f"; {mend}"
        raise _error(arguments, f"{_where(step)} {what}")

    def use(self, value, where: str):
        """An array; if it is a parameter, counted as used there."""
        if not isinstance(value, _Leaf):
            return value
        used = np.zeros_like(self.biases[value.number])
        used[value.origin] = True
        self.uses[value.number] += used
        self.places[value.number].append(where)
        return value.value

    def name(self, step, value) -> _Units:
        """Units, where they are named."""
        name = step.params["name"]
        part = jnp.where(self.kept[name], jnp.zeros_like(value), value)
        origin = self.first[name] + np.arange(value.shape[-1])
        return _Units((name,), value, part, np.broadcast_to(origin, value.shape))

    def move(self, step, arguments) -> list:
        """Units or products after a linear operation that keeps units apart."""
        arguments = [a if _is_tag(a) else self.use(a, _where(step)) for a in arguments]
        names, values, parts = _run(step, arguments)
        if any(isinstance(a, _Sum) for a in arguments):
            return [_Sum(names, *pair) for pair in zip(values, parts, strict=True)]
        if step.name in MOVES:
            origins = origins_.moved(step, [_origin(a, step) for a in arguments])
        else:
            (origin,) = (a.origin for a in arguments if isinstance(a, _Units))
            if step.name in POOLS:
                origin = origins_.pooled(step, origin)
            if origin is None:
                raise _error(arguments, f"{_where(step)} adds different units up")
            origins = [origin]
        triples = zip(values, parts, origins, strict=True)
        return [_Units(names, *triple) for triple in triples]

    def product(self, step, arguments) -> _Sum:
        """Units times a kernel."""
        side = [isinstance(a, _Units) for a in arguments].index(True)
        units, kernel = arguments[side], arguments[1 - side]
        if not isinstance(kernel, _Leaf):
            problem = "multiplies them by something other than an unchanged parameter"
            raise _error(arguments, f"{_where(step)} {problem}")
        rows = origins_.multiplied(step, units.origin, side, kernel.value.shape)
        table = self.rows[kernel.number]
        if rows is not None:
            table[kernel.origin] = rows
        if rows is None or (table[kernel.origin] != rows).any():
            problem = f"uses an entry of {self.paths[kernel.number]!r} for several"
            raise _error(arguments, f"{_where(step)} {problem}")
        arguments[1 - side] = self.use(kernel, _where(step))
        names, (value,), (part,) = _run(step, arguments)
        return _Sum(names, value, part)

    def add(self, step, arguments) -> Any:
        """A product and its bias; or, before that, anything else."""
        biases = [a for a in arguments if isinstance(a, _Leaf)]
        arguments = [self.use(a, _where(step)) for a in arguments]
        names, (value,), (part,) = _run(step, arguments)
        if not biases:
            return _Sum(names, value, part)
        (bias,) = biases
        leaf, path = self.leaves[bias.number], self.paths[bias.number]
        origin = np.broadcast_to(bias.origin, part.shape)
        axes = range(part.ndim)
        alike = tuple(a for a in axes if (origin == origin.take([0], a)).all())
        entries = origin[tuple(0 if a in alike else slice(None) for a in axes)]
        if len(np.unique(entries)) < entries.size:
            raise _error(arguments, f"{_where(step)} repeats the bias {path!r}")
        shift = part.astype(leaf.dtype).mean(axis=alike)
        if self.axis:
            shift = jax.lax.pmean(shift, self.axis)
        so_far = self.shifts.get(bias.number, jnp.zeros(leaf.size, leaf.dtype))
        self.shifts[bias.number] = shifts = so_far.at[entries].add(shift)
        self.biases[bias.number][entries] = True
        if not self.sequential:
            return value
        return value - part + shifts[origin].astype(part.dtype)


def _run(step, arguments) -> tuple[tuple[str, ...], list, list]:
    """Names, results, and what of the results is due to removed units."""
    scales = step.name in families.SCALINGS | _PRODUCTS
    other = (lambda a: a) if scales else jnp.zeros_like
    names = dict.fromkeys(name for a in arguments if _is_tag(a) for name in a.names)
    values = step.run(*[a.value if _is_tag(a) else a for a in arguments])
    parts = step.run(*[a.part if _is_tag(a) else other(a) for a in arguments])
    return tuple(names), values, parts


def _is_tag(value) -> bool:
    return isinstance(value, _Units | _Sum)


def _is_linear(step, arguments) -> bool:
    """Whether a step is linear in units, or in products, and does nothing else."""
    if len({type(a) for a in arguments if _is_tag(a)}) > 1:
        return False
    if step.name not in families.SCALINGS:
        return step.name in MOVES | families.CASTS | POOLS
    value, factor = arguments if _is_tag(arguments[0]) else arguments[::-1]
    if _is_tag(factor) or math.prod(jnp.shape(_array(factor))) != 1:
        return False
    return step.name == "mul" or value is arguments[0]


def _origin(value, step) -> np.ndarray:
    """Of units, or of what they are put together with."""
    if isinstance(value, _Units):
        return value.origin
    zero = step.name == "pad" and not isinstance(value, Tracer) and not value
    return np.full(jnp.shape(value), ZERO if zero else OTHER)


def _array(value):
    return value.value if isinstance(value, _Leaf) else value


def _move_leaf(step, leaf: _Leaf) -> list[_Leaf]:
    origins = [leaf.origin]
    if step.name in MOVES:
        origins = origins_.moved(step, origins)
    pairs = zip(step.run(leaf.value), origins, strict=True)
    return [leaf._replace(value=value, origin=origin) for value, origin in pairs]


def _where(step) -> str:
    return f"the primitive {step.name!r} at {step.place}"


def _error(values, problem: str) -> ValueError:
    names = dict.fromkeys(name for v in values if _is_tag(v) for name in v.names)
    return ValueError(
        f"cannot remove units of {trees.listed(names)}: {problem}; every layer that "
        "reads them must be dense or a convolution, with a bias, behind nothing but "
        "reshapes, casts, scalings or average pooling. Name the activation right "
        "before such layers, or leave it out of nodes"
    )


def _returned(out_tree) -> str:
    problem = "fn returns them, or their product without a bias"
    if (count := out_tree.num_leaves) == 1:
        return problem
    one = checks.one_output(jax.tree.unflatten(out_tree, range(count)))
    return f"{problem} (if it does so beside its output, pass {one})"
