"""Flax Linen modules as pure functions of one tree, whatever collections they have.

The tree is that of the `params` collection. Means and variances of batch normalisation
lie in it beside their scales. Where a module has anything else (a cache, constants,
singular vectors, or parameters that are called "mean" or "var"), the tree is
`{"params": ..., "state": {collection: ...}}`, so that what is trained can always be
told from what is not by where it lies.
"""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from flax import core, errors, traverse_util
from jaxtyping import PyTree

from sparsejax import checks, trees


class Model(NamedTuple):
    """A network as pure functions.

    Attributes:
        init: `init(key, x) -> params`; only the shape of `x` matters.
        apply: `apply(params, x) -> y`, in evaluation mode.
        train_apply: `train_apply(params, x, *, key) -> (y, params)`: the same in
            training mode, with parameters whose statistics are updated.
    """

    init: Callable
    apply: Callable
    train_apply: Callable


# What modules call their mode, and its value in training.
_MODES = {
    "train": True,
    "training": True,
    "is_training": True,
    "update_stats": True,  # of `nn.SpectralNorm`
    "deterministic": False,
    "use_running_average": False,
    "inference": False,
}
_WRAPPED = {"params", "state"}
_STATISTICS = {"mean", "var"}


def linen(module: nn.Module) -> Model:
    """Any Flax Linen module as a `Model`.

    The module is told whether it trains if `__call__` takes `train`, `training`,
    `is_training`, `deterministic`, `use_running_average`, `inference` or
    `update_stats`, or if it has a field of that name that is True or False. In training
    every collection but `params` may be written, and the stream `dropout` draws from
    the key, others from one that is folded from it. In evaluation what a module writes
    is dropped. Collections that grow with every call (by `sow`) are no part of the
    tree.

    Args:
        module: called as `module(x)`, with its mode if it has one.

    Raises:
        ValueError: for a module that needs more than x and its mode.

    Example:
        >>> class Net(nn.Module):
        ...     @nn.compact
        ...     def __call__(self, x, train: bool):
        ...         return nn.BatchNorm(use_running_average=not train)(x)
        >>> x = jax.numpy.ones((4, 2))
        >>> list(trees.by_path(linen(Net()).init(jax.random.key(0), x)))[-2:]
        ['BatchNorm_0/scale', 'BatchNorm_0/var']
    """
    evaluate, train = _caller(module, False), _caller(module, True)

    def init(key, x):
        checks.one_key(key)
        variables = core.unfreeze(evaluate("init", key, x))
        params = variables.pop("params", {})
        return _joined(params, _kept(train, params, variables, x))

    def apply(params, x):
        variables = _split(params)
        try:
            return evaluate("apply", variables, x)
        except errors.ModifyScopeVariableError:  # writes whatever its mode
            return evaluate("apply", variables, x, mutable=_written(variables))[0]

    def train_apply(params, x, *, key):
        checks.one_key(key)
        variables = _split(params)
        y, updates = _trained(train, variables, x, key)
        trained = variables.pop("params")
        return y, _joined(trained, {**variables, **updates})

    return Model(init, apply, train_apply)


def is_trainable(path: str, leaf: Any) -> bool:
    """Whether an optimizer should move a leaf of a `Model`'s parameters.

    Everything but statistics and other collections that a network writes itself.

    Example:
        >>> is_trainable("bn1/scale", 1.0), is_trainable("bn1/mean", 0.0)
        (True, False)
    """
    del leaf
    return _is_learnt(trees.names(path))


def _is_learnt(names: Sequence[str]) -> bool:
    if names[0] in _WRAPPED:
        return names[0] == "params"
    return names[-1] not in _STATISTICS


