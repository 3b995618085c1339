"""Gradient ascent on pictures of many units at once, one compiled step.

Written for one unit and mapped over units, so that nothing of one unit reaches another.
Random motions are drawn once a step, for all.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from sparsejax import interpret, lift, meshes, trees
from sparsejax.features._objectives import OUTPUT, Objective
from sparsejax.features._parametrizations import Parametrization
from sparsejax.features._redirect import redirected
from sparsejax.features._transforms import Transform


class How(NamedTuple):
    """What a compiled step is of."""

    fn: Callable
    objective: Objective
    size: tuple[int, ...]
    parametrization: Parametrization
    transform: Transform
    learning_rate: float
    redirect: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(*places, channels), whether the size says how many channels or not."""
        return (*self.size, 1) if len(self.size) == 1 else self.size


class Look(NamedTuple):
    """From a parametrisation's values to those of an image."""

    color: Array
    low: Array
    high: Array


@partial(interpret.Compiled, static_argnums=(0, 3, 4))
def start(how: How, key, units, count, dtype):
    """The first state of every unit."""

    def one(key, unit):
        own = jax.random.fold_in(key, unit)
        keys = jax.vmap(lambda i: jax.random.fold_in(own, i))(jnp.arange(count))
        theta = jax.vmap(lambda k: how.parametrization.init(k, how.shape, dtype))(keys)
        return theta, _optimizer(how).init(theta)

    axes = None, 0
    return meshes.split(jax.vmap(one, axes), axes)(key, units)


@partial(interpret.Compiled, static_argnums=0)
def step(how: How, look, params, units, state, key, index):
    moves = jax.random.fold_in(key, index)
    on = (index < how.redirect).astype(trees.float_dtype(params))

    def one(unit, state, look, params, moves, on):
        read = reader(how, on)
        theta, opt_state = state

        def total(theta):
            def seen(image):
                return how.transform(moves, image)

            values = _values(how, look, read, params, unit, theta, seen)
            return values.sum(), values

        slopes, values = jax.grad(total, has_aux=True)(theta)
        with jax.numpy_dtype_promotion("standard"):  # optax counts on it
            down = jax.tree.map(jnp.negative, slopes)
            updates, opt_state = _optimizer(how).update(down, opt_state, theta)
            theta = optax.apply_updates(theta, updates)
        return (theta, opt_state), values

    axes = 0, 0, None, None, None, None
    run = meshes.split(jax.vmap(one, axes), axes)
    return run(units, state, look, params, moves, on)


@partial(interpret.Compiled, static_argnums=0)
def finish(how: How, look, params, units, state):
    read = reader(how, None)

    def one(unit, state, look, params):
        theta, _ = state
        images = jax.vmap(lambda t: _image(how, look, t, lambda image: image))(theta)
        values = _values(how, look, read, params, unit, theta, lambda image: image)
        return images, values

    axes = 0, 0, None, None
    return meshes.split(jax.vmap(one, axes), axes)(units, state, look, params)


def _optimizer(how: How) -> optax.GradientTransformation:
    return optax.adam(how.learning_rate)


def _values(how, look, read, params, unit, theta, seen):
    """The objective of all pictures of one unit."""

    def acts_of(theta):
        return read(params, cast(params, _image(how, look, theta, seen)))

    acts = jax.vmap(acts_of)(theta)
    return how.objective.value(acts, unit)


def _image(how: How, look: Look, theta, seen: Callable) -> Array:
    """What the function is given: between bounds, of its size if it is kept."""
    image = how.parametrization.image(theta, how.shape)
    image = seen(jax.nn.sigmoid(image @ look.color.T))
    image = look.low + (look.high - look.low) * image
    return image if len(how.size) > 1 else image[..., 0]


def cast(params, image) -> Array:
    """A picture in the type of the parameters, as the function takes it."""
    return image.astype(trees.float_dtype(params))


def reader(how: How, on: Array | None) -> Callable:
    """`(params, x)` to the activations that the objective reads."""
    fn = how.fn if on is None else redirected(how.fn, on)
    names = [name for name in how.objective.nodes if name != OUTPUT]
    if not names:
        return lambda params, x: {OUTPUT: fn(params, x)}

    def read(params, x):
        out, acts = lift.activations(fn, names, units=True)(params, x)
        return {OUTPUT: out, **acts} if OUTPUT in how.objective.nodes else acts

    return read
