"""Masks of named activations: of which shapes they are, and of which axes."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import ArrayLike

from sparsejax import checks, interpret, trees
from sparsejax._patterns import matches


def axes_of(axes: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """The axes of those names that have some of their own."""
    for pattern in axes:
        if not any(pattern == name or matches(name, pattern) for name in names):
            raise ValueError(
                f"axes[{pattern!r}] fits none of the activations that can be masked, "
                f"{trees.listed(names)}"
            )
    result = {}
    for name in names:
        fitting = [axes[pattern] for pattern in axes if matches(name, pattern)]
        if name in axes or fitting:
            result[name] = axes[name] if name in axes else fitting[0]
    return result


def shape(site: interpret.Site, axes: Any, layered) -> tuple[int, ...]:
    """Shape of the mask of an activation: its loops, then these axes of it."""
    count = len(site.shape)
    numbers = checks.sizes(axes, f"axes[{site.name!r}]", -count)
    if any(axis >= count for axis in numbers):
        raise ValueError(
            f"axes[{site.name!r}] is {axes}, but the activation has shape {site.shape},"
            f" with axes {-count} to {count - 1}"
        )
    masked = {axis % count for axis in numbers}
    sizes = [size if axis in masked else 1 for axis, size in enumerate(site.shape)]
    loops = [length if own else 1 for length, own in zip(site.loops, layered)]
    return (*loops, *sizes[min(masked, default=count - 1) :])


def check_units(
    site: interpret.Site,
    other: interpret.Site | None = None,
    mask: ArrayLike | None = None,
) -> None:
    """Raise a `ValueError` if the last axis of an activation does not count units.

    Args:
        site: where it is named.
        other: the same place of the function of one example more, if that is known.
        mask: what is to mask it, if anything; it may be of other axes.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda x: checkpoint_name(x.T, "h")  # units first, examples last
        >>> (one,) = interpret.sites(interpret.trace(fn, jnp.ones((4, 3))))
        >>> (more,) = interpret.sites(interpret.trace(fn, jnp.ones((5, 3))))
        >>> check_units(one, more)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: the last axis of activation 'h' at ... grows with the first axis ...
    """
    if mask is not None and jnp.ndim(mask) != len(site.loops) + 1:
        return
    mend = (
        'name it with the units last: checkpoint_name(jnp.moveaxis(h, axis, -1), "...")'
        " and move them back, mask another axis: masks.ones(..., axes={name: axis}), or"
        " lift the function of one example and vmap outside"
    )
    last = len(site.shape) - 1
    if site.features not in (None, last):
        raise ValueError(
            f"activation {site.name!r} at {site.place} has shape {site.shape} with the "
            f"channels of a convolution on axis {site.features}, but units are the last"
            f" axis; {mend}"
        )
    grows = [a != b for a, b in zip(site.shape, other.shape if other else site.shape)]
    if grows[-1:] == [True] and sum(grows) == 1:
        raise ValueError(
            f"the last axis of activation {site.name!r} at {site.place}, of shape "
            f"{site.shape}, grows with the first axis of the inputs: it counts "
            f"examples or places, not units; {mend}"
        )


def check_fits(site: interpret.Site, array: ArrayLike, name: str) -> None:
    """Raise a `ValueError` if an array does not broadcast to an activation.

    Args:
        site: where it is named.
        array: mask, or what takes the place of what a mask removes.
        name: of the array, for the message.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda x: checkpoint_name(x, "h")
        >>> (site,) = interpret.sites(interpret.trace(fn, jnp.ones((4, 3))))
        >>> check_fits(site, jnp.ones(3), "masks.nodes['h']")
        >>> check_fits(site, jnp.ones(2), "masks.nodes['h']")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: masks.nodes['h'] ...
    """
    shape, loops = jnp.shape(array), len(site.loops)
    around, rest = shape[:loops], shape[loops:]
    fits = len(shape) > loops and len(rest) <= len(site.shape)
    pairs = [*zip(around, site.loops), *zip(rest[::-1], site.shape[::-1])]
    if fits and all(size in (1, whole) for size, whole in pairs):
        return
    said = f"{name} has shape {shape}, but the activation {site.name!r} at {site.place}"
    one = site.shape[-1:]
    if loops:
        lengths = " by ".join(map(str, site.loops))
        raise ValueError(
            f"{said} has shape {site.shape} in a loop of {lengths} steps; a mask has "
            f"the loop's axis first, {(*site.loops, *one)}, or {(1,) * loops + one} "
            "for the same at every step"
        )
    example = f"such as {one} for units" if one else "which has no axes"
    if len(site.shape) > 1:
        example += f" or {(site.shape[-2], 1)} for the axis before"
    raise ValueError(
        f"{said} has shape {site.shape}; expected one that broadcasts to it from the "
        f"right, {example}; if fn uses vmap itself, lift the function of one example "
        "and vmap outside"
    )
