"""Functions whose named activations are read, changed, or written out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import jax.numpy as jnp

from sparsejax import checks, interpret
from sparsejax import masks as masks_
from sparsejax.lift._checks import check_names, check_not_looped


def activations(
    fn: Callable, names: Iterable[str] | None = None, *, units: bool = False
) -> Callable:
    """`fn` that also returns its named activations.

    Args:
        fn: any JAX function.
        names: which activations, one or several; by default all of them.
        units: whether to refuse those in loops, and those whose last axis is known to
            count no units.

    Returns:
        A function of the same arguments that returns `(output, {name: array})`. In a
        scan, an array has the steps of the loop along its first axis; one axis for each
        loop.

    Raises (when called):
        ValueError: if there are none, or one is unknown or inside a `while` or `cond`,
            or, with `units`, is in a scan or has a convolution's channels on another
            axis than the last.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name as name
        >>> fn = lambda x: name(name(x + 1, "h") * 2, "h").sum()
        >>> out, acts = activations(fn)(jnp.array([1.0, 2.0]))
        >>> {k: a.tolist() for k, a in acts.items()}
        {'h': [2.0, 3.0], 'h#2': [4.0, 6.0]}
    """
    asked = None if names is None else checks.several(names)

    def read(*args, **kwargs):
        program = interpret.trace(fn, *args, **kwargs)
        found = interpret.sites(program)
        wanted = [site.name for site in found] if asked is None else asked
        for site in check_names(found, wanted):
            if units:
                check_not_looped(site)
                masks_.check_units(site)

        def keep(name, value, operand):
            return value, value

        out, acts = interpret.evaluate(program, dict.fromkeys(wanted), keep)
        return out, {name: acts[name] for name in wanted}

    return read


def edit(fn: Callable, edits: Mapping[str, Callable]) -> Callable:
    """`fn` with functions applied to some of its named activations.

    Args:
        fn: any JAX function.
        edits: for each name a function of the activation that returns an array of the
            same shape and dtype. In a loop it is applied at every step; one step alone
            is changed by `masked(fn, ablate=values)` and a mask that is 0 there.

    Returns:
        A function of the same arguments as `fn`.

    Raises (when called):
        ValueError: for a name that is unknown or inside a `while`, a `cond` or a
            gradient, and for an edit that changes shape or dtype.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda x: checkpoint_name(x + 1.0, "h") * 2.0
        >>> edited = edit(fn, {"h": lambda h: h.at[0].set(0.0)})
        >>> fn(jnp.array([1.0, 2.0])).tolist(), edited(jnp.array([1.0, 2.0])).tolist()
        ([4.0, 6.0], [0.0, 6.0])
    """

    def visit(name, value, operand):
        new = edits[name](value)
        if jnp.shape(new) != value.shape or jnp.result_type(new) != value.dtype:
            raise ValueError(
                f"the edit of {name!r} returned {jnp.result_type(new)}{jnp.shape(new)},"
                f" expected {value.dtype}{value.shape} as it was given"
            )
        return new, None

    def edited(*args, **kwargs):
        program = interpret.trace(fn, *args, **kwargs)
        check_names(interpret.sites(program), edits, changed=True)
        return interpret.evaluate(program, dict.fromkeys(edits), visit)[0]

    return edited


def unrolled(fn: Callable, max_steps: int = 256) -> Callable:
    """`fn` with its scans written out, for analyses that do not pass through loops.

    Every step takes a static slice of what the loop runs over, and a name gets the
    number of the step: of "h" in a scan, `h[0]`, `h[1]`, ...; `h[0][1]` in a scan in a
    scan. `h[i]` is what `nodes["h"][i]` masks in `fn` itself. Programs grow with the
    steps and take longer to compile: for many masks leave the loop as it is.

    Args:
        fn: any JAX function.
        max_steps: largest number of steps of all scans together.

    Returns:
        A function of the same arguments, equal to another of the same `fn` and
        `max_steps`. `while` and `cond` stay as they are.

    Raises:
        ValueError: if `max_steps` is no whole number from 1 on; and, when called, for a
            function of more steps.

    Example:
        >>> import jax
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> def fn(params, x):
        ...     def layer(h, w):
        ...         return checkpoint_name(h * w, "h"), None
        ...     return jax.lax.scan(layer, x, params)[0]
        >>> params = jnp.array([2.0, 3.0])
        >>> activations(fn)(params, 1.0)[1]["h"].tolist()
        [2.0, 6.0]
        >>> {k: h.item() for k, h in activations(unrolled(fn))(params, 1.0)[1].items()}
        {'h[0]': 2.0, 'h[1]': 6.0}
    """
    return _Unrolled(fn, checks.integer(max_steps, "max_steps", 1))


@dataclass(frozen=True)
class _Unrolled:
    """An `unrolled` function: equal ones are compiled once."""

    fn: Callable
    max_steps: int

    def __call__(self, *args, **kwargs):
        program = interpret.trace(self.fn, *args, **kwargs)
        return interpret.unroll(program, self.max_steps)
