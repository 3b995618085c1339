"""Models as their libraries would have them, without a name in them, and each written
by hand, or called layer by layer, with masks in between."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx


def key(number=7):
    """A new key at every call: in tests none is used twice."""
    return jax.random.key(number)


class Model(NamedTuple):
    """A function of parameters, and the same with masks at some activations.

    Attributes:
        fn, params, args: `fn(params, *args)`, the logits first.
        shapes: of the masks, by name.
        by_hand: the logits for given masks.
        views: how `named` is to see units.
    """

    fn: Callable
    params: Any
    args: tuple
    shapes: dict[str, tuple[int, ...]]
    by_hand: Callable[[dict], jax.Array]
    views: dict[str, tuple[int, ...]] = {}


def varied(tree):
    """Parameters of which no two are equal: tests would not see them swapped."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key(), len(leaves))
    new = [
        leaf + 0.1 * jax.random.normal(own, leaf.shape, leaf.dtype)
        for leaf, own in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, new)


# Linen


class LinenCNN(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        for width in (8, 12):
            x = nn.Conv(width, (3, 3))(x)
            x = nn.BatchNorm(use_running_average=not train)(x)
            x = nn.max_pool(nn.relu(x), (2, 2), (2, 2))
        x = nn.relu(nn.Dense(16)(x.reshape(len(x), -1)))
        return nn.Dense(5)(x)


def _linen_cnn_by_hand(variables, x, masks, train):
    params = variables["params"]
    for i in range(2):
        layer, norm = params[f"Conv_{i}"], params[f"BatchNorm_{i}"]
        x = jax.lax.conv_general_dilated(
            x,
            layer["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = x + layer["bias"]
        stats = {"mean": x.mean((0, 1, 2)), "var": x.var((0, 1, 2))}
        stats = stats if train else variables["batch_stats"][f"BatchNorm_{i}"]
        x = (x - stats["mean"]) / jnp.sqrt(stats["var"] + 1e-5)
        x = jax.nn.relu(x * norm["scale"] + norm["bias"])
        x = nn.max_pool(x * masks[f"params/Conv_{i}:post"], (2, 2), (2, 2))
    first, last = params["Dense_0"], params["Dense_1"]
    x = jax.nn.relu(x.reshape(len(x), -1) @ first["kernel"] + first["bias"])
    return x * masks["params/Dense_0:post"] @ last["kernel"] + last["bias"]


def linen_cnn(train=False):
    model, x = LinenCNN(), jax.random.normal(key(), (4, 8, 8, 3))
    variables = varied(jax.jit(model.init)(key(), x))
    stats = jax.tree.map(jnp.abs, variables["batch_stats"])
    variables = {"params": variables["params"], "batch_stats": stats}

    def fn(variables, x):
        mutable = ["batch_stats"] if train else False
        return model.apply(variables, x, train=train, mutable=mutable)

    return Model(
        fn,
        variables,
        (x,),
        {
            "params/Conv_0:post": (8,),
            "params/Conv_1:post": (12,),
            "params/Dense_0:post": (16,),
        },
        lambda masks: _linen_cnn_by_hand(variables, x, masks, train),
    )


class LinenBlock(nn.Module):
    @nn.compact
    def __call__(self, x, _=None):
        mask = nn.make_causal_mask(jnp.ones(x.shape[:-1]))
        attend = nn.MultiHeadDotProductAttention(2, name="attn")
        x = x + attend(nn.LayerNorm(name="ln1")(x), mask=mask)
        h = nn.gelu(nn.Dense(16, name="wi")(nn.LayerNorm(name="ln2")(x)))
        x = x + nn.Dense(8, name="wo")(h)
        return x if _ is None else (x, None)


class LinenGPT(nn.Module):
    blocks: int = 2
    scan: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, ids):
        x = nn.Embed(11, 8, name="embed")(ids)
        x = x + self.param("pos", nn.initializers.normal(1.0), (6, 8))
        if self.scan:
            block = nn.remat(LinenBlock) if self.remat else LinenBlock
            x, _ = nn.scan(
                block,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=self.blocks,
                in_axes=nn.broadcast,
            )(name="blocks")(x, 0)
        else:
            for i in range(self.blocks):
                x = LinenBlock(name=f"block_{i}")(x)
        return nn.Dense(11, name="head")(nn.LayerNorm(name="ln")(x))


def _normed(x, params):
    scaled = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return scaled * params["scale"] + params["bias"]


def _block_by_hand(x, params, masks, prefix):
    """A causal transformer block; masks of ones where there are none."""

    def masked(name, value):
        return value * masks.get(prefix + name, jnp.ones(()))

    h, attn = _normed(x, params["ln1"]), params["attn"]
    q, k, v = (
        jnp.einsum("btd,dhe->bthe", h, attn[n]["kernel"]) + attn[n]["bias"]
        for n in ("query", "key", "value")
    )
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2.0
    causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    pattern = jax.nn.softmax(jnp.where(causal, scores, -1e30))
    mixed = jnp.einsum("bhqk,bkhd->bqhd", masked("attn/out:pattern", pattern), v)
    mixed = masked("attn/out:in", mixed)
    x = x + jnp.einsum("bqhd,hde->bqe", mixed, attn["out"]["kernel"])
    x = x + attn["out"]["bias"]
    h = _normed(x, params["ln2"]) @ params["wi"]["kernel"] + params["wi"]["bias"]
    h = masked("wi:post", jax.nn.gelu(h))
    x = x + h @ params["wo"]["kernel"] + params["wo"]["bias"]
    return masked("wo:sum", x)


def _gpt_by_hand(params, ids, blocks):
    x = params["embed"]["embedding"][ids] + params["pos"]
    for block in blocks:
        x = block(x)
    return _normed(x, params["ln"]) @ params["head"]["kernel"] + params["head"]["bias"]


IDS = jax.random.randint(key(), (3, 6), 0, 11)


def linen_transformer():
    model = LinenGPT()
    variables = varied(jax.jit(model.init)(key(), IDS))
    params = variables["params"]

    def by_hand(masks):
        names = [f"block_{i}" for i in range(2)]
        blocks = [
            functools.partial(
                _block_by_hand, params=params[n], masks=masks, prefix=f"params/{n}/"
            )
            for n in names
        ]
        return _gpt_by_hand(params, IDS, blocks)

    shapes = {
        "params/block_0/attn/out:in": (2, 1),
        "params/block_0/wi:post": (16,),
        "params/block_0/wo:sum": (6, 8),
        "params/block_1/attn/out:pattern": (2, 6, 6),
    }
    views = {"*/attn/out:in": (2, -1)}
    return Model(model.apply, variables, (IDS,), shapes, by_hand, views)


def linen_scan(remat=False):
    model = LinenGPT(blocks=3, scan=True, remat=remat)
    variables = varied(jax.jit(model.init)(key(), IDS))
    params = variables["params"]

    def block(x, i, masks):
        own = jax.tree.map(lambda leaf: leaf[i], params["blocks"])
        at_step = {name: mask[i] for name, mask in masks.items()}
        return _block_by_hand(x, own, at_step, "params/blocks/")

    def by_hand(masks):
        blocks = [functools.partial(block, i=i, masks=masks) for i in range(3)]
        return _gpt_by_hand(params, IDS, blocks)

    shapes = {"params/blocks/attn/out:in": (3, 2, 1), "params/blocks/wi:post": (3, 16)}
    views = {"*/attn/out:in": (2, -1)}
    return Model(model.apply, variables, (IDS,), shapes, by_hand, views)


# NNX


def _split(model):
    graph, state = nnx.split(model)
    return (lambda state, x: nnx.merge(graph, state)(x)), state


class NnxCNN(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.conv2 = nnx.Conv(8, 12, (3, 3), rngs=rngs)
        self.fc = nnx.Linear(12, 16, rngs=rngs)
        self.out = nnx.Linear(16, 5, rngs=rngs)

    def __call__(self, x, masked=lambda name, value: value):
        x = masked("conv1:post", nnx.relu(self.norm(self.conv1(x))))
        x = nnx.avg_pool(x, (2, 2), (2, 2))
        x = masked("conv2:post", nnx.relu(self.conv2(x))).mean((1, 2))
        return self.out(masked("fc:post", nnx.silu(self.fc(x))))


def _with(model, x):
    return lambda masks: model(x, lambda n, v: v * masks[n] if n in masks else v)


def nnx_cnn():
    model, x = NnxCNN(nnx.Rngs(0)), jax.random.normal(key(), (4, 8, 8, 3))
    model.eval()
    shapes = {"conv1:post": (8,), "conv2:post": (12,), "fc:post": (16,)}
    return Model(*_split(model), (x,), shapes, _with(model, x))


class NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.ln1, self.ln2 = nnx.LayerNorm(8, rngs=rngs), nnx.LayerNorm(8, rngs=rngs)
        self.attn = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.fc1 = nnx.Linear(8, 16, rngs=rngs)
        self.fc2 = nnx.Linear(16, 8, rngs=rngs)

    def __call__(self, x, masked=lambda name, value: value):
        x = masked("attn/out:sum", x + self.attention(self.ln1(x), masked))
        h = masked("fc1:post", nnx.gelu(self.fc1(self.ln2(x))))
        return x + self.fc2(h)

    def attention(self, x, masked):
        if not masked("attn/out:in", ()):  # as it is
            return self.attn(x)
        q, k, v = self.attn.query(x), self.attn.key(x), self.attn.value(x)
        pattern = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2.0)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", pattern, v)
        return self.attn.out(masked("attn/out:in", mixed))


class NnxViT(nnx.Module):
    def __init__(self, rngs):
        self.patch = nnx.Conv(3, 8, (4, 4), (4, 4), padding="VALID", rngs=rngs)
        self.cls = nnx.Param(jax.random.normal(key(), (1, 1, 8)))
        self.pos = nnx.Param(jax.random.normal(key(), (1, 5, 8)))
        self.blocks = nnx.List([NnxBlock(rngs) for _ in range(2)])
        self.ln = nnx.LayerNorm(8, rngs=rngs)
        self.head = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x, masked=None):
        x = self.patch(x)
        x = masked("patch:post", x) if masked else x
        cls = jnp.broadcast_to(self.cls[...], (len(x), 1, 8))
        x = jnp.concatenate([cls, x.reshape(len(x), -1, 8)], 1) + self.pos[...]
        for i, block in enumerate(self.blocks):
            if masked:
                x = block(x, functools.partial(_at, masked, f"blocks/{i}/"))
            else:
                x = block(x)
        return self.head(self.ln(x)[:, 0])


def _at(masked, prefix, name, value):
    return True if isinstance(value, tuple) else masked(prefix + name, value)


def nnx_vit():
    model, x = NnxViT(nnx.Rngs(0)), jax.random.normal(key(), (4, 8, 8, 3))
    shapes = {
        "patch:post": (8,),
        "blocks/0/attn/out:sum": (8,),
        "blocks/0/fc1:post": (16,),
        "blocks/1/attn/out:in": (2, 1),
    }
    views = {"*attn/out:in": (2, -1)}
    return Model(*_split(model), (x,), shapes, _with(model, x), views)


class NnxDense(nnx.Module):
    def __init__(self, rngs):
        self.fc1 = nnx.Linear(8, 16, rngs=rngs)
        self.fc2 = nnx.Linear(16, 8, rngs=rngs)

    def __call__(self, x):
        return x + self.fc2(nnx.relu(self.fc1(x)))


class NnxDeep(nnx.Module):
    def __init__(self, rngs):
        stacked = nnx.vmap(lambda rngs: NnxDense(rngs))
        self.blocks = nnx.split_rngs(splits=3)(stacked)(rngs)

    def __call__(self, x):
        axes = (nnx.Carry, 0)
        step = nnx.scan(lambda x, b: b(x), in_axes=axes, out_axes=nnx.Carry)
        return step(x, self.blocks)


def nnx_scan():
    model, x = NnxDeep(nnx.Rngs(0)), jax.random.normal(key(), (4, 8))
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def by_hand(masks):
        h, fc1, fc2 = x, model.blocks.fc1, model.blocks.fc2
        for i in range(3):
            hidden = nnx.relu(h @ fc1.kernel[...][i] + fc1.bias[...][i])
            hidden = hidden * masks["blocks/fc1:post"][i]
            h = h + hidden @ fc2.kernel[...][i] + fc2.bias[...][i]
        return h

    def fn(params, x):
        return nnx.merge(graph, params, rest)(x)

    return Model(fn, params, (x,), {"blocks/fc1:post": (3, 16)}, by_hand)


# Equinox


class Times(eqx.Module):
    """A layer whose input or output is multiplied, put in place by `eqx.tree_at`."""

    layer: Callable
    before: jax.Array | None = None
    after: jax.Array | None = None

    def __call__(self, x, **kwargs):
        y = self.layer(x if self.before is None else x * self.before, **kwargs)
        return y if self.after is None else y * self.after

    @property
    def out_features(self):
        return self.layer.out_features


def _partition(model):
    params, static = eqx.partition(model, eqx.is_array)
    return (lambda params, x: jax.vmap(eqx.combine(params, static))(x)), params


def equinox_cnn():
    keys = jax.random.split(key(), 3)
    model = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(3, 8, 3, padding=1, key=keys[0]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Conv2d(8, 12, 3, key=keys[1]),
            eqx.nn.GroupNorm(3, 12),
            eqx.nn.Lambda(jax.nn.silu),
            eqx.nn.Lambda(lambda x: x.mean((1, 2))),
            eqx.nn.MLP(12, 5, 16, 2, key=keys[2]),
        ]
    )
    x = jax.random.normal(key(), (4, 3, 8, 8))

    def by_hand(masks):
        after = [masks[f"layers/{i}:post"][:, None, None] for i in (0, 3)]
        mlp = model.layers[7].layers[1]
        new = [Times(model.layers[i], after=m) for i, m in zip((1, 5), after)]
        new.append(Times(mlp, before=masks["layers/7/layers/0:post"]))

        def where(m):
            return [m.layers[1], m.layers[5], m.layers[7].layers[1]]

        return jax.vmap(eqx.tree_at(where, model, new))(x)

    shapes = {
        "layers/0:post": (8,),
        "layers/3:post": (12,),
        "layers/7/layers/0:post": (16,),
    }
    return Model(*_partition(model), (x,), shapes, by_hand)


