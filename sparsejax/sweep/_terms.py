"""Values of many masks as products that are not yet multiplied out.

A term is a sum of products of an array that no mask changes and one that masks do, over
some of their axes, by labels as in `einsum`. Of activations h, a mask m and a kernel W,
(h * m) @ W is such a term with the array h[p, u] W[u, c], which is computed once: for
many masks it is one product of matrices, and h * m is never made.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

Labels = tuple[object, ...]
_MOST = 1 << 20  # entries of an array that no mask changes


class Factor(NamedTuple):
    """An array that no mask changes, made when it is needed.

    Attributes:
        make: the array; `make(inside=True)` in the loop over masks.
        by: labels of its axes.
    """

    make: Callable[..., Array]
    by: Labels


@dataclass(frozen=True, eq=False)
class Term:
    """A value of many masks.

    Attributes:
        varied: array that depends on the masks, whose last axis is theirs.
        of: labels of its other axes.
        factor: what it is multiplied with; None for 1.
        out: labels of the value's axes; along one that no array has it is repeated.
        sizes: of all labels.
        zero_of: of a comparison with 0 the array that is compared.
        plainly: how the value was to be computed, as an array like `varied`.
    """

    varied: Array
    of: Labels
    factor: Factor | None
    out: Labels
    sizes: dict[object, int]
    zero_of: Any = None
    plainly: Callable[[Callable], Array] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.sizes[label] for label in self.out)

    @property
    def by(self) -> Labels:
        return () if self.factor is None else self.factor.by


def plain(array: Array) -> Term:
    """The term of an array whose last axis is that of the masks."""
    labels = tuple(object() for _ in array.shape[:-1])
    sizes = dict(zip(labels, array.shape[:-1], strict=True))
    return Term(array, labels, None, labels, sizes)


def repeated(term: Term, shape: Sequence, places: Sequence) -> Term:
    """As `broadcast_in_dim`."""
    labels: list = [object() for _ in shape]
    for place, label in zip(places, term.out, strict=True):
        if term.sizes[label] == shape[place]:
            labels[place] = label
    fresh = [label not in term.sizes for label in labels]
    sizes = {k: n for k, n, new in zip(labels, shape, fresh, strict=True) if new}
    return _changed(term, labels, sizes)


def permuted(term: Term, order: Sequence) -> Term:
    return _changed(term, [term.out[i] for i in order])


def without(term: Term, axes: Iterable) -> Term:
    """A term less axes of length 1."""
    gone = {term.out[axis] for axis in axes}
    places = tuple(i for i, label in enumerate(term.of) if label in gone)
    term = replace(
        term,
        varied=jnp.squeeze(term.varied, places),
        of=tuple(label for label in term.of if label not in gone),
    )
    return _changed(term, [label for label in term.out if label not in gone])


def multiplied(term: Term, make: Callable[..., Array], shape: Sequence) -> Term:
    """A term times an array that no mask changes, of shape () or of the same rank."""
    out, sizes, by = list(term.out), dict(term.sizes), []
    for i, size in enumerate(shape):
        if size != 1 and size != sizes[out[i]]:  # the term is repeated
            out[i] = object()
            sizes[out[i]] = size
        if size != 1:
            by.append(out[i])

    def narrow():
        return jnp.reshape(make(), [n for n in shape if n != 1])

    def plainly(array_of):
        known = make(inside=True)
        return array_of(term) * (known[..., None] if shape else known)

    factor = _product(term.factor, Factor(narrow, tuple(by)), (), sizes)
    return Term(term.varied, term.of, factor, tuple(out), sizes, None, plainly)


def dotted(term: Term, make, shape, numbers, is_first: bool) -> Term:
    """As `dot_general` of a term and an array that no mask changes.

    Args:
        term: the term.
        make: makes the array.
        shape: of the array.
        numbers: axes that are summed over, and those of batches, of term and array.
        is_first: whether the term is the first operand.
    """
    (summed, summed_known), (batch, batch_known) = numbers
    labels: list = [object() for _ in shape]
    for i, j in zip([*summed, *batch], [*summed_known, *batch_known], strict=True):
        labels[j] = term.out[i]
    sizes = {**term.sizes, **dict(zip(labels, shape, strict=True))}
    first = [term.out[i] for i in batch]
    own = [k for i, k in enumerate(term.out) if i not in {*summed, *batch}]
    other = [k for j, k in enumerate(labels) if j not in {*summed_known, *batch_known}]
    out = [*first, *own, *other] if is_first else [*first, *other, *own]
    gone = {term.out[i] for i in summed} - set(term.of)
    factor = _product(term.factor, Factor(make, tuple(labels)), gone, sizes)
    return Term(term.varied, term.of, factor, tuple(out), sizes)


def summed(term: Term, axes: Iterable) -> Term:
    """The sum over axes."""
    gone = {term.out[i] for i in axes}
    now, times = gone & {*term.by} - {*term.of}, 1
    for label in gone - {*term.by} - {*term.of}:
        times *= term.sizes[label]
    factor = term.factor
    if now or times != 1:
        dtype = term.varied.dtype
        scale = Factor(lambda: jnp.asarray(times, dtype), ())
        factor = _product(factor, scale, now, term.sizes)
    out = tuple(label for label in term.out if label not in gone)
    return Term(term.varied, term.of, factor, out, term.sizes)


def where_zero(term: Term) -> Term:
    """Where a term without a factor is 0."""
    zero = term.varied == 0
    return replace(term, varied=zero, zero_of=term.varied, plainly=None)


def is_where_zero(pred: Term, term: Term) -> bool:
    """Whether a term is removed just where its varied array is 0 in any case."""
    if pred.zero_of is not term.varied or pred.of != term.of:
        return False
    if len(pred.out) != len(term.out):
        return False
    pairs = zip(pred.out, term.out, strict=True)
    return {*term.of} <= {*pred.out} and all(
        a is b for a, b in pairs if a in term.of or b in term.of
    )


def array(term: Term, hold: Callable[[Callable[[], Array]], Array]) -> Array:
    """The value, multiplied out, its last axis that of the masks.

    Args:
        term: the term.
        hold: gives the array of a factor.
    """
    of, by, out = {*term.of}, {*term.by}, {*term.out}
    if of & by & out and of & by - out and term.plainly is not None:
        return term.plainly(lambda part: array(part, hold))  # no batch of products
    alone = [i for i, k in enumerate(term.of) if k not in by | out]
    varied = term.varied.sum(axis=tuple(alone)) if alone else term.varied
    labels = [k for k in term.of if k in by | out]
    present = [k for k in term.out if k in of | by]
    if term.factor is not None:
        number = {k: i for i, k in enumerate(dict.fromkeys([*labels, *term.by]))}
        known, last = hold(term.factor.make), len(number)
        if by - out:
            varied = jnp.einsum(
                known,
                [number[k] for k in term.by],
                varied,
                [*(number[k] for k in labels), last],
                [*(number[k] for k in present), last],
                precision=jax.lax.Precision.HIGHEST,
            )
        else:
            known = _spread(known, term.by, present)[..., None]
            varied = known * _spread(varied, labels, present)
    else:
        varied = _spread(varied, labels, present)
    places = [i for i, k in enumerate(term.out) if k in of | by]
    where = (*places, len(term.out))
    shape = (*term.shape, varied.shape[-1])
    varied = jnp.broadcast_to(varied, (*(term.sizes[k] for k in present), shape[-1]))
    if varied.shape == shape:
        return varied
    return jax.lax.broadcast_in_dim(varied, shape, where)


def _spread(value: Array, labels: Sequence, out: Sequence) -> Array:
    """An array with axes in the order of `out`, of length 1 where it has none."""
    order = [labels.index(k) for k in out if k in labels]
    extra = value.ndim - len(labels)  # the axis of the masks
    value = jnp.transpose(value, [*order, *range(len(order), len(order) + extra)])
    missing = [i for i, k in enumerate(out) if k not in labels]
    return jnp.expand_dims(value, missing) if missing else value


def _changed(term: Term, out, sizes=None) -> Term:
    """A term whose axes are other ones."""
    sizes = {**term.sizes, **(sizes or {})}
    return replace(term, out=tuple(out), sizes=sizes, plainly=None)


def _product(first: Factor | None, second: Factor, gone, sizes) -> Factor:
    """The product of two factors, summed over some labels."""
    if first is None and not gone:
        return second
    one = first or Factor(lambda: jnp.ones(()), ())
    every = tuple(dict.fromkeys([*one.by, *second.by]))
    by = tuple(label for label in every if label not in gone)
    number = {label: i for i, label in enumerate(every)}

    def make():
        a, b = one.make() if first else None, second.make()
        axes = [[number[k] for k in part] for part in (one.by, second.by, by)]
        if a is None:
            return jnp.einsum(b, axes[1], axes[2])
        return jnp.einsum(
            a, axes[0], b, axes[1], axes[2], precision=jax.lax.Precision.HIGHEST
        )

    return Factor(make, by)


def is_small(term: Term) -> bool:
    """Whether what no mask changes is small enough to be held."""
    return math.prod(term.sizes[label] for label in term.by) <= _MOST
