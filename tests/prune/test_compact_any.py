"""Any function without its masked units is smaller and computes the same."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.ad_checkpoint import checkpoint_name as name

import sparsejax as sj
from sparsejax import prune


def array(rng, *shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def off(fn, params, x, **units):
    """Masks that remove those units of the activations."""
    masks = sj.masks.ones(fn, params, x)
    for key, gone in units.items():
        masks.nodes[key] = masks.nodes[key].at[jnp.asarray(gone)].set(0)
    return masks


def check(fn, params, masks, *args):
    """Compact, equal to the masked function and to gradients of what stays."""
    small = prune.compact(fn, params, masks, *args)
    if masks is None:
        masks = sj.masks.Masks(jax.tree.map(lambda _: jnp.ones(()), params), {})
    both = jax.jit(lambda p, q, *a: (sj.masked(fn)(p, masks, *a), small.fn(q, *a)))
    expected, result = both(params, small.params, *args)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
    assert jax.tree.structure(small.params) == jax.tree.structure(params)
    count = sum(leaf.size for leaf in jax.tree.leaves(small.params))
    assert count == small.report.after <= small.report.before
    return small


def shapes(tree):
    return {k: v.shape for k, v in sj.trees.by_path(tree).items()}


def conv(x, kernel, stride=1, groups=1):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
    )  # fmt: skip


def norm(x, p):
    scale = p["scale"] * jax.lax.rsqrt(p["var"] + 1e-5)
    return (x - p["mean"]) * scale + p["bias"]


def norms(rng, units):
    names = ("scale", "bias", "mean")
    return {key: array(rng, units) for key in names} | {"var": jnp.ones(units) * 2}


def test_mlp_with_names_and_weights(rng):
    params = {"a": array(rng, 5, 6), "b": array(rng, 6), "c": array(rng, 6, 3)}

    def fn(p, x):
        return name(jax.nn.relu(x @ p["a"] + p["b"]), "h") @ p["c"]

    x = array(rng, 4, 5)
    masks = off(fn, params, x, h=[0, 4])
    masks.weights["c"] = masks.weights["c"].at[2].set(0)  # nothing reads it
    masks.weights["a"] = masks.weights["a"].at[:, 5].set(0)
    params["b"] = params["b"].at[5].set(-1)  # always zero
    small = check(fn, params, masks, x)
    assert shapes(small.params) == {"a": (5, 2), "b": (2,), "c": (2, 3)}
    assert small.report.kept["h"].tolist() == [1, 3] and small.report.own == ""
    (group,) = small.report.groups
    assert (group.units, group.kept, group.names) == (6, 2, ("h",))
    assert group.axes == ("a[1]", "b[0]", "c[0]")
    assert "57 parameters, 18 stay" not in str(small.report)
    assert f"{30 + 6 + 18} parameters, {10 + 2 + 6} stay" in str(small.report)


def test_a_constant_unit_goes_into_the_bias(rng):
    params = {"a": array(rng, 5, 6), "b": array(rng, 6) + 3,
              "c": array(rng, 6, 3), "d": array(rng, 3)}  # fmt: skip

    def fn(p, x):
        return name(jax.nn.relu(x @ p["a"] + p["b"]), "h") @ p["c"] + p["d"]

    params["a"] = params["a"].at[:, 1].set(0)
    x = array(rng, 4, 5)
    idle = prune.idle(fn, params, None, x)["h"]
    assert idle.constant.tolist() == [False, True] + [False] * 4
    assert not idle.unread.any()
    small = check(fn, params, None, x)
    assert shapes(small.params) == {"a": (5, 5), "b": (5,), "c": (5, 3), "d": (3,)}


def test_a_constant_that_no_bias_takes_stays_with_a_note(rng):
    params = {"a": array(rng, 5, 6), "b": array(rng, 6) + 3, "c": array(rng, 6, 3)}

    def fn(p, x):
        return name(jax.nn.relu(x @ p["a"] + p["b"]), "h") @ p["c"]

    params["a"] = params["a"].at[:, 1].set(0)
    small = check(fn, params, None, array(rng, 4, 5))
    assert small.report.after == small.report.before
    assert "constant units of 'h' stay" in str(small.report)


def convnet(rng):
    params = {
        "conv_0": array(rng, 3, 3, 2, 4), "bn_0": norms(rng, 4),
        "conv_1": array(rng, 3, 3, 4, 6), "bn_1": norms(rng, 6),
        "dense": array(rng, 4 * 4 * 6, 5), "bias": array(rng, 5),
    }  # fmt: skip

    def fn(p, x):
        h = name(jax.nn.relu(norm(conv(x, p["conv_0"]), p["bn_0"])), "h0")
        h = jax.lax.reduce_window(
            h, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        )
        h = name(jax.nn.relu(norm(conv(h, p["conv_1"]), p["bn_1"])), "h1")
        return h.reshape(len(x), -1) @ p["dense"] + p["bias"]

    return fn, params, array(rng, 2, 8, 8, 2)


def test_convnet_with_batch_norm_and_flatten(rng):
    fn, params, x = convnet(rng)
    small = check(fn, params, off(fn, params, x, h0=[0, 3], h1=[1, 2, 5]), x)
    assert shapes(small.params) == {
        "bias": (5,), "bn_0/bias": (2,), "bn_0/mean": (2,), "bn_0/scale": (2,),
        "bn_0/var": (2,), "bn_1/bias": (3,), "bn_1/mean": (3,), "bn_1/scale": (3,),
        "bn_1/var": (3,), "conv_0": (3, 3, 2, 2), "conv_1": (3, 3, 2, 3),
        "dense": (48, 5),
    }  # fmt: skip
    assert small.report.own == ""


def test_other_batches_and_derivatives(rng):
    """One at a time, compiled, and with the derivatives of the function itself."""
    fn, params, x = convnet(rng)
    small = prune.compact(fn, params, off(fn, params, x, h0=[0], h1=[2]), x)
    more = jnp.concatenate([x, x + 1, x])

    @jax.jit
    def of_two(params, x):
        alone = jax.vmap(lambda x: small.fn(params, x[None])[0])(x)
        grads = [jax.grad(lambda p, f=f: f(p, x).sum())(params) for f in (small.fn, fn)]
        return [alone, small.fn(params, x), fn(params, x)], grads

    values, grads = of_two(small.params, more)
    for value in values[:2]:
        np.testing.assert_allclose(value, values[2], atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), *grads)


def test_dead_channels_before_batch_norm(rng):
    """A channel that batch norm shifts below zero is zero behind the relu."""
    fn, params, x = convnet(rng)
    params["bn_0"] |= {
        "scale": params["bn_0"]["scale"].at[:2].set(0),
        "bias": params["bn_0"]["bias"].at[:2].set(jnp.array([-1.0, 1.0])),
    }
    small = check(fn, params, None, x)
    assert small.report.kept["h0"].tolist() == [1, 2, 3]
    assert small.params["conv_1"].shape == (3, 3, 3, 6)


def block(rng):
    params = {
        "stem": array(rng, 3, 3, 3, 4), "conv_0": array(rng, 3, 3, 4, 6),
        "bn_0": norms(rng, 6), "conv_1": array(rng, 3, 3, 6, 4), "bn_1": norms(rng, 4),
        "head": array(rng, 4, 5),
    }  # fmt: skip

    def fn(p, x):
        stream = name(jax.nn.relu(conv(x, p["stem"])), "stem")
        h = name(jax.nn.relu(norm(conv(stream, p["conv_0"]), p["bn_0"])), "inside")
        h = name(norm(conv(h, p["conv_1"]), p["bn_1"]), "branch")
        out = name(jax.nn.relu(stream + h), "sum")
        return out.mean((1, 2)) @ p["head"]

    return fn, params, array(rng, 2, 6, 6, 3)


def test_residual_sums_go_only_together(rng):
    fn, params, x = block(rng)
    masks = off(fn, params, x, inside=[0, 1], stem=[2, 3], branch=[3], sum=[3])
    small = check(fn, params, masks, x)
    assert small.report.kept["inside"].tolist() == [2, 3, 4, 5]
    assert small.report.kept["sum"].tolist() == [0, 1, 2]  # 2 is in the branch still
    assert small.params["stem"].shape == (3, 3, 3, 3)
    assert small.params["conv_1"].shape == (3, 3, 4, 3)
    (said,) = [group.reason for group in small.report.groups if "stem" in group.names]
    assert said.startswith("1 masked stay: ") and "test_compact_any.py:" in said
    assert "differs by" in small.report.own  # fn has no mask


def test_relu_keeps_its_derivative(rng):
    params = {"a": array(rng, 3, 4), "b": array(rng, 4, 1)}

    def fn(p, x):
        return name(jax.nn.relu(x @ p["a"]), "h") @ p["b"] + x[:, :1]

    x = array(rng, 2, 3)
    small = check(fn, params, off(fn, params, x, h=[1]), x)
    slopes = jax.grad(lambda x: small.fn(small.params, x).sum())(jnp.zeros((2, 3)))
    assert slopes.tolist() == [[1, 0, 0]] * 2  # those of a maximum are a half


def test_concatenation_as_in_densenets(rng):
    params = {"a": array(rng, 3, 3, 2, 4), "b": array(rng, 3, 3, 6, 3),
              "bn": norms(rng, 9), "c": array(rng, 9, 5)}  # fmt: skip

    def fn(p, x):
        h = name(jax.nn.relu(conv(x, p["a"])), "h0")
        x = jnp.concatenate([x, h], axis=-1)
        h = name(jax.nn.relu(conv(x, p["b"])), "h1")
        x = jnp.concatenate([x, h], axis=-1)
        return (
            jnp.tanh(norm(x, p["bn"])).mean((1, 2)) @ p["c"] + x.mean((1, 2)) @ p["c"]
        )

    x = array(rng, 2, 5, 5, 2)
    masks = off(fn, params, x, h0=[1, 2], h1=[0])
    whole = check(fn, params, masks, x)  # batch norm makes them constants, not zeros
    assert whole.report.after == whole.report.before
    params["bn"] |= {key: jnp.zeros(9) for key in ("bias", "mean")}
    small = check(fn, params, masks, x)
    assert shapes(small.params) == {
        "a": (3, 3, 2, 2), "b": (3, 3, 4, 2), "bn/bias": (6,), "bn/mean": (6,),
        "bn/scale": (6,), "bn/var": (6,), "c": (6, 5),
    }  # fmt: skip


@pytest.mark.parametrize("groups, gone", [(6, [0, 5]), (3, [2, 3]), (1, [1])])
def test_grouped_and_depthwise_convolutions(groups, gone, rng):
    params = {"a": array(rng, 3, 6), "b": array(rng, 3, 3, 6 // groups, 12),
              "c": array(rng, 12, 4)}  # fmt: skip

    def fn(p, x):
        h = name(jax.nn.relu(x @ p["a"]), "h")
        h = name(jax.nn.relu(conv(h, p["b"], groups=groups)), "g")
        return h.mean((1, 2)) @ p["c"]

    x = array(rng, 2, 4, 4, 3)
    out = [unit for unit in range(12) if unit * groups // 12 in
           {group * groups // 6 for group in gone}]  # fmt: skip
    out = out if groups > 1 else [0, 7]
    small = check(fn, params, off(fn, params, x, h=gone, g=out), x)
    left = 6 - len(gone)
    assert small.params["a"].shape == (3, left)
    width = {6: 1, 3: 2, 1: 5}[groups]
    assert small.params["b"].shape == (3, 3, width, 12 - len(out))
    assert small.params["c"].shape == (12 - len(out), 4)


def test_a_part_of_a_group_of_a_convolution_stays(rng):
    params = {"a": array(rng, 3, 6), "b": array(rng, 3, 3, 2, 6)}

    def fn(p, x):
        h = name(x @ p["a"], "h")
        return conv(h, p["b"], groups=3).mean((1, 2))

    x = array(rng, 2, 4, 4, 3)
    small = check(fn, params, off(fn, params, x, h=[2]), x)
    assert small.report.after == small.report.before
    small = check(fn, params, off(fn, params, x, h=[0, 2, 4]), x)  # one of every group
    assert shapes(small.params) == {"a": (3, 3), "b": (3, 3, 1, 6)}


def attention(rng, merged):
    heads, size, width = 4, 3, 5
    inner = (heads * size,) if merged else (heads, size)
    params = {key: array(rng, width, *inner) for key in "qkv"}
    params |= {"out": array(rng, *inner, width)}

    def fn(p, x):
        q, k, v = (
            jnp.tensordot(x, p[key], 1).reshape(*x.shape[:2], -1, size) for key in "qkv"
        )
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.float32(3**0.5)
        z = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)
        z = jnp.moveaxis(name(jnp.moveaxis(z, 2, -1), "heads"), -1, 2)
        z = z.reshape(*x.shape[:2], -1) if merged else z
        return x + jnp.tensordot(z, p["out"], len(inner))

    return fn, params, array(rng, 2, 6, width)


@pytest.mark.parametrize("merged", [True, False])
def test_attention_heads(merged, rng):
    fn, params, x = attention(rng, merged)
    small = check(fn, params, off(fn, params, x, heads=[0, 2]), x)
    inner = (6,) if merged else (2, 3)
    for key in "qkv":
        assert small.params[key].shape == (5, *inner)
    assert small.params["out"].shape == (*inner, 5)
    assert small.report.own == ""


def test_weights_alone_remove_heads_and_their_dimensions(rng):
    fn, params, x = attention(rng, False)
    params["out"] = params["out"].at[1].set(0)  # nobody reads head 1
    params["q"] = params["q"].at[:, :, 2].set(0)  # nor this in any score
    small = check(fn, params, None, x)
    assert small.params["q"].shape == (5, 3, 2) == small.params["k"].shape
    assert small.params["v"].shape == (5, 3, 3)


def test_norms_over_units_keep_them(rng):
    params = {"a": array(rng, 5, 6), "c": array(rng, 6, 3)}

    def fn(p, x):
        h = name(jax.nn.relu(x @ p["a"]), "h")
        return jax.nn.standardize(h) @ p["c"]

    x = array(rng, 4, 5)
    small = check(fn, params, off(fn, params, x, h=[0, 4]), x)
    assert small.report.after == small.report.before
    (group,) = small.report.groups
    assert group.reason.startswith("2 masked stay: ")
    assert "reads it, where it is not zero" in group.reason


def test_a_mean_over_units_is_that_of_all(rng):
    """The program's count stays; that of fn itself is another one."""
    params = {"a": array(rng, 5, 6)}

    def fn(p, x):
        return name(jax.nn.relu(x @ p["a"]), "h").mean(-1)

    x = array(rng, 4, 5)
    small = check(fn, params, off(fn, params, x, h=[0, 4]), x)
    assert small.params["a"].shape == (5, 4) and "differs" in small.report.own


