"""Open any JAX function: mask its weights and units, read and edit its activations.

A function names the activations worth talking about with JAX's own
`jax.ad_checkpoint.checkpoint_name(h, "hidden_0")`; the last axis is the unit axis. The
lifted functions are ordinary JAX functions: `jit`, `vmap` and `grad` them. Write for
one example or one batch, lift first, `vmap` outside: inside a `vmap` of its own the
last axis of an activation can be the batch.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import jax.numpy as jnp

from sparsejax import interpret, trees
from sparsejax import masks as masks_
from sparsejax.masks import Masks


def masked(fn: Callable) -> Callable:
    """`fn(params, *args)` as a function of masks too.

    Args:
        fn: any JAX function whose first argument is its parameters.

    Returns:
        `apply(params, masks, *args)`: parameters are multiplied by `masks.weights`, the
        named activations in `masks.nodes` by their vectors. Other arguments are
        forwarded.

    Raises (when called):
        ValueError: if a mask does not fit, or names an activation that `fn` lacks,
            names twice, or names inside a loop.

    Example:
        >>> apply = masked(lambda params, x: x @ params)
        >>> kernel, x = jnp.array([[2.0], [3.0]]), jnp.ones((1, 2))
        >>> apply(kernel, Masks(jnp.array([[1.0], [0.0]]), {}), x).tolist()
        [[2.0]]
    """

    def apply(params, masks, *args, **kwargs):
        if not isinstance(masks, Masks):
            raise ValueError(
                f"expected Masks(weights, nodes), got {type(masks).__name__}; "
                "wrap a tree of weight masks as Masks(tree, {})"
            )
        params = masks_.apply(params, masks.weights)
        if not masks.nodes:
            return fn(params, *args, **kwargs)
        edits = {name: partial(_mask_units, name, m) for name, m in masks.nodes.items()}
        return edit(fn, edits)(params, *args, **kwargs)

    return apply


def bind(apply: Callable, masks: Masks) -> Callable:
    """`apply(params, masks, *args)` with the masks filled in: `fn(params, *args)`."""
    return lambda params, *args, **kwargs: apply(params, masks, *args, **kwargs)


def activations(fn: Callable, names: Iterable[str] | None = None) -> Callable:
    """`fn` that also returns its named activations.

    Args:
        fn: any JAX function.
        names: which activations; by default all of them.

    Returns:
        A function of the same arguments that returns `(output, {name: array})`.

    Raises (when called):
        ValueError: if there are none, or one is unknown, used twice or inside a loop.
    """

    def read(*args, **kwargs):
        program = interpret.trace(fn, *args, **kwargs)
        found = interpret.sites(program)
        wanted = [site.name for site in found] if names is None else list(names)
        _check_names(found, wanted)
        keep = lambda name, value, state: (value, {**state, name: value})
        out, acts = interpret.evaluate(program, frozenset(wanted), keep)
        return out, {name: acts[name] for name in wanted}

    return read


def edit(fn: Callable, edits: Mapping[str, Callable]) -> Callable:
    """`fn` with functions applied to some of its named activations.

    Args:
        fn: any JAX function.
        edits: for each name a function of the activation that returns an array of the
            same shape and dtype.

    Returns:
        A function of the same arguments as `fn`.

    Raises (when called):
        ValueError: for a name that is unknown, used twice or inside a loop, and for an
            edit that changes shape or dtype.
    """

    def visit(name, value, state):
        new = edits[name](value)
        if jnp.shape(new) != value.shape or jnp.result_type(new) != value.dtype:
            raise ValueError(
                f"the edit of {name!r} returned {jnp.result_type(new)}{jnp.shape(new)},"
                f" expected {value.dtype}{value.shape} as it was given"
            )
        return new, state

    def edited(*args, **kwargs):
        program = interpret.trace(fn, *args, **kwargs)
        _check_names(interpret.sites(program), list(edits))
        return interpret.evaluate(program, frozenset(edits), visit)[0]

    return edited


def _mask_units(name, mask, value):
    if value.ndim == 0 or jnp.shape(mask) != value.shape[-1:]:
        raise ValueError(
            f"masks.nodes[{name!r}] has shape {jnp.shape(mask)}, but the activation "
            f"has shape {value.shape}, that is {value.shape[-1:]} units; if fn uses "
            "vmap itself, lift the function of one example and vmap outside"
        )
    return value * jnp.asarray(mask).astype(value.dtype)


def _check_names(sites, wanted) -> None:
    names = [site.name for site in sites]
    if not names:
        raise ValueError(
            "fn names no activations; add one line where the layer is computed:\n"
            '    h = jax.ad_checkpoint.checkpoint_name(h, "hidden_0")'
        )
    inside = {site.name: site.inside for site in sites if site.inside}
    for name in wanted:
        if name not in names:
            raise ValueError(
                f"fn names no activation {name!r}; it names "
                f"{trees.listed(dict.fromkeys(names))}"
            )
        if name in inside:
            raise ValueError(
                f"activation {name!r} is named inside a {inside[name]!r}, where it "
                "stands for many values; return it from the loop and name it outside, "
                "or leave it out of those asked for"
            )
        if names.count(name) > 1:
            raise ValueError(
                f"activation {name!r} is named {names.count(name)} times; give each "
                "place its own name (as with f'hidden_{i}') to ask for one"
            )