class EquinoxBlock(eqx.Module):
    attn: eqx.nn.MultiheadAttention
    ln1: eqx.nn.LayerNorm
    ln2: eqx.nn.LayerNorm
    mlp: eqx.nn.MLP

    def __init__(self, key):
        first, second = jax.random.split(key)
        self.attn = eqx.nn.MultiheadAttention(2, 8, key=first)
        self.ln1, self.ln2 = eqx.nn.LayerNorm(8), eqx.nn.LayerNorm(8)
        self.mlp = eqx.nn.MLP(8, 8, 16, 1, activation=jax.nn.gelu, key=second)

    def __call__(self, x):
        h = jax.vmap(self.ln1)(x)
        x = x + self.attn(h, h, h)
        return x + jax.vmap(self.mlp)(jax.vmap(self.ln2)(x))


class EquinoxGPT(eqx.Module):
    embed: eqx.nn.Embedding
    blocks: list
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.embed = eqx.nn.Embedding(11, 8, key=keys[0])
        self.blocks = [EquinoxBlock(own) for own in keys[1:3]]
        self.head = eqx.nn.Linear(8, 11, key=keys[3])

    def __call__(self, ids):
        h = jax.vmap(self.embed)(ids)
        for block in self.blocks:
            h = block(h)
        return jax.vmap(self.head)(h)


