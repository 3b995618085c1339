"""Pruning for one sample: what does the network compute *here*?

A sample is augmented to a batch of variations; every dense and convolution kernel then
loses the weights that its output on these variations can do without (`prune.obs`). What
is left is a network of its own, that any analysis can be applied to: a saliency map of
it, or a picture of what makes one of its units active, is about the sample. The network
itself is not changed.

All layers are pruned for what they read in the dense network, none for what is left of
those before it.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from sparsejax import interpret, trees
from sparsejax.data import augmentations
from sparsejax.prune.hessian import Hessian, hessian, patches
from sparsejax.prune.obs import Pruned, obs

_CHUNK = 64  # examples at a time: their patches can be many
_MOVES = frozenset(
    "reshape transpose squeeze expand_dims broadcast_in_dim rev copy "
    "convert_element_type".split()
)
Solve = Callable[[Array, Hessian, float, int], Pruned]


class Trace(NamedTuple):
    """A network pruned for one sample; with several samples, for each.

    Attributes:
        params: the new parameters, of the structure of the old.
        mask: what is kept of them, as `Masks.weights`: 0-d ones for leaves that are no
            pruned kernel.
    """

    params: PyTree
    mask: PyTree


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """A parameter as a layer multiplies it.

    Attributes:
        path: of the parameter.
        places: positions in the flat parameter, shape (inputs, outputs), or (height,
            width, inputs, outputs).
    """

    path: str
    places: np.ndarray

    @property
    def taps(self) -> int:
        """Places of the kernel that one input channel has: 9 for 3x3, 1 if dense."""
        return math.prod(self.places.shape[:-2])


class Layer(NamedTuple):
    """A kernel and what was seen of its inputs."""

    kernel: Kernel
    state: Hessian


def spade(
    fn: Callable[[PyTree, Array], Any],
    params: PyTree,
    x: Float[ArrayLike, "..."],
    *,
    key: Key[Array, "*samples"],
    density: float | int | Mapping[str, float | int],
    samples: int = 256,
    augment: augmentations.Augment | None = None,
    damping: float | int = 0.01,
    block_size: int | None = None,
) -> Trace:
    """Prune a network for one sample, or for each of several.

    Args:
        fn: any JAX function `fn(params, x)` of one example, in evaluation mode.
        params: its parameters.
        x: the sample; with `(n,)` keys, n samples, shape (n, ...).
        key: of the variations. Several samples come out as one by one with their keys
            (to rounding).
        density: share of each kernel's weights that is kept: one for all, or by path,
            patterns such as "layer3*" allowed, of which the last that fits counts;
            kernels that no pattern fits are left whole.
        samples: variations.
        augment: `augment(key, x) -> x`; by default `data.augmentations.standard`.
        damping: as in `obs`.
        block_size: as in `obs`, but by default as many inputs as a kernel has taps: 9
            for 3x3, 1 for dense layers, so that every input keeps the same share.

    Returns:
        `Trace(params, mask)`, with a leading axis for several samples.

    Raises:
        ValueError: for a sample, density or pattern that does not fit, values that are
            not finite, and a function without kernels.

    Example:
        >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
        >>> params = {"in": jnp.eye(2), "out": jnp.ones((2, 1))}
        >>> x = jnp.array([5.0, 0.0])  # the second unit has nothing to do
        >>> found = spade(
        ...     fn, params, x, key=jax.random.key(0), density={"out": 0.5}, block_size=2
        ... )
        >>> found.mask["out"].tolist()
        [[1.0], [0.0]]

    Reference: Moakhar et al., "SPADE: Sparsity-Guided Debugging for Deep Neural
    Networks", ICML 2024 (arXiv 2310.04519), Algorithm 1, with its solver SparseGPT.
    """
    x = jnp.asarray(x)
    if key.ndim > 1 or (key.ndim and x.shape[:1] != key.shape):
        raise ValueError(
            f"{key.shape} keys do not fit samples of shape {x.shape}; several samples "
            "have a leading axis, and a key each"
        )
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if not np.isfinite(np.asarray(x)).all():
        raise ValueError("x has values that are NaN or infinite")
    shape = x.shape[bool(key.ndim) :]
    vary = augment or augmentations.standard(shape)
    if augment is None and len(shape) == 3 and (x.min() < 0 or x.max() > 1):
        raise ValueError(
            f"x is an image with values from {x.min():.3g} to {x.max():.3g}, and the "
            "usual variations are of values in [0, 1]: normalise inside fn, or pass "
            "augment="
        )
    try:
        jax.eval_shape(fn, params, jax.ShapeDtypeStruct(shape, x.dtype))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"fn takes no example of shape {shape}, {x.dtype}: {error}"
        ) from error
    solve = partial(_surgery, damping=damping)

    def one(key, x):
        batch = augmentations.variations(vary, key, x, samples)
        return prune_layers(
            params, layers(fn, params, batch), density, solve, block_size
        )

    if not key.ndim:
        return one(key, x)
    many = [one(key[i], x[i]) for i in range(len(x))]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *many)


def layers(
    fn: Callable[[PyTree, Array], Any], params: PyTree, batch: Float[Array, "n ..."]
) -> list[Layer]:
    """Every dense and convolution kernel of a function, and what it reads.

    A kernel is a parameter that is multiplied with what depends on the input, as it is
    or after its elements are only moved. Those used more than once are pruned for all
    their uses together; those used in two layouts, such as a matrix and its transpose,
    have no Hessian in common and are none. Nor are kernels of transposed convolutions,
    of batches of products, and inside loops and branches.

    Args:
        fn: any JAX function `fn(params, x)` of one example.
        params: its parameters.
        batch: examples, shape (n, ...).

    Raises:
        ValueError: if there is none.
    """
    found: list[Layer] = []
    for start in range(0, len(batch), _CHUNK):
        new = _look(fn, params, batch[start : start + _CHUNK])
        both = zip(found or [None] * len(new), new, strict=True)
        found = [b if a is None else _joined(a, b) for a, b in both]
    if not found:
        raise ValueError(
            "fn multiplies its input by none of its parameters as they are: there is "
            "no kernel of a dense layer or a convolution to prune; apply masks to the "
            "parameters first (masks.apply), and pass the plain function"
        )
    for kernel, state in found:
        if not np.isfinite(np.asarray(state.products)).all():
            raise ValueError(
                f"what {kernel.path!r} reads is not finite on variations of this "
                "sample; look at the range of x and at the parameters"
            )
    return found


def prune_layers(
    params: PyTree,
    found: list[Layer],
    density: float | int | Mapping[str, float | int],
    solve: Solve | None = None,
    block_size: int | None = None,
) -> Trace:
    """Prune kernels for what they read; `spade` once the layers are known.

    Args:
        params: parameters.
        found: from `layers`.
        density: as in `spade`.
        solve: `solve(kernel, state, density, block_size) -> Pruned`; by default `obs`.
        block_size: as in `spade`.
    """
    solve = solve or _surgery
    shares = _shares(density, [kernel.path for kernel, _ in found])
    new = trees.by_path(params)
    masks = {p: jnp.ones((), jnp.result_type(leaf)) for p, leaf in new.items()}
    for kernel, state in found:
        if kernel.path not in shares:
            continue
        leaf, block = new[kernel.path], block_size or kernel.taps
        as_used = jnp.asarray(leaf).reshape(-1)[kernel.places]
        pruned = solve(as_used, state, shares[kernel.path], block)
        put = lambda values, leaf=leaf, at=kernel.places: (
            jnp.zeros(leaf.size, values.dtype).at[at].set(values).reshape(leaf.shape)
        )
        new[kernel.path], masks[kernel.path] = put(pruned.kernel), put(pruned.mask)
    build = partial(jax.tree.unflatten, jax.tree.structure(params))
    return Trace(build(list(new.values())), build(list(masks.values())))


def _surgery(kernel, state, density, block_size, damping=0.01) -> Pruned:
    return obs(kernel, state, density, block_size=block_size, damping=damping)


def _shares(density, paths: list[str]) -> dict[str, float]:
    """The density of every kernel that is pruned."""
    wanted = density if isinstance(density, Mapping) else {"*": density}
    shares = {}
    for pattern, share in wanted.items():
        if not 0 <= share <= 1:
            raise ValueError(f"density of {pattern!r} must be in [0, 1], got {share}")
        shares.update(dict.fromkeys(fitting(pattern, paths), share))
    return {path: float(share) for path, share in shares.items() if share < 1}


def fitting(pattern: str, paths: list[str]) -> list[str]:
    """The kernels that a pattern names, as they are or with wildcards."""
    named = [path for path in paths if path == pattern or fnmatchcase(path, pattern)]
    if not named:
        raise ValueError(f"no kernel fits {pattern!r}; there are {trees.listed(paths)}")
    return named


class _Value(NamedTuple):
    """A value on the way through a function.

    Attributes:
        array: what it is.
        is_data: whether it depends on the input.
        kernel: the parameter whose elements it holds, if it is one.
    """

    array: Any
    is_data: bool
    kernel: Kernel | None = None


@partial(jax.jit, static_argnums=0)
def _look(fn, params, batch) -> list[Layer]:
    """`layers` of one batch, compiled."""
    program = interpret.trace(jax.vmap(fn, (None, 0)), params, batch)
    shapes = trees.by_path(params)
    starts = [
        Kernel(path, np.arange(np.size(leaf)).reshape(np.shape(leaf)))
        for path, leaf in shapes.items()
        if hasattr(leaf, "dtype")
    ]
    seen: dict[str, Layer | None] = {}

    def rule(step, given):
        values = [v if isinstance(v, _Value) else _Value(v, False) for v in given]
        if step.enter is not None:
            return step.enter(values, rule)
        outs = step.run(*(v.array for v in values))
        layer = _layer(step, values, shapes)
        if layer is not None:
            path = layer.kernel.path
            seen[path] = _again(seen[path], layer) if path in seen else layer
        kernel = _moved(step, values[0]) if len(values) == 1 else None
        is_data = any(v.is_data for v in values)
        return [_Value(out, is_data, kernel) for out in outs]

    inputs = [_Value(a, False, k) for a, k in zip(program.inputs, starts, strict=False)]
    inputs += [_Value(a, True) for a in program.inputs[len(starts) :]]
    interpret.walk(program, inputs, rule)
    return [layer for layer in seen.values() if layer is not None]


def _moved(step, value: _Value) -> Kernel | None:
    """The kernel after a step that moves its elements and does nothing else."""
    if value.kernel is None or step.name not in _MOVES:
        return None
    if math.prod(step.shape) != value.kernel.places.size:
        return None
    if step.name == "convert_element_type":
        return value.kernel
    with jax.ensure_compile_time_eval():
        places = np.asarray(step.run(jnp.asarray(value.kernel.places))[0])
    return Kernel(value.kernel.path, places)


def _layer(step, values: list[_Value], shapes) -> Layer | None:
    """What a product shows of its kernel, if it has one."""
    read = {"dot_general": _dense, "conv_general_dilated": _convolution}.get(step.name)
    at = [i for i, v in enumerate(values) if v.kernel is not None]
    if read is None or len(at) != 1 or not values[1 - at[0]].is_data:
        return None
    kernel = values[at[0]].kernel
    assert kernel is not None
    found = read(step.params, at[0], kernel.places, values[1 - at[0]].array)
    if found is None:
        return None
    places, inputs = found
    shape = np.shape(shapes[kernel.path])
    if kernel.places.ndim == 2 < len(shape):  # a convolution as a product of patches
        as_stored = (np.diff(places.reshape(-1)) == 1).all()
        if as_stored and math.prod(shape[:-1]) == len(places):
            places = places.reshape(shape)
    return Layer(Kernel(kernel.path, places), hessian(inputs))


def _dense(params, at: int, places: np.ndarray, x):
    """Kernel as (inputs, outputs) and rows of inputs; None with a batch of kernels."""
    summed, batched = params["dimension_numbers"]
    if batched[at]:
        return None
    over, x_over = list(summed[at]), list(summed[1 - at])
    free = [i for i in range(places.ndim) if i not in over]
    x_free = [i for i in range(x.ndim) if i not in x_over]
    width = math.prod(places.shape[i] for i in over)
    rows = x.transpose(*x_free, *x_over).reshape(-1, width)
    return places.transpose(*over, *free).reshape(width, -1), rows


def _convolution(params, at: int, places: np.ndarray, x):
    """Kernel as (..., inputs, outputs) and patches; None if it is a transposed one."""
    numbers = params["dimension_numbers"]
    dilated = any(n != 1 for n in params["lhs_dilation"])
    if at == 0 or dilated or params["batch_group_count"] != 1:
        return None
    (batch, feature, *space), (out, into, *taps) = numbers.lhs_spec, numbers.rhs_spec
    places = places.transpose(*taps, into, out)
    rows = patches(
        x.transpose(batch, *space, feature),
        places.shape,
        strides=params["window_strides"],
        padding=params["padding"],
        dilation=params["rhs_dilation"],
    )
    return places, rows


def _again(before: Layer | None, layer: Layer) -> Layer | None:
    """A further use of a kernel; None once its layouts differ."""
    if before is None or not np.array_equal(before.kernel.places, layer.kernel.places):
        return None
    return _joined(before, layer)


def _joined(a: Layer, b: Layer) -> Layer:
    """Two looks at one kernel."""
    sums = Hessian(a.state.products + b.state.products, a.state.rows + b.state.rows)
    return Layer(a.kernel, sums)
