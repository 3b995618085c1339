"""The dense and convolution kernels of any JAX function, and what they read.

Found in the function's own steps, so that it does not matter which library it was
written with: a parameter that meets the input in a product is a kernel of a layer.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sparsejax import checks, interpret, trees
from sparsejax.interpret import primitives as families
from sparsejax.prune._hessian import Hessian, hessian, patches

_CHUNK = 16  # examples at a time: patches of more leave the cache
# Steps after which a kernel is all there, each element once (where axes of length one
# come in, that is also a broadcast).
_MOVES = families.RESHAPES | families.IDENTITIES | families.CASTS | {"broadcast_in_dim"}
# Where a parameter is likely the kernel of a layer, though not one that can be pruned.
_LAYERS = families.PRODUCTS | families.LOOPS | {"slice", "dynamic_slice", "split"}


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


def layer_hessians(
    fn: Callable[[PyTree, Any], Any], params: PyTree, batch: PyTree
) -> list[Layer]:
    """Every dense and convolution kernel of a function, and what it reads.

    A kernel is a parameter that is multiplied with what depends on the input, as it is
    or after its elements are only moved. Those used more than once are pruned for all
    their uses together. Not every product has a Hessian that all outputs share:
    parameters in transposed convolutions, batches of products, loops and branches, used
    in two layouts (a matrix and its transpose), in parts, or in other ways too, such as
    scaled, are left whole, with a warning.

    Args:
        fn: any JAX function `fn(params, x)` of one example.
        params: its parameters.
        batch: examples, an array of shape (n, ...) or a tree of them.

    Raises:
        ValueError: if there is none, for no examples, and for parameters that are no
            arrays.

    Example:
        >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
        >>> params = {"in": jnp.eye(2), "out": jnp.ones((2, 1))}
        >>> layers = layer_hessians(fn, params, jnp.array([[1.0, -2.0], [3.0, 4.0]]))
        >>> [(layer.kernel.path, layer.state.products.tolist()) for layer in layers]
        [('in', [[10.0, 10.0], [10.0, 20.0]]), ('out', [[10.0, 12.0], [12.0, 16.0]])]
    """
    checks.arrays(params)
    counts = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(batch)}
    if len(counts) > 1 or () in counts:
        raise ValueError(
            f"batch is {checks.described(batch)} with leading axes {sorted(counts)}; "
            "expected one of examples, the same for every array"
        )
    count = sum(next(iter(counts), (0,)))
    if not count:
        raise ValueError("batch is empty; give at least one example")
    found: list[Layer] = []
    for start in range(0, count, _CHUNK):
        new = _look(fn, params, _rows(batch, slice(start, start + _CHUNK)))
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


def _rows(batch, rows: slice):
    return jax.tree.map(lambda leaf: leaf[rows], batch)


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


@partial(interpret.Compiled, static_argnums=0)
def _look(fn, params, batch) -> list[Layer]:
    """`layer_hessians` of one batch, compiled."""
    program = interpret.trace(jax.vmap(fn, (None, 0)), params, batch)
    shapes = trees.by_path(params)
    starts = [
        Kernel(path, np.arange(np.size(leaf)).reshape(np.shape(leaf)))
        for path, leaf in shapes.items()
        if hasattr(leaf, "dtype")
    ]
    seen: dict[str, Layer] = {}
    other: dict[str, bool] = {}  # parameters in other uses, and whether in a layer

    def rule(step, given):
        values = [v if isinstance(v, _Value) else _Value(v, False) for v in given]
        if step.enter is not None:
            return step.enter(values, rule)
        outs = step.run(*(v.array for v in values))
        moved = _moved(step, values[0]) if len(values) == 1 else None
        layer = _layer(step, values, shapes)
        if layer is not None and _continues(seen, layer):
            path = layer.kernel.path
            seen[path] = _joined(seen[path], layer) if path in seen else layer
        elif moved is None:
            for kernel in [v.kernel for v in values if v.kernel is not None]:
                in_layer = np.ndim(shapes[kernel.path]) > 1 and step.name in _LAYERS
                other[kernel.path] = in_layer or other.get(kernel.path, False)
        is_data = any(v.is_data for v in values)
        return [_Value(out, is_data, moved) for out in outs]

    inputs = [_Value(a, False, k) for a, k in zip(program.inputs, starts, strict=False)]
    inputs += [_Value(a, True) for a in program.inputs[len(starts) :]]
    interpret.walk(program, inputs, rule)
    layers = [layer for path, layer in seen.items() if path not in other]
    if left := [path for path, found in other.items() if found or path in seen]:
        why = "in a loop, a branch, a batch of products, two layouts, in parts, or not"
        if not layers:
            raise ValueError(
                f"no kernel is used whole: {trees.listed(left)} are {why} only as "
                "kernels; pass each layer of a stack as a parameter of its own"
            )
        warnings.warn(
            f"left whole: {trees.listed(left)}, used {why} only as a kernel",
            stacklevel=2,
        )
    return layers


def _moved(step, value: _Value) -> Kernel | None:
    """The kernel after a step that moves its elements and does nothing else."""
    if value.kernel is None or step.name not in _MOVES:
        return None
    if math.prod(step.shape) != value.kernel.places.size:
        return None
    if step.name in families.CASTS:
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


def _continues(seen: Mapping[str, Layer], layer: Layer) -> bool:
    """Whether a kernel is used as before, if it was."""
    before = seen.get(layer.kernel.path, layer)
    return np.array_equal(before.kernel.places, layer.kernel.places)


def _joined(a: Layer, b: Layer) -> Layer:
    """Two looks at one kernel."""
    sums = Hessian(a.state.products + b.state.products, a.state.rows + b.state.rows)
    return Layer(a.kernel, sums)
