"""What is claimed of two functions on a box: checked input, and what is bounded."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sparsejax import checks, lift, trees
from sparsejax import masks as masks_


class Claim(NamedTuple):
    """That no signed output of a function exceeds a limit; none: look for the largest.

    The outputs are differences, of both signs; or how far other classes are above the
    decision, `chosen` of `count`.
    """

    limit: float | None
    decision: bool
    chosen: int = 0
    count: int = 0

    @property
    def signs(self) -> np.ndarray:
        """The signs with which outputs count."""
        return np.array([1.0] if self.decision else [1.0, -1.0])

    def signed(self, outputs: Array) -> Array:
        """All outputs of all signs."""
        return outputs if self.decision else jnp.concatenate([outputs, -outputs])


def claim(delta: Any, same_decision: bool, margin: Any) -> Claim:
    """The claim of `certify`'s arguments."""
    if same_decision:
        if delta is not None:
            raise ValueError("delta and same_decision are two claims; make one")
        return Claim(-number(margin, "margin"), True)
    if margin:
        raise ValueError("margin is of decisions; pass same_decision=True, or delta=")
    return Claim(None if delta is None else number(delta, "delta"), False)


def number(value: Any, name: str, infinite: bool = False) -> float:
    """A number from 0 on, of Python or an array of no axes; finite, or `infinite`."""
    single = hasattr(value, "item") and np.ndim(value) == 0
    plain = value.item() if single else value
    real = isinstance(plain, int | float) and not isinstance(plain, bool)
    if not real or not plain >= 0 or (plain == np.inf and not infinite):
        raise ValueError(f"{name} is {value!r}; expected a number from 0 on")
    return float(plain)


