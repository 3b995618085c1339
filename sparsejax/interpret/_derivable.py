"""A function with steps in place of its own that are derived faster on CPUs."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sparsejax.interpret import _loops
from sparsejax.interpret import _program as program_
from sparsejax.interpret._convolution import convolution
from sparsejax.interpret._pooling import largest
from sparsejax.interpret._program import bind, trace, where_it_was
from sparsejax.interpret.primitives import PLAIN_CALLS, REMATS

_LARGEST_WINDOW = 16


def derivable(fn: Callable) -> Callable:
    """`fn` with `convolution` and `largest` in place of XLA's, for gradients in loops.

    Calls and loops are opened around them; what has a derivative rule of its own, and
    other forms (groups, dilations, unequal strides, wide windows), stay as they are.

    Example:
        >>> numbers = ("NHWC", "HWIO", "NHWC")
        >>> def fn(x, kernel):
        ...     return jax.lax.conv_general_dilated(
        ...         x, kernel, (1, 1), "VALID", dimension_numbers=numbers)
        >>> args = jnp.ones((1, 3, 3, 1)), jnp.ones((2, 2, 1, 1))
        >>> float(derivable(fn)(*args).sum())
        16.0
        >>> "custom_jvp_call" in str(jax.make_jaxpr(derivable(fn))(*args))
        True
    """
    return _with(_fast, fn)


def canonical(fn: Callable) -> Callable:
    """`fn`, which takes gradients, with steps of theirs that are fast in loops.

    Convolutions have the form that XLA's kernels know, slopes of maxima are slices.

    Example:
        >>> fn = lambda x: convolution(x, jnp.ones((2, 2, 1, 3))).sum()
        >>> canonical(jax.grad(fn))(jnp.ones((1, 3, 3, 1)))[0, ..., 0].tolist()
        [[3.0, 6.0, 3.0], [6.0, 12.0, 6.0], [3.0, 6.0, 3.0]]
    """
    return _with(_derived, fn)


def _with(change: Callable, fn: Callable) -> Callable:
    """`fn` with `change(equation)`, where it is not None, for equations, on CPUs."""

    @functools.wraps(fn)
    def run(*args, **kwargs):
        if jax.default_backend() != "cpu":
            return fn(*args, **kwargs)
        program = trace(fn, *args, **kwargs)
        closed = program.closed
        outs = _run(change, closed.jaxpr, closed.consts, *program.inputs)
        return jax.tree.unflatten(program.out_tree, outs)

    return run


def _holds(change, jaxpr) -> bool:
    """Whether there is a step that changes."""
    return any(change(e) or _opens(change, e) for e in jaxpr.eqns)


def _opens(change, equation) -> bool:
    is_opened = equation.primitive.name in (*PLAIN_CALLS, *REMATS, "scan")
    return is_opened and _holds(change, program_.body(equation)[0])


def _run(change, jaxpr, consts, *inputs) -> list:
    values, read = program_.reader(jaxpr, consts, inputs)
    for equation in jaxpr.eqns:
        arguments = [read(atom) for atom in equation.invars]
        if step := change(equation):
            with where_it_was(equation):
                outs = [step(*arguments)]
        elif _opens(change, equation):
            run = functools.partial(_run, change, *program_.body(equation))
            with where_it_was(equation):
                if equation.primitive.name == "scan":
                    outs = _loops.again(equation, run, arguments)
                else:
                    outs = program_.rematerialized(equation, run)(*arguments)
        else:
            outs = bind(equation, arguments)
        values.update(zip(equation.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


_CANONICAL = (0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)  # NHWC, HWIO, NHWC


def _fast(equation) -> Callable | None:
    """What is derived by other steps than XLA's."""
    match equation.primitive.name:
        case "conv_general_dilated":
            return _plain(equation)
        case "reduce_window_max":
            return _maximum(equation)
    return None


def _derived(equation) -> Callable | None:
    """What takes the place of steps that XLA's rules have made."""
    match equation.primitive.name:
        case "conv_general_dilated":
            return _transposed(equation)
        case "select_and_scatter_add" if equation.params["select_prim"].name == "ge":
            maximum = _maximum(equation)
            return maximum and (lambda slope, x: jax.vjp(maximum, x)[1](slope)[0])
    return None


def _plain(equation) -> Callable | None:
    """What `convolution` computes, with zeros around it."""
    p = equation.params
    (stride, *others), around = p["window_strides"], [(0, 0), *p["padding"], (0, 0)]
    dtypes = {v.aval.dtype for v in (*equation.invars, *equation.outvars)}
    is_plain = (
        tuple(p["dimension_numbers"]) == _CANONICAL
        and others == [stride]
        and {1} == {*p["lhs_dilation"], *p["rhs_dilation"]} | _groups(p)
        and min(side for sides in around for side in sides) >= 0
        and p["precision"] is None
        and len(dtypes) == 1
        and jnp.issubdtype(dtypes.pop(), jnp.floating)
    )
    if not is_plain:
        return None
    return lambda x, kernel: convolution(jnp.pad(x, around), kernel, stride)


def _maximum(equation) -> Callable | None:
    """The maximum over windows that are few and small enough for `largest`."""
    p, dtype = equation.params, equation.outvars[0].aval.dtype
    size, strides, padding = p["window_dimensions"], p["window_strides"], p["padding"]
    is_small = (
        math.prod(size) <= _LARGEST_WINDOW
        and {1} >= {*p.get("base_dilation", ()), *p.get("window_dilation", ())}
        and min(side for sides in padding for side in sides) >= 0
        and jnp.issubdtype(dtype, jnp.floating)
    )
    return (lambda x: largest(x, size, strides, padding)) if is_small else None


def _transposed(equation) -> Callable | None:
    """The same between transposes, where the axes are others, as in derivatives."""
    numbers = tuple(equation.params["dimension_numbers"])
    if numbers == _CANONICAL or len(numbers[0]) != 4 or _groups(equation.params) != {1}:
        return None
    of_x, of_kernel, of_y = numbers

    def run(x, kernel):
        x = jnp.moveaxis(x, of_x, _CANONICAL[0])
        kernel = jnp.moveaxis(kernel, of_kernel, _CANONICAL[1])
        spec = jax.lax.ConvDimensionNumbers(*_CANONICAL)
        (y,) = bind(equation, (x, kernel), dimension_numbers=spec)
        return jnp.moveaxis(y, _CANONICAL[2], of_y)

    return run


def _groups(params) -> set[int]:
    return {params["feature_group_count"], params["batch_group_count"]}
