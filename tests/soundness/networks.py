"""Random small networks of many kinds, each as a JAX function and as a NumPy oracle.

A network is known by its seed. What it is made of is said in one line by `str`.
"""

import dataclasses
from collections.abc import Callable
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from arithmetic import Jax, Linear, Numpy

DTYPES = ("float64", "float32", "float32", "bfloat16", "float16")
RISING = ("relu", "tanh", "sigmoid", "softplus", "leaky_relu", "silu", "gelu", "none")


@dataclasses.dataclass
class Layer:
    """A layer of a network.

    Attributes:
        text: what it is.
        params: its parameters, in float64.
        run: `run(b, p, x, name)`, b being a class of `arithmetic`.
        hidden: {name of its parameter: axis of the hidden units} where the units can be
            put in another order without any change outside.
        bias: its parameter that the named units are made of last, if they rise with it.
    """

    text: str
    params: dict
    run: Callable
    hidden: dict = dataclasses.field(default_factory=dict)
    bias: str = ""


def _normal(rng, *shape):
    return rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]) or 1)


def _bias(rng, n):
    return rng.normal(size=n) * 0.5


def dense(rng, shape):
    units, act = int(rng.choice([2, 4])), rng.choice(RISING)
    params = {"w": _normal(rng, shape[-1], units)}
    if biased := rng.random() < 0.8:
        params["b"] = _bias(rng, units)

    def run(b, p, x, name):
        z = x @ p["w"]
        return b.unit(name, b.act(act, z + p["b"] if biased else z))

    return Layer(f"dense {units} {act}", params, run, bias="b" * biased)


def mlp(rng, shape):
    """A residual block."""
    n, hidden, act = shape[-1], 4, rng.choice(RISING)
    params = {
        "w1": _normal(rng, n, hidden), "b1": _bias(rng, hidden),
        "w2": _normal(rng, hidden, n), "b2": _bias(rng, n),
    }  # fmt: skip

    def run(b, p, x, name):
        h = b.unit(name, b.act(act, x @ p["w1"] + p["b1"]))
        return x + (h @ p["w2"] + p["b2"])

    hidden = {"w1": 1, "b1": 0, "w2": 0}
    return Layer(f"residual {act}", params, run, hidden, "b1")


def gate(rng, shape):
    n, act = shape[-1], rng.choice(["none", "silu", "gelu", "tanh"])
    params = {
        "w": _normal(rng, n, 4), "v": _normal(rng, n, 4), "c": _bias(rng, 4),
        "o": _normal(rng, 4, n),
    }  # fmt: skip

    def run(b, p, x, name):
        h = b.unit(name, b.act(act, x @ p["w"]) * b.sigmoid(x @ p["v"] + p["c"]))
        return h @ p["o"]

    return Layer(f"gate {act}", params, run, {"w": 1, "v": 1, "c": 0, "o": 0})


def norm(rng, shape):
    kind, n = rng.choice(["layer", "rms", "batch"]), shape[-1]
    params = {"scale": 1 + _bias(rng, n) / 2, "shift": _bias(rng, n)}
    if kind == "batch":
        params |= {"mean": _bias(rng, n), "var": rng.uniform(0.5, 2, n)}

    def run(b, p, x, name):
        if kind == "batch":
            x = (x - p["mean"]) * b.rsqrt(p["var"] + 0.01)
        elif kind == "layer":
            x = x - x.mean(-1, keepdims=True)
            x = x * b.rsqrt((x * x).mean(-1, keepdims=True) + 0.1)
        else:
            x = x * b.rsqrt((x * x).mean(-1, keepdims=True) + 0.1)
        return b.unit(name, x * p["scale"] + p["shift"])

    return Layer(f"{kind} norm", params, run, bias="shift")


def skip(rng, shape):
    """Two branches side by side: a dense layer and the layer's input."""
    act = rng.choice(RISING)
    params = {"w": _normal(rng, shape[-1], 2), "b": _bias(rng, 2)}

    def run(b, p, x, name):
        h = b.unit(name, b.act(act, x @ p["w"] + p["b"]))
        return b.concatenate([x, h], -1)

    return Layer(f"concatenation {act}", params, run, bias="b")