class Box(NamedTuple):
    """A box of inputs: `low` and `high` are flat, in float64."""

    x: Any
    low: np.ndarray
    high: np.ndarray

    @property
    def dtype(self) -> Any:
        """That of the input."""
        return self.x.dtype

    def twice(self) -> "Box":
        """The box of pairs of inputs."""
        return self._replace(low=np.tile(self.low, 2), high=np.tile(self.high, 2))

    def split(self, flat: Any) -> list:
        """The inputs that a flat one consists of, in their shape."""
        count, shape = self.x.size, self.x.shape
        starts = range(0, count * (len(self.low) // count), count)
        return [flat[start : start + count].reshape(shape) for start in starts]

    def shaped(self, flat: np.ndarray) -> np.ndarray:
        """A flat input in the shape of one; a pair stacked."""
        parts = self.split(flat)
        return parts[0] if len(parts) == 1 else np.stack(parts)


def box(x: Any, low: Any, high: Any, inside: bool, before: str) -> Box:
    """The box between two ends, and an input, which lies `inside` if that matters."""
    checks.array(x, floating=True, before=before)
    x = jnp.asarray(x)
    if not x.size:
        raise ValueError(f"x is empty, of shape {x.shape}")
    if x.dtype.itemsize < 4:
        raise ValueError(
            f"x is of {x.dtype}, whose rounding proofs do not model; pass "
            "x.astype('float32'), and parameters of float32"
        )
    ends = []
    for name, end in (("low", low), ("high", high)):
        end = _end(end, name, before)
        if end.shape not in ((), x.shape):
            raise ValueError(
                f"{name} has shape {end.shape}; expected a number, or x's {x.shape}"
            )
        if not np.isfinite(end).all():
            raise ValueError(f"{name} is not finite; expected the ends of a box")
        ends.append(np.broadcast_to(end, x.shape).reshape(-1))
    wrong = np.flatnonzero(ends[0] > ends[1])
    if len(wrong):
        at = tuple(map(int, np.unravel_index(wrong[0], x.shape)))
        first = " > ".join(str(end[wrong[0]]) for end in ends)
        raise ValueError(
            f"low is above high at {len(wrong)} places, first at {at}: {first}"
        )
    flat = np.asarray(x, np.float64).reshape(-1)
    room = 1e-6 * (1 + np.abs(flat))
    if inside and ((flat < ends[0] - room) | (flat > ends[1] + room)).any():
        raise ValueError("x, whose decision is asked for, lies outside of the box")
    return Box(x, *ends)


def _end(end: Any, name: str, before: str) -> np.ndarray:
    """One end of a box, an array or nested lists of numbers."""
    if isinstance(end, list | tuple):
        try:
            return np.asarray(end, np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} is {checks.described(end)}; expected a number, or an array of "
                "x's shape"
            ) from None
    checks.array(end, name, before=f"{before}x, ")
    return np.asarray(end, np.float64)


def decided(claim: Claim, full: Callable, circuit: Callable, box: Box) -> Claim:
    """The claim on two functions, which must have the same outputs.

    Raises:
        ValueError: if one cannot be traced, or they return arrays of other shapes or
            not of real numbers; for decisions of several rows, and one that is none.
    """
    inputs = [box.x] * (len(box.low) // box.x.size)
    shapes = []
    for name, fn in (("full", full), ("circuit", circuit)):
        try:
            out = jax.eval_shape(fn, *inputs)
        except (TypeError, AttributeError, LookupError) as error:
            line = checks.first_line(error)
            raise ValueError(f"{name} cannot be traced: {line}") from error
        if not isinstance(out, jax.ShapeDtypeStruct):
            what = checks.described(out)
            raise ValueError(f"{name} returns {what}; expected one array")
        if not jnp.issubdtype(out.dtype, jnp.floating) or out.dtype.itemsize < 4:
            raise ValueError(
                f"{name} returns {out.dtype}; certificates are of outputs of real "
                "numbers, of float32 or float64"
            )
        shapes.append(out.shape)
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"full returns shape {shapes[0]}, circuit {shapes[1]}; compare functions "
            "of the same outputs"
        )
    if not claim.decision:
        return claim
    count = int(np.prod(shapes[0]))
    if count < 2:
        raise ValueError("a decision is among several outputs; full returns one")
    if count > shapes[0][-1]:
        raise ValueError(
            f"full returns shape {shapes[0]}, several rows of classes; a decision is "
            "of one: certify one example at a time"
        )
    values = np.asarray(jax.jit(full)(*inputs))
    if np.isnan(values).any():
        raise ValueError("full is not a number at x, so that it decides nothing there")
    return claim._replace(chosen=int(np.argmax(values)), count=count)


def outputs(claim: Claim, full: Callable, circuit: Callable) -> Callable[..., Array]:
    """What is limited, flat, as a function of the inputs of both functions."""
    if not claim.decision:
        return lambda *inputs: (full(*inputs) - circuit(*inputs)).reshape(-1)
    others = np.delete(np.arange(claim.count), claim.chosen)

    def above(*inputs):
        values = circuit(*inputs).reshape(-1)
        return values[others] - values[claim.chosen]

    return above


def size(claim: Claim, full: Callable, circuit: Callable) -> Callable[..., Array]:
    """The largest of the numbers that the outputs are differences of."""

    def largest(*inputs):
        parts = [circuit(*inputs)]
        if not claim.decision:
            parts.append(full(*inputs))
        return jnp.stack([jnp.abs(part).max() for part in parts]).max()

    return largest


def patch(full: Callable, circuit: Callable, patched: Any) -> tuple[Callable, Callable]:
    """Functions of two inputs: removed units of the circuit are those of the second."""
    if not isinstance(patched, Mapping):
        raise ValueError(
            f"patched is {checks.described(patched)}; expected {{name: mask}}"
        )
    masks = {name: check_mask(mask, f"patched[{name!r}]")
             for name, mask in patched.items()}  # fmt: skip

    def whole(x, other):
        return full(x)

    def part(x, other):
        _, values = lift.activations(full, masks)(other)

        def put(name):
            mask = jnp.asarray(masks[name], values[name].dtype)
            return lambda h: masks_.blend(h, mask, values[name])

        return lift.edit(circuit, {name: put(name) for name in masks})(x)

    return whole, part


def check_mask(mask: Any, name: str) -> np.ndarray:
    """A mask of zeros and ones, as NumPy's."""
    checks.array(mask, name, before="")
    mask = np.asarray(mask)
    if not np.isin(mask, (0, 1)).all():
        wrong = trees.listed(np.unique(mask[~np.isin(mask, (0, 1))]).tolist(), 3)
        raise ValueError(f"{name} has values other than 0 and 1: {wrong}")
    return mask
