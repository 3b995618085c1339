"""Pictures of what units of a network respond to, by gradient ascent on the input.

All units of a layer go through one compiled step, many at a time. A unit's picture
depends on the key and on its own number, not on which others are rendered beside it (to
rounding where chunks have another size).

The steps are a Python loop, not a `scan`: XLA's convolutions on CPUs are slower inside
loops.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree

from sparsejax import checks, meshes, pages, trees
from sparsejax._progress import tqdm
from sparsejax.features import _ascent as ascent
from sparsejax.features import _color as color_
from sparsejax.features import _display
from sparsejax.features import _transforms as transforms
from sparsejax.features._ascent import How, Look
from sparsejax.features._objectives import Objective, channel
from sparsejax.features._parametrizations import Parametrization, fourier

# Units in a chunk, at most, and bytes of temporaries. On CPUs the fastest chunks stay
# in the cache; what is above 32 MB is paged in at every call on Linux.
_CHUNK = {"cpu": (8, 32 << 20)}
_MOST_ELSEWHERE = 256


class Pictures(NamedTuple):
    """Pictures of units. With `count`, arrays have an axis of pictures after the units.

    Attributes:
        images: as they are given to the function, shape (units, *size).
        values: the objective of each, without transforms, shape (units,).
        units: their numbers.
        history: the objective before every step, under its transforms, shape (units,
            steps), or (units, count, steps).
    """

    images: Float[Array, "units ..."]
    values: Float[Array, "units ..."]
    units: Int[np.ndarray, " units"]
    history: Float[np.ndarray, "units ..."]

    @pages.display
    def _repr_html_(self) -> str:
        return _display.html(self.images, self.values, self.units)


@meshes.on_mesh
def render(
    fn: Callable[[PyTree, Array], Any],
    params: PyTree,
    node: str | Objective,
    units: int | Iterable | ArrayLike | None,
    *,
    key: Key[Array, ""] | Any,
    size: int | Iterable,
    steps: int = 256,
    count: int | None = None,
    parametrization: Parametrization | None = None,
    transform: transforms.Transform | None = None,
    color: Float[ArrayLike, "channels channels"] | None = None,
    bounds: tuple[Any, Any] = (0.0, 1.0),
    learning_rate: float | int = 0.05,
    redirect: int = 64,
    batch_size: int | None = None,
    progress: bool = True,
    mesh: Mesh | Any = None,
) -> Pictures:
    """Inputs that make units of a network as active as possible.

    Args:
        fn: any JAX function `fn(params, x)` of one example, in evaluation mode, with
            named activations. The same objects compile once, and so do defaults.
        params: its parameters; `sparsejax.bind` gives a masked function.
        node: an activation's name, for the mean of its units over places; or any
            objective.
        units: a number, several, or None for all.
        key: a key.
        size: shape of x, one array of real numbers: (height, width, channels),
            (length, channels), or (length,) for one channel.
        steps: of gradient ascent (Adam).
        count: pictures of each unit, for `diversity`; by default one, without an axis.
        parametrization: what is optimised; `fourier()` by default.
        transform: `transform(key, image) -> image`, drawn anew for every step, the same
            for all; by default `standard` for the size; `compose()` is none. Applied
            to values between 0 and 1.
        color: matrix from uncorrelated channels to colours, as from `decorrelation`;
            by default that of photographs for three channels, else none.
        bounds: lowest and highest values of x, numbers or one for each channel.
        learning_rate: of Adam.
        redirect: steps at the start in which dead ReLUs pass what would wake them.
        batch_size: units at a time on every device; by default at most 8 on CPUs and 64
            elsewhere, or the number whose step needs little memory.
        progress: show a bar.
        mesh: devices that the units are split over, by default those of `jax.set_mesh`.

    Returns:
        `Pictures`.

    Raises:
        ValueError: for a node, a unit, a size or a choice that does not fit; and for
            pictures that are not finite.

    Example:
        >>> fn = lambda params, x: x @ params
        >>> found = render(
        ...     fn, jnp.array([[1.0], [-1.0]]), channel(""), [0], steps=64,
        ...     key=jax.random.key(0), size=(1, 2), learning_rate=1.0, progress=False
        ... )
        >>> found.images.round(1).tolist()
        [[[1.0, 0.0]]]

    Reference: Olah et al., "Feature Visualization", Distill, 2017.
    """
    checks.one_key(key)
    checks.arrays(params)
    size = _size(size)
    numbers = {"steps": steps, "count": count, "batch_size": batch_size}
    for name, number in numbers.items():
        if number is not None and (number < 1 or number != int(number)):
            raise ValueError(f"{name} must be a whole number, 1 or more, got {number}")
    if not 0 < learning_rate < np.inf:
        raise ValueError(f"learning_rate must be positive, got {learning_rate}")
    how = How(
        fn,
        node if isinstance(node, Objective) else channel(node),
        size,
        parametrization or fourier(),
        transform or transforms.standard(size[:-1] or size),
        learning_rate,
        redirect,
    )
    # there is no Fourier transform of 16 bits; fn gets what its parameters are
    dtype = np.promote_types(trees.float_dtype(params), np.float32)
    look = _look(color, bounds, how.shape[-1], dtype)
    numbers = _units(how, params, units, dtype)
    with meshes.over(mesh):
        parts = _chunks(
            how, look, params, numbers, key, steps, count or 1, batch_size, progress
        )
    images, values, history = (
        np.concatenate(part)[: len(numbers)] for part in zip(*parts)
    )
    _check_finite(numbers, images, values)
    if count is None:
        images, values, history = images[:, 0], values[:, 0], history[:, 0]
    return Pictures(jnp.asarray(images), jnp.asarray(values), numbers, history)


def _chunks(how, look, params, numbers, key, steps, count, batch_size, progress):
    """Images, values and history of all units, chunk by chunk."""
    look, params, keys = meshes.put((look, params, jax.random.split(key)))
    most = batch_size or _most(how, look, params, numbers, keys, count)
    chunks = -(-len(numbers) // (most * meshes.parts()))
    chunk, parts = -(-len(numbers) // chunks), []
    with tqdm(total=chunks * steps, disable=not progress, unit="step") as bar:
        for i in range(0, len(numbers), chunk):
            here = np.resize(numbers[i : i + chunk], chunk)  # filled by repetition
            parts.append(_ascend(how, look, params, here, keys, steps, count, bar))
    return parts


def _most(how: How, look: Look, params, numbers, keys, count: int) -> int:
    """Units at a time on a device, from what a step of as many as usual needs."""
    elsewhere = _MOST_ELSEWHERE, meshes.room()
    most, budget = _CHUNK.get(jax.default_backend(), elsewhere)
    devices = meshes.parts()
    chunks = -(-len(numbers) // (most * devices))
    units = jnp.asarray(numbers[: -(-len(numbers) // chunks)])
    state = jax.eval_shape(
        lambda key: ascent.start(how, key, units, count, look.color.dtype), keys[0]
    )
    step = ascent.step.lower(how, look, params, units, state, keys[1], jnp.int32(0))
    used = step.compile().memory_analysis()
    if used is None or used.temp_size_in_bytes <= budget:
        return -(-len(units) // devices)
    return max(1, len(units) * budget // (used.temp_size_in_bytes * devices))


def _ascend(how: How, look: Look, params, units, keys, steps, count, bar):
    """Images, values and history of one chunk."""
    for_start, for_moves = keys
    units, history = jnp.asarray(units), []
    state = ascent.start(how, for_start, units, count, look.color.dtype)
    for i in range(steps):
        at = for_moves, jnp.int32(i)
        state, values = ascent.step(how, look, params, units, state, *at)
        history.append(meshes.fetch(values))
        bar.update()
    done = ascent.finish(how, look, params, units, state)
    images, values = meshes.fetch(done)
    return images, values, np.stack(history, -1)


def _check_finite(numbers, images, values) -> None:
    finite = np.isfinite(images).reshape(len(images), -1).all(1)
    finite &= np.isfinite(values).all(1)
    if not finite.all():
        raise ValueError(
            f"pictures of units {numbers[~finite].tolist()} are not finite; look for "
            "NaNs in the parameters and in fn's own steps"
        )


def _size(size: Any) -> tuple[int, ...]:
    if isinstance(size, Mapping):
        raise ValueError(
            f"render makes one array; of {checks.described(size)} keep one as x and "
            "close over the rest"
        )
    found = checks.sizes(size)
    if not 1 <= len(found) <= 3:
        raise ValueError(
            f"size is {found}; expected (height, width, channels), (length, channels) "
            "or (length,)"
        )
    return found


def _look(color, bounds, channels: int, dtype) -> Look:
    if color is None:
        color = color_.PHOTOGRAPHS if channels == 3 else np.eye(channels)
    if np.shape(color) != (channels, channels):
        raise ValueError(
            f"color has shape {np.shape(color)}, expected {(channels, channels)}: a "
            "matrix of the image's channels"
        )
    if not np.isfinite(color).all():
        raise ValueError("color has values that are NaN or infinite")
    if len(bounds) != 2:
        raise ValueError(f"bounds are {bounds}; expected two, the lowest and highest")
    low, high = (np.asarray(bound, dtype) for bound in bounds)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(f"bounds must be finite, got {bounds}")
    if {low.shape, high.shape} - {(), (channels,)} or not (low < high).all():
        raise ValueError(
            f"bounds are {bounds}; expected the lowest and the highest value, numbers "
            f"or {channels} numbers each"
        )
    return Look(*(jnp.asarray(part, dtype) for part in (color, low, high)))


def _units(how: How, params, units, dtype) -> Int[np.ndarray, " units"]:
    """The numbers of the units to render, checked against those there are."""

    cast = trees.float_dtype(params)

    def shapes(read, params):
        image = jnp.zeros((1, *how.shape), dtype)
        seen = jax.vmap(lambda i: how.transform(jax.random.key(0), i))(image)
        x = ascent.cast(params, seen if len(how.size) > 1 else seen[..., 0])
        return jax.vmap(lambda x: read(params, x))(x)

    try:
        acts = jax.eval_shape(partial(shapes, ascent.reader(how, None)), params)
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        if checks.takes(partial(shapes, how.fn), params):
            raise
        raise ValueError(
            f"no pictures of size {how.size}, {cast}, can be drawn, as fn(params, x) "
            f"does not take one such array: {checks.first_line(error)}; close over "
            f"other inputs: {checks.one_input()}; {checks.from_lookup()}"
        ) from error
    for name, leaf in acts.items():
        if not hasattr(leaf, "ndim") or leaf.ndim < 2:
            one = "" if hasattr(leaf, "ndim") else f": {checks.one_output(leaf)}"
            raise ValueError(
                f"{repr(name) if name else 'the output'} of one example has no unit "
                f"axis; name an array whose last axis are units{one}"
            )
    jax.eval_shape(lambda acts: how.objective.value(acts, 0), acts)
    most = how.objective.units(acts)
    return checks.units(units, most)