def stack(rng, shape):
    """A scan over the layers of a stack."""
    n, act = shape[-1], rng.choice(["relu", "tanh", "none"])
    params = {"w": np.stack([_normal(rng, n, n) for _ in range(2)]),
              "b": np.stack([_bias(rng, n) for _ in range(2)])}  # fmt: skip

    def run(b, p, x, name):
        def step(h, p, i):
            more = () if i is None else (i,)
            h = b.unit(name, b.act(act, h @ p["w"] + p["b"]), *more)
            return h, None

        return b.scan(step, x, p)[0]

    return Layer(f"scan over 2 layers {act}", params, run)


def recurrent(rng, shape):
    """A scan over time."""
    n, act = shape[-1], rng.choice(["tanh", "relu", "sigmoid"])
    params = {"u": _normal(rng, n, 4), "w": _normal(rng, 4, 4), "b": _bias(rng, 4)}

    def run(b, p, x, name):
        def step(h, x, i):
            more = () if i is None else (i,)
            h = b.unit(name, b.act(act, x @ p["u"] + h @ p["w"] + p["b"]), *more)
            return h, h

        return b.scan(step, 0 * p["b"], x)[1]

    return Layer(f"recurrent {act}", params, run)


def attention(rng, shape):
    length, n, heads, size = *shape, 2, 2
    causal, residual = rng.random() < 0.5, rng.random() < 0.7
    params = {k: _normal(rng, n, heads * size) for k in "qkv"}
    params |= {"o": _normal(rng, heads * size, n), "c": _bias(rng, heads * size)}

    def run(b, p, x, name):
        def split(h):  # (heads, length, size)
            return h.reshape(length, heads, size).transpose(1, 0, 2)

        q, k, v = split(x @ p["q"]), split(x @ p["k"]), split(x @ p["v"] + p["c"])
        scores = q @ k.transpose(0, 2, 1) / size**0.5
        if causal:
            scores = b.where(np.tri(length, dtype=bool), scores, -1e4)
        mixed = (b.softmax(scores) @ v).transpose(1, 0, 2).reshape(length, -1)
        out = b.unit(name, mixed) @ p["o"]
        return x + out if residual else out

    return Layer(f"{'causal ' * causal}attention", params, run)


