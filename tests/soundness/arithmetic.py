"""What networks are made of, twice: in JAX, and in NumPy's float64 as an oracle.

A layer is written once, for an object that knows these operations. `Jax` names units
with `checkpoint_name`; `Numpy` deletes them by hand. `Linear` is how `weights.expand`
says that it reads a network.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

_erf = np.vectorize(math.erf, otypes=[float])


class Jax:
    """Operations on one example in JAX; units have names if that is asked for."""

    where, concatenate = staticmethod(jnp.where), staticmethod(jnp.concatenate)
    sigmoid, softmax = staticmethod(jax.nn.sigmoid), staticmethod(jax.nn.softmax)
    rsqrt = staticmethod(lax.rsqrt)

    def __init__(self, named: bool = True):
        self.named = named

    def unit(self, name, h):
        return checkpoint_name(h, name) if self.named else h

    def act(self, kind, x):
        if kind == "gelu":
            return jax.nn.gelu(x, approximate=False)
        return x if kind == "none" else getattr(jax.nn, kind)(x)

    def conv(self, x, k, *, strides, pads, spread, gaps, groups, first):
        each, letters = x.ndim - 1, "HW"[: x.ndim - 1]
        spec = (f"NC{letters}", f"OI{letters}") if first else (
            f"N{letters}C", f"{letters}IO"
        )  # fmt: skip
        if first:
            x, k = jnp.moveaxis(x, -1, 0), jnp.moveaxis(k, (-1, -2), (0, 1))
        y = lax.conv_general_dilated(
            x[None], k, (strides,) * each, [pads] * each, (gaps,) * each,
            (spread,) * each, (*spec, spec[0]), groups,
        )[0]  # fmt: skip
        return jnp.moveaxis(y, 0, -1) if first else y

    def pool(self, kind, x, size, strides, pads):
        each = x.ndim - 1
        sizes, steps = (size,) * each + (1,), (strides,) * each + (1,)
        pads = [pads] * each + [(0, 0)]
        if kind == "max":
            return lax.reduce_window(x, -jnp.inf, lax.max, sizes, steps, pads)
        return lax.reduce_window(x, 0.0, lax.add, sizes, steps, pads) / size**each

    def maximum(self, x, axes):
        return x.max(axes)

    def scan(self, step, start, xs):
        return lax.scan(lambda h, x: step(h, x, None), start, xs)


class Numpy:
    """The same in float64, in loops; what masks remove is deleted.

    Attributes:
        nodes: masks of units, by name.
        fill: what stands where a unit was, by name; 0 without an entry.
        seen: the units as they were before anything was removed.
    """

    where, concatenate = staticmethod(np.where), staticmethod(np.concatenate)

    def __init__(self, nodes=None, fill=None):
        self.nodes, self.fill, self.seen = nodes or {}, fill or {}, {}

    def unit(self, name, h, step=None):
        if step is None:
            self.seen[name] = h
        else:
            self.seen.setdefault(name, []).append(h)
        if name not in self.nodes:
            return h
        mask = np.asarray(self.nodes[name], np.float64)
        if step is not None:
            mask = mask[step % len(mask)]
        with np.errstate(invalid="ignore"):
            # masks between 0 and 1 are only for derivatives with respect to them
            kept = np.where(mask == 0, 0.0, h * mask)
        return kept + np.asarray(self.fill.get(name, 0.0)) * (1 - mask)

    def act(self, kind, x):
        with np.errstate(over="ignore", invalid="ignore"):
            return {
                "none": lambda: x,
                "relu": lambda: np.where(x > 0, x, 0.0),
                "tanh": lambda: np.tanh(x),
                "sigmoid": lambda: self.sigmoid(x),
                "softplus": lambda: np.logaddexp(x, 0.0),
                "leaky_relu": lambda: np.where(x >= 0, x, 0.01 * x),
                "silu": lambda: x * self.sigmoid(x),
                "gelu": lambda: x * (1 + _erf(x / math.sqrt(2))) / 2,
            }[kind]()

    def sigmoid(self, x):
        return (1 + np.tanh(x / 2)) / 2

    def softmax(self, x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def rsqrt(self, x):
        return 1 / np.sqrt(x)

    def conv(self, x, k, *, strides, pads, spread, gaps, groups, first):
        space, taps = x.shape[:-1], k.shape[:-2]
        wide = [(n - 1) * gaps + 1 + sum(pads) for n in space]
        out = [(n - (t - 1) * spread - 1) // strides + 1 for n, t in zip(wide, taps)]
        padded = np.zeros((*wide, x.shape[-1]))
        ends = [slice(pads[0], pads[0] + (n - 1) * gaps + 1, gaps) for n in space]
        padded[tuple(ends)] = x
        y = np.zeros((*out, k.shape[-1]))
        into, each = k.shape[-2], k.shape[-1] // groups
        for place in np.ndindex(*out):
            for tap in np.ndindex(*taps):
                at = tuple(p * strides + t * spread for p, t in zip(place, tap))
                for g in range(groups):
                    read = slice(g * into, (g + 1) * into)
                    make = slice(g * each, (g + 1) * each)
                    y[place][make] += padded[at][read] @ k[tap][:, make]
        return y

    def pool(self, kind, x, size, strides, pads):
        each = x.ndim - 1
        low = -np.inf if kind == "max" else 0.0
        x = np.pad(x, [pads] * each + [(0, 0)], constant_values=low)
        out = [(n - size) // strides + 1 for n in x.shape[:-1]]
        y = np.zeros((*out, x.shape[-1]))
        for place in np.ndindex(*out):
            box = x[tuple(slice(p * strides, p * strides + size) for p in place)]
            y[place] = self.window(kind, box.reshape(-1, x.shape[-1]), size**each)
        return y

    def window(self, kind, entries, count):
        return entries.max(0) if kind == "max" else entries.sum(0) / count

    def maximum(self, x, axes):
        return x.max(axes)

    def scan(self, step, start, xs):
        outs, count = [], len(xs if isinstance(xs, np.ndarray) else [*xs.values()][0])
        for i in range(count):
            x = (
                xs[i]
                if isinstance(xs, np.ndarray)
                else {k: v[i] for k, v in xs.items()}
            )
            start, out = step(start, x, i)
            outs.append(out)
        return start, None if outs[0] is None else np.stack(outs)


class Linear(Numpy):
    """Rising functions are the identity, maxima are means over their windows."""

    def act(self, kind, x):
        return x

    def pool(self, kind, x, size, strides, pads):
        return super().pool("mean", x, size, strides, pads)

    def maximum(self, x, axes):
        return x.mean(axes)
