"""Training steps of one network or of stacked ones, compiled: an epoch is one call."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from sparsejax import interpret, meshes
from sparsejax import masks as masks_
from sparsejax.train import _groups as groups
from sparsejax.train import _states as states
from sparsejax.train._states import State


class How(NamedTuple):
    """What a compiled epoch depends on, besides shapes."""

    apply: Callable
    loss: Callable
    optimizer: optax.GradientTransformation
    trainable: Callable | None
    stateful: bool
    batch_size: int


@partial(interpret.Compiled, static_argnums=(0, 1))
def begin(how, many, state, masks):
    """The state with zeros where weights are removed."""

    def one(params, opt_state, weights):
        states.check_state(how.optimizer, how.trainable, params, opt_state)
        return states.zero(how.optimizer, how.trainable, params, opt_state, weights)

    run = meshes.split(jax.vmap(one)) if many else meshes.automatic(one, _first_two)
    params, opt_state = run(state.params, state.opt_state, masks.weights)
    return state._replace(params=params, opt_state=opt_state)


@partial(interpret.Compiled, static_argnums=(0, 1))
def epoch(how, stacked, state, masks, block, stop):
    """Steps of a block up to `stop`, of one network or of stacked ones.

    Returns:
        The state, the metrics, and the first step at which something was not finite
        (counted from 1; 0 for none).
    """
    many, own_order = stacked
    if many:
        of_block = type(block)(None, None, 0 if own_order else None, None, None)
        run = partial(_together, how, own_order)
        run = meshes.split(run, (0, 0, of_block, None))
    else:
        run = partial(_steps, how)
        run = meshes.automatic(run, lambda state, *_: (state, None, None))
    return run(state, masks, block, stop)


def _together(how, own_order, state, masks, block, stop):
    """`_steps` of stacked networks."""

    def one(args):
        state, masks, order = args
        own = block._replace(order=order) if own_order else block
        return _steps(how, state, masks, own, stop)

    order = block.order if own_order else None
    return groups.in_groups(
        one, (state, masks, order), _touched(how, state, masks, block)
    )


def _touched(how, state, masks, block) -> int:
    """Bytes that a training step of one of stacked networks goes through."""

    def shape(leaf, *size):
        return jax.ShapeDtypeStruct((*size, *leaf.shape[1:]), leaf.dtype)

    def kept(state, masks, pair):
        moves = states.moving(how.trainable, state.params)

        def objective(part):
            whole = states.join(moves, part, state.params)
            return _objective(how, masks, whole, pair, state.key)

        part = states.cut(moves, state.params)
        return jax.vjp(objective, part, has_aux=True)[1]

    one = jax.tree.map(shape, (state, masks))
    pair = jax.tree.map(lambda leaf: shape(leaf, how.batch_size), (block.x, block.y))
    return groups.num_bytes((one, jax.eval_shape(kept, *one, pair)))


def _first_two(params, opt_state, weights):
    return params, opt_state


def _steps(how, state, masks, block, stop):
    x, y, order, first, start = block
    moves = states.moving(how.trainable, state.params)
    optimizer = states.optimizer_of(how.optimizer, how.trainable, state.params)

    def step(i, carry):
        params, opt_state, total, bad = carry
        where = (i - first) * how.batch_size
        rows = jax.lax.dynamic_slice(order, (where,), (how.batch_size,))

        def take(leaf):
            return meshes.take(leaf, rows)

        batch = jax.tree.map(take, (x, y)), jax.random.fold_in(state.key, i + 1)

        def whole(part):
            return states.join(moves, part, params)

        def objective(part):
            return _objective(how, masks, whole(part), *batch)

        part, kept = (states.cut(moves, tree) for tree in (params, masks.weights))
        (value, updated), grads = jax.value_and_grad(objective, has_aux=True)(part)
        more = _more(objective, value, kept)
        moved, opt_state = _update(optimizer, grads, opt_state, part, more)
        params, opt_state = states.zero(
            how.optimizer,
            how.trainable,
            states.join(moves, moved, updated),
            opt_state,
            masks.weights,
        )
        bad = jnp.where((bad == 0) & ~jnp.isfinite(value), i + 1, bad)
        return params, opt_state, total + value.astype(jnp.float32), bad

    zero = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
    carry = (state.params, state.opt_state, *zero)
    params, opt_state, total, bad = jax.lax.fori_loop(start, stop, step, carry)
    finite = [jnp.isfinite(a).all() for a in jax.tree.leaves(states.cut(moves, params))]
    bad = jnp.where((bad == 0) & ~jnp.array(finite).all(), stop, bad)
    taken = stop - start
    state = State(state.step + taken, params, opt_state, state.key)
    return state, {"loss": total / taken.astype(jnp.float32)}, bad


def _objective(how, masks, params, pair, key):
    """Loss of a batch, and the parameters with what a forward pass changed."""
    x, y = pair
    apply = interpret.derivable(how.apply)
    if not how.stateful:
        return how.loss(apply(params, masks, x), y), params
    out, updated = apply(params, masks, x, key=key)
    return how.loss(out, y), updated


def _more(objective, value, weights):
    """What some optimizers ask for besides gradients; removed weights stay zero."""

    def value_fn(part, obj_fn=None, grad_fn=None):  # optax offers it what it was given
        del obj_fn, grad_fn
        return objective(masks_.zero(part, weights))[0]

    def gradient(part, call):
        return jax.grad(value_fn)(part)

    return {
        "value": value,
        "value_fn": value_fn,
        "obj_fn": value_fn,
        "grad_fn": gradient,
    }


def _update(optimizer, grads, state, params, more):
    """Parameters and state of the optimizer after a step."""
    # JAX's gradients of complex numbers are the conjugates of what descends.
    grads = jax.tree.map(lambda g: jnp.conj(g) if jnp.iscomplexobj(g) else g, grads)
    with jax.numpy_dtype_promotion("standard"):  # optax counts on it
        try:
            updates, new = optimizer.update(grads, state, params, grad=grads, **more)
        except TypeError as error:
            if "required keyword-only argument" not in str(error):
                raise
            raise ValueError(
                f"the optimizer asks for more than grad, {', '.join(more)}: {error}"
            ) from error
        except AttributeError as error:  # such as optax.lookahead's pairs of parameters
            raise ValueError(
                f"the optimizer asks for parameters of its own form: {error}"
            ) from error
        moved = optax.apply_updates(params, updates)

    def same(new, old):
        return jnp.asarray(new, jnp.result_type(old))

    return moved, jax.tree.map(same, new, state)