def _caller(module: nn.Module, training: bool) -> Callable:
    """`call(method, variables, x, **options)`, of a module that is told its mode."""
    mode, kind = {k: v == training for k, v in _MODES.items()}, type(module).__name__
    held = {f.name for f in dataclasses.fields(module)} & mode.keys()
    held = {name for name in held if isinstance(getattr(module, name), bool)}
    fields: dict[str, Any] = {name: mode[name] for name in held}
    module = module.clone(**fields) if fields else module
    ahead, named = _arguments(module, mode, held)

    def call(method, variables, x, **options):
        try:
            return getattr(module, method)(variables, x, *ahead, **named, **options)
        except errors.InvalidRngError as error:
            raise ValueError(
                f"{kind} draws random numbers where it is evaluated: let __call__ take "
                f"train or deterministic, and draw only in training ({error})"
            ) from error

    return call


def _arguments(module: nn.Module, mode: dict[str, bool], held: set[str]):
    """What a module is called with after x: in places, and by name."""
    arguments = list(inspect.signature(module.__call__).parameters.values())
    if not arguments or arguments[0].kind in (
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    ):
        kind = type(module).__name__
        raise ValueError(f"{kind} takes no input: expected a module called with x")
    ahead, named = [], {}
    for argument in arguments[1:]:
        name, needed = argument.name, argument.default is argument.empty
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            continue
        if needed and name not in mode:
            raise ValueError(
                f"{type(module).__name__} needs {name!r} beside x and its mode; call "
                f"it from a module that takes x alone, or give {name!r} a default"
            )
        told = name in mode and (needed or name not in held)
        value = mode[name] if told else argument.default
        if argument.kind is argument.POSITIONAL_ONLY:
            ahead.append(value)
        elif told:
            named[name] = value
    return ahead, named


def _trained(train: Callable, variables, x, key) -> tuple[Any, dict]:
    """The output in training mode, and all that may have been written."""
    rngs = {"dropout": key, "params": jax.random.fold_in(key, 0)}
    options = {"mutable": _written(variables), "rngs": rngs}
    y, updates = train("apply", variables, x, **options)
    return y, core.unfreeze(updates)


def _written(variables) -> list[str]:
    return [name for name in variables if name != "params"]


def _kept(train: Callable, params, state, x) -> dict[str, PyTree]:
    """The collections that a call returns as they were, but for their values."""

    def is_grown(keys):
        return any(isinstance(k, jax.tree_util.SequenceKey) for k in keys)

    paths = {k: jax.tree_util.tree_leaves_with_path(v) for k, v in state.items()}
    if not any(is_grown(keys) for leaves in paths.values() for keys, _ in leaves):
        return state  # nothing that `sow` made

    def run(variables, x, key):
        return _trained(train, variables, x, key)[1]

    after = jax.eval_shape(run, {"params": params, **state}, x, jax.random.key(0))

    def same(name):
        return jax.tree.structure(after[name]) == jax.tree.structure(state[name])

    return {name: part for name, part in state.items() if same(name)}


def _joined(params: PyTree, state: dict[str, PyTree]) -> PyTree:
    """One tree, in which `is_trainable` tells parameters from the rest."""
    flat, statistics = traverse_util.flatten_dict, state.get("batch_stats", {})

    def told(tree):
        return {_is_learnt(names) for names in flat(tree)}

    plain = set(state) <= {"batch_stats"} and set(params) != _WRAPPED
    if not plain or False in told(params) or True in told(statistics):
        return {"params": params, "state": state}
    return traverse_util.unflatten_dict(flat(params) | flat(statistics))


def _split(tree: PyTree) -> dict[str, PyTree]:
    """The inverse of `_joined`: Linen's collections."""
    if set(tree) == _WRAPPED:
        return {"params": tree["params"], **tree["state"]}
    parts: dict[str, dict] = {"params": {}, "batch_stats": {}}
    for names, leaf in traverse_util.flatten_dict(tree).items():
        parts["params" if _is_learnt(names) else "batch_stats"][names] = leaf
    found = {k: traverse_util.unflatten_dict(v) for k, v in parts.items()}
    return found if parts["batch_stats"] else {"params": found["params"]}
