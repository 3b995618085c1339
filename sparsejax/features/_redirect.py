"""ReLUs that let a dead network be woken.

Where a ReLU is off for the whole image nothing comes back from it, and a picture that
starts from noise stays grey. For the first steps such a ReLU passes what would push its
inputs up. Values are those of the function; only the way back changes.

A ReLU is a maximum with a constant 0, wherever in the function it is computed (loops
and branches apart). Calls around one are opened, so that a derivative rule of their own
gives way to that of what is inside.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import ArrayLike, Float

from sparsejax import interpret

_STILL_CONSTANT = ("broadcast_in_dim", "convert_element_type")


def redirected(fn: Callable, on: Float[ArrayLike, ""]) -> Callable:
    """`fn` of one example, with redirected ReLUs if `on` is 1, as it is if it is 0.

    Example:
        >>> fn = lambda x: jax.nn.relu(x - 3.0)
        >>> jax.grad(fn)(1.0).item(), jax.grad(redirected(fn, 1.0))(1.0).item()
        (0.0, 1.0)
    """

    def run(*args):
        program = interpret.trace(fn, *args)

        def rule(step, arguments):
            if step.enter is not None and "max" in step.inner:
                return step.enter(arguments, rule)
            if step.name == "max" and jnp.issubdtype(step.dtype, jnp.floating):
                for x, other in (arguments, arguments[::-1]):
                    if _is_zero(other):
                        return [_relu(x, jnp.asarray(on).astype(x.dtype))]
            elif step.name in _STILL_CONSTANT and not isinstance(arguments[0], Tracer):
                with jax.ensure_compile_time_eval():  # so that a 0 is known as one
                    return step.run(*arguments)
            return step.run(*arguments)

        outs = interpret.walk(program, program.inputs, rule)
        return jax.tree.unflatten(program.out_tree, outs)

    return run


def _is_zero(x) -> bool:
    return not isinstance(x, Tracer) and not np.asarray(x).any()


@jax.custom_vjp
def _relu(x, on):
    del on
    return jnp.maximum(x, 0)


def _forward(x, on):
    return _relu(x, on), (x > 0, on)


def _backward(kept, q):
    alive, on = kept
    plain = jnp.where(alive, q, 0)
    dead = (on > 0) & ~jnp.any(plain != 0)
    # Only what raises the objective: nothing is below 0.
    return jnp.where(dead, jnp.maximum(q, 0), plain), jnp.zeros_like(on)


_relu.defvjp(_forward, _backward)
