"""Many masks at a time along the last axis: products of matrices, and columns.

`vmap` puts the masks first. Of a network whose masked units are read by one product,
after which there are few numbers for each example, that is slow on CPUs: the product is
one with a handful of columns, and what follows runs over arrays whose last axis has the
length of the classes. With the masks last the product is one of large matrices
(`_terms`), and every operation runs along the masks.

Whatever meets another product afterwards, a loop or a sort, is left to `vmap`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sparsejax import interpret
from sparsejax.interpret import primitives as families
from sparsejax.sweep import _share as share_
from sparsejax.sweep import _terms as terms
from sparsejax.sweep._terms import Term

_ALONG = families.REDUCTIONS | {"argmax", "argmin", "rev"}
_LOOKUPS = {"gather", "scatter-add", "dynamic_slice"}
# Bytes of an array for one mask: of larger ones too few go into a batch.
_LARGEST = 250e3


class Columns(NamedTuple):
    """A function of stacked masks whose axis is the last inside.

    Attributes:
        program: the function of one mask.
        arrays: what no mask changes and is read in the loop, by number.
        factors: arrays of terms that no mask changes, in the order of the program.
        shapes: shapes and dtypes of all values that no mask changes.
        largest: bytes of the largest array that depends on the mask, for one mask.
    """

    program: interpret.Program
    arrays: dict[int, Any]
    factors: list
    shapes: dict[int, jax.ShapeDtypeStruct]
    largest: int

    def __call__(self, masks: PyTree) -> PyTree:
        """The results of masks with a leading axis, likewise."""
        rule = _Rule(self.arrays, self.factors, self.shapes)
        leaves = [terms.plain(jnp.moveaxis(m, 0, -1)) for m in jax.tree.leaves(masks)]
        count = leaves[0].varied.shape[-1]
        outs = [
            jnp.moveaxis(out, -1, 0)
            if is_varied
            else jnp.broadcast_to(out, (count, *jnp.shape(out)))
            for is_varied, out in rule.walk(self.program, leaves)
        ]
        return jax.tree.unflatten(self.program.out_tree, outs)


def columns(program: interpret.Program) -> Columns | None:
    """A function of one mask as one of many, with what no mask changes computed.

    Args:
        program: from `trace`.

    Returns:
        The function; None where the masks are better the first axis.
    """
    if any(jnp.issubdtype(a.dtype, jax.dtypes.extended) for a in program.inputs):
        return None  # keys
    shapes, sizes = {}, [0]

    def first():
        rule = _Rule()
        masks = [jnp.zeros((*a.shape, 1), a.dtype) for a in program.inputs]
        rule.walk(program, [*map(terms.plain, masks)])
        shapes.update(rule.steps.shapes)
        sizes.append(rule.largest)
        return rule.arrays, rule.factors, [jnp.isfinite(f).all() for f in rule.factors]

    try:
        _, factors, _ = jax.eval_shape(first)
    except _Unfit:
        return None
    if not factors or max(sizes) > _LARGEST:
        return None  # without a product, or in short columns, nothing is gained
    arrays, factors, finite = interpret.Compiled(first)()
    if not all(map(bool, finite)):  # a mask selects these away, a product does not
        return None
    return Columns(program, arrays, factors, shapes, max(sizes))


class _Unfit(Exception):
    """A step whose masks are better the first axis."""


class _Rule:
    """The rule of a walk for steps that depend on the masks.

    A first walk, which is given nothing, fills the three.

    Args:
        arrays: arrays that no mask changes, by number.
        factors: those of terms, in order.
        shapes: shapes and dtypes of all values that no mask changes.
    """

    def __init__(self, arrays=None, factors=None, shapes=None):
        self.is_first = shapes is None
        self.arrays = {} if arrays is None else arrays
        self.factors = [] if factors is None else factors
        self.used, self.largest = 0, 0  # factors; bytes of an array, for one mask
        self.steps = share_.Steps(self, shapes)

    def walk(self, program, leaves: list[Term]) -> list[tuple[bool, Any]]:
        """Whether each result depends on the masks, and its array."""
        inputs = [*map(share_.Varied, leaves)]
        outs = interpret.walk(program, inputs, self.steps)
        return [
            (isinstance(out, share_.Varied), self.array(self.value(out)))
            for out in outs
        ]

    def __call__(self, step, arguments: list) -> list:
        if step.name in families.IDENTITIES:
            return arguments
        values = [*map(self.value, arguments)]
        out = self.term(step, values)
        if out is None:
            array = self.bound(step, values)
            if self.is_first:
                self.largest = max(self.largest, array.size * array.dtype.itemsize)
            out = terms.plain(array)
        if out.shape != step.shape or out.varied.dtype != step.dtype:
            raise _Unfit  # as by `preferred_element_type`
        return [share_.Varied(out)]

    def value(self, argument):
        is_varied = isinstance(argument, share_.Varied)
        return argument.value if is_varied else argument

    def known(self, value, dtype) -> Callable:
        """How a known array is made, in a factor or (`inside`) in the loop."""

        def make(inside=False):
            if isinstance(value, share_.Known) and not inside:
                return value.array  # factors are made in the first walk alone
            return jnp.asarray(self.array(value), dtype)

        return make

    def array(self, value):
        """An array: of a term multiplied out, or as it is known in the loop."""
        if isinstance(value, Term):
            return terms.array(value, self.hold)
        if isinstance(value, share_.Known):
            if self.is_first:
                self.arrays[value.number] = value.array
            return self.arrays[value.number]
        return value

    def hold(self, make: Callable):
        """The array of a factor, computed once."""
        if self.is_first:
            self.factors.append(make())
        self.used += 1
        return self.factors[self.used - 1]

    def term(self, step, values: list) -> Term | None:
        """The result as a term, where it can be one."""
        kind, params, first = step.name, step.params, values[0]
        if kind == "mul" or kind == "dot_general":
            return self.product(step, values)
        if kind == "eq" and isinstance(first, Term) and self.steps.is_zero(values[1]):
            if first.factor is None:
                return terms.where_zero(first)
        if kind == "select_n":
            return self.selected(values)
        if kind == "convert_element_type" and isinstance(first, Term):
            return first if first.varied.dtype == params["new_dtype"] else None
        if not isinstance(first, Term):
            return None
        if kind == "broadcast_in_dim":
            return terms.repeated(
                first, params["shape"], params["broadcast_dimensions"]
            )
        if kind == "squeeze":
            return terms.without(first, params["dimensions"])
        if kind == "transpose":
            return terms.permuted(first, params["permutation"])
        if kind == "reduce_sum" and first.factor is not None:
            return terms.summed(first, params["axes"])
        return None

    def product(self, step, values: list) -> Term | None:
        """A term times what is known, or such a product of matrices."""
        first, second = values
        is_first = isinstance(first, Term)
        if is_first and isinstance(second, Term):
            return None
        term, other = (first, second) if is_first else (second, first)
        if not jnp.issubdtype(term.varied.dtype, jnp.floating):
            return None
        known = other.array if isinstance(other, share_.Known) else other
        shape, dtype = jnp.shape(known), term.varied.dtype
        if jnp.finfo(dtype).bits < 32 or getattr(known, "dtype", dtype) != dtype:
            return None
        if not term.out and shape:
            term = terms.repeated(term, shape, ())
        make = self.known(other, dtype)
        if step.name == "mul":
            product = terms.multiplied(term, make, shape)
        else:
            numbers = step.params["dimension_numbers"]
            if not is_first:
                numbers = tuple((one, two) for two, one in numbers)
            product = terms.dotted(term, make, shape, numbers, is_first)
        return product if terms.is_small(product) else None

    def selected(self, values: list) -> Term | None:
        """What a mask scales, and selects away where it is 0: the first is enough.

        Where the factor is finite, as `columns` sees to.
        """
        pred, *cases = values
        if not isinstance(pred, Term) or len(cases) != 2:
            return None
        term, zero = cases
        if not isinstance(term, Term) or not self.steps.is_zero(zero):
            return None
        is_selection = term.factor is not None and terms.is_where_zero(pred, term)
        return term if is_selection else None

    def bound(self, step, values: list):
        """A step of arrays whose last axis is that of the masks."""
        kind, arrays = step.name, [*map(self.array, values)]
        is_term = [isinstance(value, Term) for value in values]
        count = arrays[is_term.index(True)].shape[-1]
        if kind in families.ELEMENTWISE:
            shape = (*step.shape, count)
            return _only(
                step.run(*map(_column, arrays, is_term, [shape] * len(values)))
            )
        if kind in _ALONG:
            return _only(step.run(*arrays))
        if kind == "reshape" and step.params["dimensions"] is None:
            return arrays[0].reshape(*step.shape, count)
        if kind in ("concatenate", "stack"):
            own = [a.shape[:-1] if t else a.shape for a, t in zip(arrays, is_term)]
            shapes = [(*shape, count) for shape in own]
            return _only(step.run(*map(_column, arrays, is_term, shapes)))
        if kind in _LOOKUPS or kind in ("slice", "broadcast_in_dim", "pad"):
            axes = [-1 if term else None for term in is_term]
            return jax.vmap(lambda *a: _only(step.run(*a)), axes, -1)(*arrays)
        raise _Unfit


def _column(array, is_term: bool, shape):
    """An array with the axis of the masks, repeated to a shape."""
    if is_term:
        missing = len(shape) - array.ndim
        array = jnp.expand_dims(array, tuple(range(missing)))
    elif np.ndim(array):
        array = jnp.asarray(array)[..., None]
    return jnp.broadcast_to(array, shape)


def _only(results: list):
    (result,) = results
    return result
