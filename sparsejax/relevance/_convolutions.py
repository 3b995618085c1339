"""Transposes of the convolutions that CPUs are slow at: from few channels to few.

XLA leaves convolutions of at most 16 channels on either side to a kernel that takes
three to five times as long as a product of the same size. Back to a first layer's 1 to
3 channels (twice as many where positive and negative inputs are apart) it is faster to
multiply every place by the whole kernel and to add up what the places send where.
"""

import itertools as it
from typing import Any

import jax
import jax.numpy as jnp

_CHANNELS, _OUTPUTS = 6, 16


def is_narrow(step, kernel) -> bool:
    """Whether `transpose` is the faster way back to the input of a convolution."""
    if step.name != "conv_general_dilated" or jax.default_backend() != "cpu":
        return False
    p = step.params
    plain = p["feature_group_count"] == p["batch_group_count"] == 1
    plain = plain and {*p["lhs_dilation"]} <= {1}
    outputs, inputs, *window = p["dimension_numbers"].rhs_spec
    narrow = kernel.shape[inputs] <= _CHANNELS and kernel.shape[outputs] <= _OUTPUTS
    return plain and narrow and any(kernel.shape[axis] > 1 for axis in window)


def transpose(step, kernel, q, like):
    """The transpose in the input: an array like it, of q of the output's shape."""
    p = step.params
    x_spec, (outputs, inputs, *window), (examples, channels, *places) = p[
        "dimension_numbers"
    ]
    # As q where the output was asked for in more digits than its operands have.
    kernel = kernel.transpose(outputs, inputs, *window).astype(q.dtype)
    q = q.transpose(examples, *places, channels)
    sent = jnp.tensordot(q, kernel, 1, precision=p["precision"])
    # Places as far apart as they are on the input's map, so that what goes to it by one
    # tap is a slice; the last tap's begins at 0.
    edges, starts = [(0, 0, 0)], []
    sizes = [like.shape[axis] for axis in x_spec[2:]]
    for n, taps, count, stride, spread, (low, _) in zip(
        sizes, kernel.shape[2:], q.shape[1:-1], p["window_strides"], p["rhs_dilation"],
        p["padding"], strict=True,
    ):  # fmt: skip
        far = (taps - 1) * spread
        long = (count - 1) * stride + 1
        edges.append((far - low, low + n - long, stride - 1))
        starts.append([far - i * spread for i in range(taps)])
    edges += [(0, 0, 0)] * (kernel.ndim - 1)
    sent = jax.lax.pad(sent, jnp.zeros((), sent.dtype), edges)

    def part(taps):
        at = [begin[i] for begin, i in zip(starts, taps, strict=True)]
        where = [slice(i, i + n) for i, n in zip(at, sizes, strict=True)]
        return sent[(slice(None), *where, slice(None), *taps)]

    total: Any = sum(map(part, it.product(*map(range, kernel.shape[2:]))))
    total = jnp.moveaxis(total, range(total.ndim), (x_spec[0], *x_spec[2:], x_spec[1]))
    return total.astype(like.dtype)
