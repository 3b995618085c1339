"""The state of training: what is trained of it, and exact zeros in it."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, Key, PyTree

from sparsejax import checks, trees
from sparsejax import masks as masks_


class State(NamedTuple):
    """A network in training; with a leading axis everywhere, several.

    Attributes:
        step: training steps taken, shape `()`.
        params: parameters.
        opt_state: state of the optimizer, its schedules' counts included.
        key: randomness of this network (dropout, and the data's order by default).
    """

    step: Int[Array, "*seeds"]
    params: PyTree
    opt_state: PyTree
    key: Key[Array, "*seeds"]


def init(
    params: PyTree,
    optimizer: optax.GradientTransformation | Any,
    key: Key[Array, "*seeds"] | Any,
    trainable: Callable[[str, Any], bool] | None = None,
) -> State:
    """The state before the first step; `params` stacked if `key` has an axis.

    Raises:
        ValueError: if `key` is none, or `params` has leaves that are no arrays or are
            not stacked as `key` is.

    Example:
        >>> params, optimizer = {"w": jnp.ones(2)}, optax.sgd(0.1, momentum=0.9)
        >>> state = init(params, optimizer, jax.random.key(0))
        >>> state.step.item(), state.params["w"].tolist()
        (0, [1.0, 1.0])
    """
    checks.key(key)
    check_params(params, key.shape)
    check_optimizer(optimizer)

    def start(p):
        return optimizer_of(optimizer, trainable, p).init(p)

    opt_state = (jax.vmap(start) if key.ndim else start)(params)
    return State(jnp.zeros(key.shape, jnp.int32), params, opt_state, key)


def check_params(params: PyTree, seeds: tuple[int, ...], name: str = "params") -> None:
    """Check that all leaves are arrays, and are stacked where there are seeds."""
    if len(seeds) > 1:
        raise ValueError(f"key has shape {seeds}; expected () or (seeds,)")
    checks.arrays(params, name)
    for path, leaf in trees.by_path(params).items():
        where = f"{name}[{path!r}]" if path else name
        if seeds and np.shape(leaf)[:1] != seeds:
            raise ValueError(
                f"{where} has shape {np.shape(leaf)}, but key is of {seeds[0]} seeds; "
                f"stack one for each: expected ({seeds[0]}, ...)"
            )


def check_optimizer(optimizer: Any) -> None:
    """Check that it is one of optax's kind."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise ValueError(
            f"optimizer must be one of optax's, as optax.adam(1e-3), got "
            f"{checks.described(optimizer)}"
        )


def moving(trainable: Callable | None, params: PyTree) -> PyTree:
    """For every leaf whether it is trained: one that is not of floats never is."""

    def moves(path, leaf):
        floating = jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
        return bool(floating and (trainable is None or trainable(path, leaf)))

    return trees.map_with_path(moves, params)


def check_state(optimizer, trainable, params, opt_state) -> None:
    """Check that a state is of this optimizer and these parameters."""
    start = jax.eval_shape(optimizer_of(optimizer, trainable, params).init, params)
    if jax.tree.structure(start) != jax.tree.structure(opt_state):
        raise ValueError(
            "state is of another optimizer or of other parameters: its opt_state is "
            "not built as optimizer.init(params) is, or trainable differs"
        )


def cut(moving: PyTree, tree: PyTree) -> PyTree:
    """What is trained of a tree of the structure of the parameters."""
    return jax.tree.map(lambda m, leaf: leaf if m else optax.MaskedNode(), moving, tree)


def join(moving: PyTree, part: PyTree, rest: PyTree) -> PyTree:
    """The inverse of `cut`; what is not trained comes from `rest`."""
    return jax.tree.map(lambda m, a, b: a if m else b, moving, part, rest)


def optimizer_of(optimizer, trainable, params) -> optax.GradientTransformation:
    """The optimizer of what is trained, which may be offered more than gradients."""
    moves = moving(trainable, params)
    known = inspect.signature(optimizer.update).parameters.values()
    every = any(p.kind is p.VAR_KEYWORD for p in known)
    names = {p.name for p in known}

    def update(updates, state, params=None, **more):
        more = {k: v for k, v in more.items() if every or k in names}
        return optimizer.update(updates, state, params, **more)

    whole = optax.GradientTransformationExtraArgs(optimizer.init, update)
    return optax.masked(whole, moves) if _parted(trainable, moves) else whole


def zero(optimizer, trainable, params, opt_state, weights) -> tuple[PyTree, PyTree]:
    """Exact zeros where weights are removed, in everything shaped like parameters.

    Args:
        optimizer: as given to `fit`.
        trainable: as given to `fit`.
        params: parameters.
        opt_state: the optimizer's.
        weights: masks of the parameters.
    """
    masks_.check(params, weights)
    moves = moving(trainable, params)
    new = masks_.zero(params, weights)
    if not _parted(trainable, moves):
        return new, _zero_state(optimizer, params, opt_state, weights)
    parts = cut(moves, params), opt_state.inner_state, cut(moves, weights)
    return new, opt_state._replace(inner_state=_zero_state(optimizer, *parts))


class _Like(NamedTuple):
    """Marks what an optimizer makes of the parameters, wherever in its state."""

    params: PyTree


def _zero_state(optimizer, params, opt_state, weights) -> PyTree:
    try:
        marks = jax.eval_shape(optimizer.init, _Like(params))
    except Exception:  # as where a part of the optimizer is for paths of `params`

        def frozen(leaf):
            return isinstance(leaf, optax.MaskedNode)

        def zero(leaf, mask):
            return leaf if frozen(leaf) else _zero_leaf(mask, leaf)

        return optax.tree_utils.tree_map_params(
            optimizer, zero, opt_state, weights, is_leaf=frozen
        )

    def of_mask(mask, part):
        return jax.tree.map(partial(_zero_leaf, mask), part)

    def pick(mark, part):
        return jax.tree.map(of_mask, weights, part) if isinstance(mark, _Like) else part

    def is_mark(mark):
        return isinstance(mark, _Like)

    return jax.tree.map(pick, marks, opt_state, is_leaf=is_mark)


def _zero_leaf(mask, leaf):
    """Zeros in a leaf of its mask's shape, or in several stacked along a new axis."""
    if jnp.ndim(mask) and jnp.shape(leaf)[1:] == jnp.shape(mask):
        return jnp.where(mask != 0, leaf, jnp.zeros_like(leaf))
    return masks_.zero_leaf(leaf, mask)


def _parted(trainable, moves) -> bool:
    return trainable is not None or not all(jax.tree.leaves(moves))
