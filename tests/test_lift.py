"""Lifting: any JAX function, through any call, against the function written by hand."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax.masks import Masks


@jax.custom_jvp
def doubled(x):
    return checkpoint_name(2 * x, "doubled")


doubled.defjvp(lambda primals, tangents: (doubled(primals[0]), 100 * tangents[0]))


@jax.custom_vjp
def tripled(x):
    return checkpoint_name(3 * x, "tripled")


tripled.defvjp(lambda x: (tripled(x), None), lambda _, g: (100 * g,))


@jax.custom_jvp
def plain(x):
    return x * 1


plain.defjvp(lambda primals, tangents: (plain(primals[0]), 7 * tangents[0]))


def net(params, x):
    h = checkpoint_name(jax.nn.relu(x @ params["w"] + params["b"]), "hidden")
    h = tripled(doubled(h))
    h = jax.checkpoint(lambda h: checkpoint_name(jnp.sin(h), "sine"))(h)
    return jax.jit(lambda h: checkpoint_name(h + 1, "last"))(h)


def by_hand(params, x, masks=None, acts=None):
    def m(name, h):
        return h if masks is None else h * masks.get(name, 1.0)

    def keep(name, h):
        return acts.setdefault(name, h) if acts is not None else h

    h = keep("hidden", m("hidden", jax.nn.relu(x @ params["w"] + params["b"])))
    h = keep("doubled", m("doubled", 2 * h))
    h = keep("tripled", m("tripled", 3 * h))
    h = keep("sine", m("sine", jnp.sin(h)))
    return keep("last", m("last", h + 1))


@pytest.fixture
def params(rng):
    return {
        "w": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32),
        "b": jnp.asarray(rng.normal(size=3), jnp.float32),
    }


@pytest.fixture
def x(rng):
    return jnp.asarray(rng.normal(size=(5, 4)), jnp.float32)


@pytest.fixture
def masks(params, rng):
    m = sj.masks.ones(net, params, jnp.zeros((5, 4)))

    def draw(leaf):
        return (
            jnp.asarray(rng.integers(0, 2, leaf.shape), leaf.dtype)
            if leaf.ndim
            else leaf
        )

    return jax.tree.map(draw, m)


def test_activations_reach_through_every_kind_of_call(params, x):
    out, acts = sj.activations(net)(params, x)
    expected = {}
    np.testing.assert_allclose(out, by_hand(params, x, acts=expected), rtol=1e-6)
    assert list(acts) == ["hidden", "doubled", "tripled", "sine", "last"]
    for name, value in expected.items():
        np.testing.assert_allclose(acts[name], value, rtol=1e-6)


@pytest.mark.defaults
def test_masks_equal_the_function_written_with_masks(params, x, masks):
    masked_params = {"w": params["w"] * masks.weights["w"], "b": params["b"]}
    expected = by_hand(masked_params, x, masks.nodes)
    apply = sj.masked(net)
    np.testing.assert_allclose(apply(params, masks, x), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(apply)(params, masks, x), expected, rtol=1e-6)
    one_by_one = jax.vmap(apply, (None, None, 0))(params, masks, x)
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-6)


def test_masks_of_ones_change_nothing(params, x):
    masks = sj.masks.ones(net, params, x)
    out = sj.masked(net)(params, masks, x)
    np.testing.assert_array_equal(out, net(params, x))


def test_vmap_over_masks(params, x, masks):
    other = jax.tree.map(lambda m: 1 - m if m.ndim else m, masks)
    stacked = jax.tree.map(lambda *m: jnp.stack(m), masks, other)
    apply = sj.masked(net)
    both = jax.vmap(apply, (None, 0, None))(params, stacked, x)
    np.testing.assert_allclose(both[0], apply(params, masks, x), rtol=1e-6)
    np.testing.assert_allclose(both[1], apply(params, other, x), rtol=1e-6)


@pytest.mark.defaults
def test_gradients_with_respect_to_masks_and_params(params, x, masks):
    apply = sj.masked(net)
    lifted = jax.grad(lambda p, m: apply(p, m, x).sum(), argnums=(0, 1))(params, masks)

    def direct(params, masks):
        params = {"w": params["w"] * masks.weights["w"], "b": params["b"]}
        return by_hand(params, x, masks.nodes).sum()

    expected = jax.grad(direct, argnums=(0, 1))(params, masks)

    def close(a, b):
        return np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    jax.tree.map(close, lifted[0], expected[0])
    close(lifted[1].weights["w"], expected[1].weights["w"])
    jax.tree.map(close, lifted[1].nodes, expected[1].nodes)


def test_a_custom_rule_without_names_inside_is_kept(x):
    def fn(scale, x):
        return checkpoint_name(plain(x * scale), "h").sum()

    edited = sj.edit(fn, {"h": lambda h: 2 * h})
    scale = jnp.float32(1.0)
    np.testing.assert_allclose(jax.grad(edited)(scale, x), 14 * x.sum(), rtol=1e-5)


def test_a_custom_rule_around_a_name_gives_way_only_when_asked_for(x):
    def fn(scale, x):
        return checkpoint_name(doubled(x * scale), "h").sum()

    def keep(h):
        return h

    scale, total = jnp.float32(1.0), x.sum()
    outside = jax.grad(sj.edit(fn, {"h": keep}))(scale, x)
    np.testing.assert_allclose(outside, 100 * total, rtol=1e-5)
    inside = jax.grad(sj.edit(fn, {"doubled": keep}))(scale, x)
    np.testing.assert_allclose(inside, 2 * total, rtol=1e-5)


def test_lifts_compose(params, x, masks):
    bound = sj.bind(sj.masked(net), masks)
    _, acts = sj.activations(bound, ["hidden"])(params, x)
    weights = {"w": params["w"] * masks.weights["w"], "b": params["b"]}
    expected = {}
    by_hand(weights, x, masks.nodes, expected)
    np.testing.assert_allclose(acts["hidden"], expected["hidden"], rtol=1e-6)
    added = sj.edit(bound, {"last": lambda h: h + 1})(params, x)
    plain_sum = by_hand(weights, x, masks.nodes) + 1
    np.testing.assert_allclose(added, plain_sum, rtol=1e-6)


def test_remat_still_saves_only_what_its_policy_says(params, x):
    jaxpr = jax.make_jaxpr(sj.edit(net, {"sine": lambda h: h}))(params, x)
    assert "remat" in str(jaxpr) or "checkpoint" in str(jaxpr)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = checkpoint_name(nn.relu(nn.Dense(6, name="one")(x)), "hidden_0")
        return nn.Dense(2, name="two")(h)


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.one, self.two = nnx.Linear(4, 6, rngs=rngs), nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, x):
        return self.two(checkpoint_name(nnx.relu(self.one(x)), "hidden_0"))


class Equinox(eqx.Module):
    one: eqx.nn.Linear
    two: eqx.nn.Linear

    def __call__(self, x):
        return self.two(checkpoint_name(jax.nn.relu(self.one(x)), "hidden_0"))


def linen():
    module = Linen()
    return module.apply, module.init(jax.random.key(0), jnp.zeros((1, 4)))


def nnx_split():
    graph, params, rest = nnx.split(Nnx(nnx.Rngs(0)), nnx.Param, ...)
    return lambda params, x: nnx.merge(graph, params, rest)(x), params


def equinox():
    keys = jax.random.split(jax.random.key(0))
    model = Equinox(eqx.nn.Linear(4, 6, key=keys[0]), eqx.nn.Linear(6, 2, key=keys[1]))
    params, static = eqx.partition(model, eqx.is_array)
    return lambda params, x: eqx.combine(params, static)(x), params


@pytest.mark.parametrize("make", [linen, nnx_split, equinox])
def test_libraries(make, rng):
    fn, params = make()
    x = jnp.asarray(rng.normal(size=(5, 4)), jnp.float32)
    example = x[0]
    masks = sj.masks.ones(fn, params, example)
    assert sorted(sj.masks.sizes(masks.weights).values()) == [12, 24]
    assert masks.nodes["hidden_0"].shape == (6,)
    apply = sj.masked(fn)
    batched = jax.jit(jax.vmap(apply, (None, None, 0)))
    np.testing.assert_allclose(
        batched(params, masks, x), jax.vmap(fn, (None, 0))(params, x), rtol=1e-6
    )
    off = masks._replace(nodes={"hidden_0": jnp.zeros(6)})
    zero_in = sj.edit(fn, {"hidden_0": jnp.zeros_like})(params, example)
    np.testing.assert_allclose(apply(params, off, example), zero_in, rtol=1e-6)
    grads = jax.grad(lambda m: batched(params, m, x).sum())(masks)
    assert jax.tree.structure(grads) == jax.tree.structure(masks)


def test_inside_a_vmap_of_its_own_the_last_axis_can_be_the_batch(rng):
    # kernel @ x under vmap: the batch comes last, and the mask does not fit.
    w = jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)

    def one(w, x):
        return checkpoint_name(w @ x, "hidden_0")

    x = jnp.asarray(rng.normal(size=(5, 4)), jnp.float32)

    def many(w, x):
        return jax.vmap(one, (None, 0), 1)(w, x)

    masks = Masks(jnp.ones(()), {"hidden_0": jnp.ones(6)})
    with pytest.raises(ValueError, match="vmap outside"):
        sj.masked(many)(w, masks, x)
    lifted_first = jax.vmap(sj.masked(one), (None, None, 0))(w, masks, x)
    np.testing.assert_allclose(lifted_first, x @ w.T, rtol=1e-5)


def looped(params, x):
    def step(h):
        return checkpoint_name(jnp.tanh(h @ params), "inside")

    h = jax.lax.while_loop(lambda h: (h > 0.5).all(), step, x)
    return checkpoint_name(checkpoint_name(h, "twice") + 1, "twice") * 2


def branched(params, x):
    return jax.lax.cond(
        x.sum() > 0, lambda h: checkpoint_name(h @ params, "inside"), jnp.negative, x
    )


def test_bad_names(rng):
    w = jnp.asarray(rng.normal(size=(4, 4)), jnp.float32)
    x = jnp.ones((2, 4))
    for fn, kind in ((looped, "while"), (branched, "cond")):
        says = f"'inside' at .*test_lift.* inside a '{kind}', where there may be none"
        with pytest.raises(ValueError, match=says):
            sj.activations(fn, ["inside"])(w, x)
        with pytest.raises(ValueError, match=says):
            sj.masked(fn)(w, Masks(jnp.ones(()), {"inside": jnp.ones(4)}), x)
    with pytest.raises(ValueError, match="no activation 'nope'; it names 'inside', 't"):
        sj.activations(looped, ["nope"])(w, x)
    with pytest.raises(ValueError, match=r'checkpoint_name\(h, "hidden_0"\)'):
        sj.activations(lambda w, x: x @ w)(w, x)
    # What nobody asks for does not get in the way.
    masks = sj.masks.ones(looped, w, x)
    assert list(masks.nodes) == ["twice", "twice#2"]
    np.testing.assert_allclose(sj.masked(looped)(w, masks, x), looped(w, x))


def test_bad_masks(params, x, masks):
    apply = sj.masked(net)
    wrong = masks._replace(nodes={"hidden": jnp.ones(7)})
    with pytest.raises(ValueError, match=r"nodes\['hidden'\] has shape \(7,\)"):
        apply(params, wrong, x)
    with pytest.raises(ValueError, match="no activation 'hiden'"):
        apply(params, masks._replace(nodes={"hiden": jnp.ones(3)}), x)
    turned = masks._replace(weights={"w": jnp.ones((3, 4)), "b": jnp.ones(())})
    with pytest.raises(ValueError, match=r"mask of 'w' has shape \(3, 4\)"):
        apply(params, turned, x)
    with pytest.raises(ValueError, match="missing: 'b'"):
        apply(params, masks._replace(weights={"w": jnp.ones((4, 3))}), x)
    with pytest.raises(ValueError, match=r"wrap .* as Masks\(tree, \{\}\)"):
        apply(params, masks.weights, x)
    with pytest.raises(ValueError, match="edit of 'last' returned"):
        sj.edit(net, {"last": lambda h: h[:, :1]})(params, x)