def test_embedding_and_loop(rng):
    params = {"embed": array(rng, 7, 5), "w": array(rng, 5, 4), "r": array(rng, 4, 4),
              "out": array(rng, 4, 5)}  # fmt: skip

    def fn(p, ids):
        x = name(p["embed"][ids], "tokens")

        def step(h, x):
            h = jnp.tanh(x @ p["w"] + h @ p["r"])
            return h, h

        _, hs = jax.lax.scan(step, jnp.zeros((len(ids), 4)), jnp.moveaxis(x, 1, 0))
        return name(hs, "states") @ p["out"]

    ids = jnp.asarray(rng.integers(0, 7, (2, 3)))
    masks = off(fn, params, ids, tokens=[1, 3])
    masks.weights["w"] = masks.weights["w"].at[:, 2].set(0)
    masks.weights["r"] = masks.weights["r"].at[:, 2].set(0)
    small = check(fn, params, masks, ids)
    assert shapes(small.params) == {
        "embed": (7, 3), "out": (3, 5), "r": (3, 3), "w": (3, 3)
    }  # fmt: skip


class Net(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.GroupNorm
    more: eqx.nn.Conv2d
    dense: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.conv = eqx.nn.Conv2d(2, 6, 3, key=keys[0])
        self.norm = eqx.nn.GroupNorm(3, 6)
        self.more = eqx.nn.Conv2d(6, 4, 3, key=keys[1])
        self.dense = eqx.nn.Linear(4 * 2 * 2, 3, key=keys[2])

    def __call__(self, x):
        h = jax.nn.relu(self.norm(self.conv(x)))
        h = jnp.moveaxis(name(jnp.moveaxis(h, 0, -1), "h0"), -1, 0)
        h = jax.nn.relu(self.more(h))
        h = jnp.moveaxis(name(jnp.moveaxis(h, 0, -1), "h1"), -1, 0)
        return self.dense(h.reshape(-1))


def test_equinox_with_channels_first(rng):
    net = eqx.filter_eval_shape(Net, jax.random.key(0))
    params, static = eqx.partition(net, lambda a: isinstance(a, jax.ShapeDtypeStruct))
    params = jax.tree.map(lambda leaf: array(rng, *leaf.shape), params)

    def fn(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    x = array(rng, 2, 2, 6, 6)
    masks = sj.masks.Masks(
        jax.tree.map(lambda _: jnp.ones(()), params),
        {"h0": jnp.array([0.0, 0, 1, 0, 1, 1]), "h1": jnp.array([1.0, 0, 1, 0])},
    )
    small = check(fn, params, masks, x)
    assert small.report.kept["h0"].tolist() == [2, 3, 4, 5]  # of the norm's groups
    assert small.params.conv.weight.shape == (4, 2, 3, 3)
    assert small.params.more.weight.shape == (2, 4, 3, 3)
    assert small.params.dense.weight.shape == (3, 8)


def test_linen_says_that_it_knows_its_sizes_better(rng):
    class Dense(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            h = name(nn.relu(nn.Dense(self.width)(x)), "h")
            return nn.Dense(3)(h)

    x, model = array(rng, 4, 5), Dense(6)
    params = model.init(jax.random.key(0), x)
    small = check(model.apply, params, off(model.apply, params, x, h=[0, 4]), x)
    assert "Dense_0" in small.report.own and "use the returned fn" in str(small.report)
    narrow = Dense(len(small.report.kept["h"])).apply(small.params, x)
    assert isinstance(narrow, jax.Array)
    np.testing.assert_allclose(narrow, small.fn(small.params, x), atol=1e-6)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        attention = nn.MultiHeadDotProductAttention(4, name="attention")
        h = x + attention(nn.LayerNorm()(x))
        return h + nn.Dense(8)(nn.gelu(nn.Dense(12, name="wide")(h))), None


@pytest.mark.slow
def test_flax_attention_in_a_rematerialized_loop_without_names(rng):
    """What no layer of a stack reads goes in all of them."""
    blocks = nn.scan(
        nn.remat(Block), variable_axes={"params": 0}, split_rngs={"params": True},
        length=3,
    )()  # fmt: skip
    x = array(rng, 2, 5, 8)
    params = blocks.init(jax.random.key(0), x, None)["params"]
    out = params["attention"]["out"]
    out["kernel"] = out["kernel"].at[:, 1].set(0).at[0, 2].set(0)
    params["Dense_0"]["kernel"] = params["Dense_0"]["kernel"].at[:, 3:6].set(0)

    def fn(p, x):
        return blocks.apply({"params": p}, x, None)[0]

    small = check(fn, params, None, x)
    assert small.params["attention"]["query"]["kernel"].shape == (3, 8, 3, 2)
    assert small.params["wide"]["kernel"].shape == (3, 8, 9)
    grads = jax.jit(jax.grad(lambda p: small.fn(p, x).sum()))(small.params)
    assert shapes(grads) == shapes(small.params)


def test_all_units_of_a_branch_may_go(rng):
    fn, params, x = block(rng)
    small = check(fn, params, off(fn, params, x, inside=range(6)), x)
    assert small.params["conv_0"].shape == (3, 3, 4, 0)
    assert small.params["conv_1"].shape == (3, 3, 0, 4)


def test_axes_of_masks_of_heads(rng):
    """A mask broadcasts from the right: (heads, 1) on (..., heads, size)."""
    params = {"a": array(rng, 5, 4, 3), "b": array(rng, 4, 3, 2)}

    def fn(p, x):
        return jnp.tensordot(name(jnp.tensordot(x, p["a"], 1), "h"), p["b"], 2)

    x = array(rng, 2, 5)
    bits = jnp.array([1.0, 0, 1, 0])[:, None]
    masks = sj.masks.Masks(jax.tree.map(lambda _: jnp.ones(()), params), {"h": bits})
    small = prune.compact(fn, params, masks, x)
    assert shapes(small.params) == {"a": (5, 2, 3), "b": (2, 3, 2)}
    params["a"] = params["a"] * bits
    expected = fn(params, x)
    np.testing.assert_allclose(small.fn(small.params, x), expected, atol=1e-6)


@pytest.mark.parametrize("masked", [True, False])
def test_a_count_by_hand(masked, rng):
    """Every single unit of an MLP: kernels lose a column, a row, and a bias."""
    sizes = (3, 5, 4, 2)
    params = [
        (array(rng, a, b), array(rng, b))
        for a, b in zip(sizes, sizes[1:], strict=False)
    ]

    def fn(p, x):
        for i, (kernel, bias) in enumerate(p[:-1]):
            x = name(jnp.tanh(x @ kernel + bias), f"h{i}")
        return x @ p[-1][0] + p[-1][1]

    x = array(rng, 4, 3)
    bits = {f"h{i}": rng.random(n) < 0.5 for i, n in enumerate(sizes[1:-1])}
    masks = off(fn, params, x, **{k: np.flatnonzero(~v) for k, v in bits.items()})
    if not masked:
        weights = [[w, b] for w, b in masks.weights]
        for i, units in enumerate(bits.values()):
            weights[i + 1][0] = weights[i + 1][0] * units[:, None].astype(np.float32)
        masks = sj.masks.Masks([tuple(pair) for pair in weights], {})
    small = check(fn, params, masks, x)
    widths = (3, *(int(v.sum()) for v in bits.values()), 2)
    pairs = zip(widths, widths[1:], strict=False)
    assert small.report.after == sum(a * b + b for a, b in pairs)


OPS = st.lists(
    st.sampled_from("dense norm sum concat gate split turn".split()),
    min_size=2,
    max_size=5,
)


@settings(max_examples=6, deadline=None)
@given(ops=OPS, seed=st.integers(0, 10**6))
def test_random_graphs_stay_equal(ops, seed):
    rng = np.random.default_rng(seed)
    params, x = {}, array(rng, 3, 4)

    def fn(p, x, make=False):
        def weight(key, *shape):
            if make:
                p[key] = array(rng, *shape)
            return p[key]

        values = [jax.nn.relu(x @ weight("first", 4, 6))]
        for i, op in enumerate(ops):
            h = name(values[-1], f"h{i}")
            width = h.shape[-1]
            if op == "dense":
                h = jax.nn.relu(h @ weight(f"w{i}", width, 6))
            elif op == "norm":
                h = (h - weight(f"m{i}", width)) * weight(f"s{i}", width)
            elif op == "sum":
                h = h + values[0] @ weight(f"w{i}", 6, width)
            elif op == "concat":
                h = jnp.concatenate([h, values[0]], -1)
            elif op == "gate":
                h = h * jax.nn.sigmoid(values[0] @ weight(f"w{i}", 6, width))
            elif op == "split":
                a, b = jnp.split(h, 2, -1)
                h = a * b + a if width % 4 else jnp.tanh(a) + b
            else:
                h = h.reshape(3, -1, 2).swapaxes(1, 2).reshape(3, -1)
            values.append(h)
            if h.shape[-1] % 2:
                break
        return values[-1] @ weight("last", values[-1].shape[-1], 2)

    fn(params, x, make=True)
    masks = sj.masks.ones(fn, params, x)
    drawn = sj.masks.bernoulli(jax.random.key(seed), masks.nodes, 0.6)
    gone = [masks.weights[k].at[rng.integers(0, len(v), 2)].set(0) if v.ndim else v
            for k, v in masks.weights.items()]  # fmt: skip
    masks = sj.masks.Masks(dict(zip(masks.weights, gone, strict=True)), drawn)
    small = prune.compact(fn, params, masks, x)  # compares by itself
    assert small.report.after <= small.report.before


def test_inputs_of_other_shapes_that_change_the_program(rng):
    params = {"a": array(rng, 5, 6), "b": array(rng, 6, 3)}

    def fn(p, x):
        h = name(jax.nn.relu(x @ p["a"]), "h")
        return (h if len(x) > 2 else jnp.tanh(h)) @ p["b"]

    x = array(rng, 4, 5)
    small = check(fn, params, off(fn, params, x, h=[0]), x)
    with pytest.raises(ValueError, match="other steps for inputs of these shapes"):
        small.fn(small.params, x[:2])
    with pytest.raises(ValueError, match=r"'a' has shape \(5, 6\); expected \(5, 5\)"):
        small.fn(params, x)


def test_values_are_needed(rng):
    params = {"a": array(rng, 5, 6)}

    def fn(p, x):
        return x @ p["a"]

    x = array(rng, 4, 5)
    with pytest.raises(ValueError, match="need values, but jit or vmap traces 'a'"):
        jax.jit(lambda p: prune.compact(fn, p, None, x).params)(params)
    with pytest.raises(ValueError, match=r"expected Masks\(weights, nodes\)"):
        prune.compact(fn, params, {"h": jnp.ones(3)}, x)
    with pytest.raises(ValueError, match=r"\(3,\); expected .* broadcasts to \(4, 6\)"):
        masks = sj.masks.Masks({"a": 1.0}, {"h": jnp.ones(3)})
        prune.compact(lambda p, x: name(fn(p, x), "h"), params, masks, x)
    with pytest.raises(ValueError, match="fn names no activations"):
        prune.compact(fn, params, sj.masks.Masks({"a": 1.0}, {"h": jnp.ones(3)}), x)


@pytest.mark.parametrize("steps, smaller", [([0, 1, 2], True), ([1], False)])
def test_masks_inside_a_loop(rng, steps, smaller):
    """Units go that no step needs; where some steps need them, masks stay."""

    def fn(params, x):
        def step(h, p):
            return h + name(jnp.tanh(h @ p["a"]), "h") @ p["b"], None

        return jax.lax.scan(step, x, params)[0]

    params = {"a": array(rng, 3, 4, 5), "b": array(rng, 3, 5, 4)}
    x = array(rng, 2, 4)
    masks = sj.masks.ones(fn, params, x)
    masks.nodes["h"] = masks.nodes["h"].at[jnp.array(steps), 1].set(0)
    small = check(fn, params, masks, x)
    assert small.params["a"].shape == (3, 4, 4 if smaller else 5)
    masks.nodes["h"] = jnp.ones((2, 5))
    with pytest.raises(
        ValueError, match=r"a loop of 3 steps; .* \(3, 5\), or \(1, 5\)"
    ):
        prune.compact(fn, params, masks, x)
