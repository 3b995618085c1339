"""Models of Keras, Haiku, equimo and eqx-zoo as they are: masked by names as by hand.

By hand is what each library has for it: layers called one by one, `intercept_methods`,
`eqx.tree_at`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import peer_models
import pytest
from peer_models import IDS, key

import sparsejax as sj

ZOO = "needs the extra 'zoo'"
# Layers of these libraries mix dtypes, use keys twice, and warn of what is to come.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def as_users_have_it():
    with jax.numpy_dtype_promotion("standard"), jax.debug_key_reuse(False):
        yield


def check(fn, params, x, shapes, by_hand, views=None):
    """Masks of these shapes, by names and by hand."""
    masks = {
        name: jax.random.bernoulli(key(i), 0.6, shape).astype(jnp.float32)
        for i, (name, shape) in enumerate(shapes.items())
    }
    named = sj.named(fn, list(shapes), views=views)
    every = sj.masks.Masks(jax.tree.map(lambda leaf: jnp.ones(()), params), masks)
    apply = sj.masked(named)
    ours, plain, default = jax.jit(
        lambda p, m, x: (apply(p, m, x), fn(p, x), sj.named(fn)(p, x))
    )(params, every, x)
    np.testing.assert_array_equal(default, plain)
    np.testing.assert_allclose(ours, jax.jit(by_hand)(masks), rtol=0, atol=1e-5)
    assert np.abs(ours - plain).max() > 1e-3


def defaults(fn, params, x):
    return [p.name for p in sj.points(fn, params, x) if p.is_default]


# Keras


@pytest.fixture
def keras():
    return pytest.importorskip("keras", reason=ZOO)


def test_a_keras_convnet(keras):
    fn, params, x, model = peer_models.keras_cnn()
    layers = keras.layers

    def by_hand(masks):
        layer = model.get_layer
        h = jax.nn.relu(layer("bn")(layer("c0")(x))) * masks["c0:post"]
        h = layer("c1")(layers.MaxPooling2D()(h)) * masks["c1:post"]
        return layer("d")(layers.GlobalAveragePooling2D()(h))

    assert defaults(fn, params, x) == ["c0:post", "c1:post"]
    check(fn, params, x, {"c0:post": (8,), "c1:post": (12,)}, by_hand)


def test_a_keras_transformer(keras):
    fn, params, _, model = peer_models.keras_transformer()

    def attention(layer, a, heads):
        dense = (layer._query_dense, layer._key_dense, layer._value_dense)
        q, k, v = (own(a) for own in dense)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2.0
        scores = jnp.where(jnp.tril(jnp.ones((6, 6), bool)), scores, -1e30)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)
        return layer._output_dense(mixed * heads)

    def by_hand(masks):
        layer, one = model.get_layer, jnp.ones(())
        h = layer("embed")(IDS)
        for i in range(2):
            heads = masks.get(f"attn{i}/attention_output:in", one)
            h = h + attention(layer(f"attn{i}"), layer(f"ln{i}")(h), heads)
            hidden = layer(f"wi{i}")(layer(f"lm{i}")(h))
            h = h + layer(f"wo{i}")(hidden * masks.get(f"wi{i}:post", one))
        return layer("head")(h)

    shapes = {"attn0/attention_output:in": (2, 1), "wi1:post": (16,)}
    views = {"*attention_output:in": (2, -1)}
    check(fn, params, IDS, shapes, by_hand, views)


# Haiku


@pytest.fixture
def hk():
    return pytest.importorskip("haiku", reason=ZOO)


def intercepted(hk, f, before):
    """`f` with what modules read multiplied."""

    def multiply(call, args, kwargs, context):
        called = context.method_name == "__call__"
        mask = before.get(context.module.module_name) if called else None
        if mask is not None:
            args = (args[0] * mask, *args[1:])
        return call(*args, **kwargs)

    def run(x):
        with hk.intercept_methods(multiply):
            return f(x)

    return hk.without_apply_rng(hk.transform(run)).apply


def test_a_haiku_transformer(hk):
    fn, params, _, f = peer_models.haiku_transformer()

    def by_hand(masks):
        heads = jnp.repeat(masks["attn_0/linear:in"][:, 0], 4)
        hidden = masks["mlp_1/~/linear_0:post"]
        before = {"attn_0/linear": heads, "mlp_1/~/linear_1": hidden}
        return intercepted(hk, f, before)(params, IDS)

    shapes = {"attn_0/linear:in": (2, 1), "mlp_1/~/linear_0:post": (16,)}
    check(fn, params, IDS, shapes, by_hand, {"attn_?/linear:in": (2, -1)})


def test_a_haiku_convnet_with_channels_first(hk):
    fn, params, x, f = peer_models.haiku_cnn()
    assert defaults(fn, params, x) == ["c0:post", "c1:post"]

    def by_hand(masks):
        before = {"c1": masks["c0:post"][:, None, None]}
        return intercepted(hk, f, before)(params, x)

    check(fn, params, x, {"c0:post": (8,)}, by_hand)


# equimo and eqx-zoo: modules of Equinox


class Times(eqx.Module):
    """A layer with its input multiplied."""

    layer: eqx.Module
    before: jax.Array

    def __call__(self, x, **kwargs):
        return self.layer(x * self.before, **kwargs)  # pyright: ignore


def times(model, before):
    """A module with what its layers at some paths read multiplied."""

    def where(module):
        return [_at(module, path) for path in before]

    new = [Times(layer, m) for layer, m in zip(where(model), before.values())]
    return eqx.tree_at(where, model, new)


def _at(module, path):
    for part in path.split("/"):
        module = module[int(part)] if part.isdigit() else getattr(module, part)
    return module


def test_an_equimo_vision_transformer():
    pytest.importorskip("equimo", reason=ZOO)
    fn, params, x, (run, model) = peer_models.equimo_vit()
    names = [p.name for p in sj.points(fn, params, x)]
    heads = next(n for n in names if n.endswith("attn/proj:in"))
    hidden = [n for n in names if n.endswith("fc1:post")][-1]

    def by_hand(masks):
        before = {
            heads.removesuffix(":in"): jnp.repeat(masks[heads][:, 0], 8),
            hidden.replace("fc1:post", "fc2"): masks[hidden],
        }
        return run(times(model, before), x)

    check(fn, params, x, {heads: (2, 1), hidden: (64,)}, by_hand, {heads: (2, -1)})


@pytest.mark.parametrize("name", ["Qwen3ForCausalLM", "LlamaForCausalLM"])
def test_language_models_of_eqx_zoo(name):
    """Grouped queries, rotary positions, RMS norms, gated units, tied embeddings."""
    zoo = pytest.importorskip("eqx_zoo.models.causal_lm", reason=ZOO)
    config = zoo.Config(
        architecture=name, qk_norm=name[0] == "Q", vocab_size=23, hidden_size=16,
        intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-6, rope_theta=1e4,
        tie_word_embeddings=True, attention_bias=False, rope_scaling=None,
    )  # fmt: skip
    model = zoo.CausalLM(config, key=key())
    params, static = eqx.partition(model, eqx.is_array)
    ids = jax.random.randint(key(), (2, 5), 0, 23)

    def fn(params, ids):
        return jax.vmap(lambda i: eqx.combine(params, static)(i)[0])(ids)

    heads = "model/layers/0/self_attn/o_proj:in"
    hidden = "model/layers/1/mlp/down_proj:in"

    def by_hand(masks):
        before = {
            heads.removesuffix(":in"): jnp.repeat(masks[heads][:, 0], 8),
            hidden.removesuffix(":in"): masks[hidden],
        }
        return jax.vmap(lambda i: times(model, before)(i)[0])(ids)

    assert {heads, hidden} <= set(defaults(fn, params, ids))
    check(fn, params, ids, {heads: (4, 1), hidden: (24,)}, by_hand, {heads: (4, -1)})