def equinox_transformer():
    model = EquinoxGPT(key())

    def where(m):
        return [m.blocks[0].attn.output_proj, m.blocks[1].mlp.layers[1]]

    def by_hand(masks):
        heads = jnp.repeat(masks["blocks/0/attn/output_proj:in"][:, 0], 4)
        before = [heads, masks["blocks/1/mlp/layers/0:post"]]
        new = [Times(layer, before=m) for layer, m in zip(where(model), before)]
        return jax.vmap(eqx.tree_at(where, model, new))(IDS)

    shapes = {
        "blocks/0/attn/output_proj:in": (2, 1),
        "blocks/1/mlp/layers/0:post": (16,),
    }
    views = {"*output_proj:in": (2, -1)}
    return Model(*_partition(model), (IDS,), shapes, by_hand, views)


# By hand


def _stacked_block(h, p):
    def normed(x):
        return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(
            x.var(-1, keepdims=True) + 1e-5
        )

    a = normed(h)
    q, k, v = ((a @ p[n]).reshape(-1, 6, 2, 4).transpose(0, 2, 1, 3) for n in "qkv")
    scores = q @ k.transpose(0, 1, 3, 2) / 2.0
    scores = jnp.where(jnp.tril(jnp.ones((6, 6), bool)), scores, -1e9)
    mixed = (jax.nn.softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(-1, 6, 8)
    h = h + mixed @ p["o"]
    return h + jax.nn.gelu(normed(h) @ p["w1"] + p["b1"]) @ p["w2"]


def scanned_gpt():
    """A stack of layers as arrays, run by `lax.scan`."""
    shapes = {n: (3, 8, 8) for n in "qkvo"}
    shapes |= {"w1": (3, 8, 16), "b1": (3, 16), "w2": (3, 16, 8)}
    params = {
        "embed": jnp.zeros((11, 8)),
        "blocks": {name: jnp.zeros(shape) for name, shape in shapes.items()},
        "head": jnp.zeros((8, 11)),
    }
    params = jax.tree.map(lambda leaf: 4 * leaf, varied(params))

    def fn(params, ids):
        def step(h, p):
            return _stacked_block(h, p), None

        h, _ = jax.lax.scan(step, params["embed"][ids], params["blocks"])
        return h @ params["head"]

    def by_hand(masks):
        h = params["embed"][IDS]
        for i in range(3):
            own = jax.tree.map(lambda leaf: leaf[i], params["blocks"])  # noqa: B023
            w1 = own["w2"] * masks["blocks/w1:post"][i][:, None]
            heads = jnp.repeat(masks["blocks/o:in"][i, :, 0], 4)[:, None]
            h = _stacked_block(h, {**own, "w2": w1, "o": own["o"] * heads})
        return h @ params["head"]

    shapes = {"blocks/o:in": (3, 2, 1), "blocks/w1:post": (3, 16)}
    return Model(fn, params, (IDS,), shapes, by_hand, {"blocks/o:in": (2, -1)})


MODELS = {
    "linen_cnn": linen_cnn,
    "linen_cnn_train": functools.partial(linen_cnn, train=True),
    "linen_transformer": linen_transformer,
    "linen_scan": linen_scan,
    "linen_scan_remat": functools.partial(linen_scan, remat=True),
    "nnx_cnn": nnx_cnn,
    "nnx_vit": nnx_vit,
    "nnx_scan": nnx_scan,
    "equinox_cnn": equinox_cnn,
    "equinox_transformer": equinox_transformer,
    "scanned_gpt": scanned_gpt,
}


@functools.cache
def model(name: str) -> Model:
    return MODELS[name]()


def masks(model: Model) -> dict[str, jax.Array]:
    """Random masks, others for every name."""
    return {
        name: jax.random.bernoulli(jax.random.fold_in(key(), i), 0.6, shape).astype(
            jnp.float32
        )
        for i, (name, shape) in enumerate(model.shapes.items())
    }