def convolution(rng, shape):
    kind = rng.choice(
        ["plain", "strided", "dilated", "grouped", "depthwise", "transposed"]
    )
    *space, n = shape
    first, act = bool(rng.random() < 0.5), rng.choice(RISING)
    groups = {"grouped": 2 if n % 2 == 0 else 1, "depthwise": n}.get(kind, 1)
    units, taps = 4 if 4 % groups == 0 else 2 * groups, int(rng.choice([2, 3]))
    if taps > min(space):
        taps = 1
    reach = (taps - 1) * (1 + (kind == "dilated")) + 1
    pads = (0, 0) if rng.random() < 0.4 and reach <= min(space) else (
        reach // 2, (reach - 1) // 2
    )  # fmt: skip
    how = {
        "strides": 1 + (kind == "strided"), "spread": 1 + (kind == "dilated"),
        "gaps": 1 + (kind == "transposed"), "groups": groups, "pads": pads,
        "first": first,
    }  # fmt: skip
    kernel = _normal(rng, *(taps for _ in space), n // groups, units)
    params = {"w": kernel, "b": _bias(rng, units)}

    def run(b, p, x, name):
        return b.unit(name, b.act(act, b.conv(x, p["w"], **how) + p["b"]))

    where = "channels first" if first else "channels last"
    text = f"{kind} convolution {taps} to {units} {act}, pads {pads}, {where}"
    return Layer(text, params, run, bias="b")


def pool(rng, shape):
    kind = rng.choice(["max", "mean"])
    size = min(int(rng.choice([2, 3])), *shape[:-1])
    strides = int(rng.choice([1, 2]))
    pads = (0, 0) if size < 2 or rng.random() < 0.6 else (1, 0)

    def run(b, p, x, name):
        return b.pool(kind, x, size, strides, pads)

    return Layer(f"{kind} pooling {size} by {strides}, pads {pads}", {}, run)


def squeeze(rng, shape):
    """Channels weighed by what is all over the map."""
    n = shape[-1]
    params = {"w": _normal(rng, n, n), "b": _bias(rng, n)}

    def run(b, p, x, name):
        scale = b.sigmoid(x.reshape(-1, n).mean(0) @ p["w"] + p["b"])
        return b.unit(name, x * scale)

    return Layer("squeeze and excite", params, run)


def head(rng, shape):
    """To three outputs."""
    kind = "flat" if len(shape) == 1 else rng.choice(["flat", "mean", "max"])
    size = int(np.prod(shape)) if kind == "flat" else shape[-1]
    params = {"w": _normal(rng, size, 3), "b": _bias(rng, 3)}
    axes = tuple(range(len(shape) - 1))

    def run(b, p, x, name):
        if kind == "flat":
            x = x.reshape(-1)
        else:
            x = x.mean(axes) if kind == "mean" else b.maximum(x, axes)
        return x @ p["w"] + p["b"]

    return Layer(f"{kind} head" if len(shape) > 1 else "head", params, run)


KINDS = {
    1: (dense, dense, mlp, gate, norm, skip, stack),
    2: (dense, mlp, gate, norm, skip, stack, recurrent, attention, attention,
        convolution, convolution, pool),
    3: (convolution, convolution, convolution, convolution, pool, pool, norm, squeeze,
        mlp, skip),
}  # fmt: skip
SHAPES = ((5,), (4, 3), (4, 4, 2))


class Network:
    """A network, an input, and its oracle.

    Attributes:
        seed: what it is made of.
        dtype: of parameters and input.
        layers: the last has no units.
        fn: `fn(params, x)` of one example, with names.
        params, x: arrays of `dtype`.
        exact: the parameters in float64.
    """

    def __init__(self, seed: int, dtype: str | None = None, kinds=None):
        self.seed, rng = seed, np.random.default_rng(seed)
        drawn = str(rng.choice(DTYPES))
        self.dtype = jnp.dtype(dtype or drawn)
        self.shape = shape = SHAPES[rng.integers(len(SHAPES))]
        self.layers, out = [], np.zeros(shape)
        for _ in range(rng.integers(1, 5)):
            options = [k for k in KINDS[len(shape)] if kinds is None or k in kinds]
            layer = options[rng.integers(len(options))](rng, out.shape)
            self._append(layer)
            out = layer.run(Numpy(), layer.params, out, "")
        self._append(head(rng, out.shape))
        self.params = {
            f"{i}": {k: jnp.asarray(v, self.dtype) for k, v in layer.params.items()}
            for i, layer in enumerate(self.layers) if layer.params
        }  # fmt: skip
        self.rng = rng
        self.x = self.inputs(rng)

    def _append(self, layer):
        self.layers.append(layer)

    def __str__(self):
        layers = " | ".join(layer.text for layer in self.layers)
        return f"network {self.seed}: {self.dtype} {self.shape} | {layers}"

    @cached_property
    def fn(self) -> Callable:
        return self.with_operations(Jax())

    @cached_property
    def plain(self) -> Callable:
        """Without names."""
        return self.with_operations(Jax(named=False))

    def with_operations(self, b) -> Callable:
        def fn(params, x):
            for i, layer in enumerate(self.layers):
                x = layer.run(b, params.get(f"{i}"), x, f"h{i}")
            return x

        return fn

    def draws(self, count: int):
        """Parameters and inputs of networks alike, stacked: their own come first."""

        def other(path, leaf):
            factors = self.rng.uniform(0.5, 1.5, (count, *leaf.shape))
            if path[-1].key not in ("var", "scale"):
                factors *= self.rng.choice([-1, 1], factors.shape)
            factors[0] = 1
            return jnp.asarray(exact(leaf) * factors, self.dtype)

        x = self.inputs(self.rng, count).at[0].set(self.x)
        return jax.tree_util.tree_map_with_path(other, self.params), x

    def inputs(self, rng, *lead):
        return jnp.asarray(rng.normal(size=(*lead, *self.shape)), self.dtype)

    def has(self, *words: str) -> bool:
        """Whether a layer's text has one of these words."""
        return any(w in layer.text for layer in self.layers for w in words)

    @property
    def looped(self) -> bool:
        return self.has("scan", "recurrent")

    @property
    def eps(self) -> float:
        return float(jnp.finfo(self.dtype).eps)

    def oracle(self, x=None, params=None, nodes=None, fill=None, linear=False):
        """Outputs in float64, and the operations, which saw the units."""
        b = (Linear if linear else Numpy)(nodes, fill)
        params = exact(self.params if params is None else params)
        x = np.asarray(self.x if x is None else x, np.float64)
        return self.with_operations(b)(params, x), b


def one(tree, i: int):
    """One of several that are stacked."""
    return jax.tree.map(lambda a: a[i], tree)


def exact(tree):
    """A tree in float64, bit for bit."""
    return jax.tree.map(lambda a: np.asarray(a).astype(np.float64), tree)
