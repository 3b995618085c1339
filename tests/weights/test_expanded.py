"""Expanded weights against composed kernels, sums over paths and Jacobians."""

import itertools as it
from functools import partial

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax import weights
from sparsejax.models import convolve

pytestmark = pytest.mark.usefixtures("float64")


def two_convolutions(params, x):
    h = checkpoint_name(jax.nn.relu(x), "low")
    h = checkpoint_name(jax.nn.relu(convolve(h, params[0]) + params[2]), "middle")
    return checkpoint_name(convolve(h, params[1]), "high")


def composed(first, second):
    """The kernel of one convolution after the other."""
    tall, wide = (
        a + b - 1 for a, b in zip(first.shape, second.shape[:2], strict=False)
    )
    whole = np.zeros((tall, wide, first.shape[2], second.shape[3]))
    for dy, dx in np.ndindex(*second.shape[:2]):
        part = np.einsum("yxim,mo->yxio", first, second[dy, dx])
        whole[dy : dy + len(first), dx : dx + first.shape[1]] += part
    return whole


sides = st.tuples(st.integers(1, 4), st.integers(1, 4))


@pytest.mark.parametrize(
    "first, second, channels, units",
    [((3, 3), (5, 3), 2, 3), ((2, 4), (1, 2), 1, 1)],  # even sizes, single channels
    ids=str,
)
def test_two_kernels_compose(first, second, channels, units, seed=0):
    rng = np.random.default_rng(seed)
    one = rng.normal(size=(*first, channels, 2)) * (rng.random(2) < 0.8)
    two = rng.normal(size=(*second, 2, units)) * (rng.random(units) < 0.8)
    params, size = (one, two, rng.normal(size=2)), (9, 10, channels)
    found = weights.expand(two_convolutions, params, "low", "high", size=size)
    np.testing.assert_allclose(found.weights, composed(one, two), atol=1e-12)
    maps = np.array(size[:2]) - first - second + 2
    assert found.position == found.corner == tuple((maps - 1) // 2)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(sides, sides, st.integers(1, 3), st.integers(1, 3), st.integers(0, 9))
def test_any_two_kernels_compose(first, second, channels, units, seed):
    """Units that are all zero, too."""
    test_two_kernels_compose(first, second, channels, units, seed)


def parts(first, second):
    """Sums over positive and negative paths, and live ones, through kernels."""
    up, down = (lambda k: np.maximum(k, 0)), (lambda k: np.maximum(-k, 0))

    def pairs(f, g):
        return composed(f(first), g(second))

    live = composed(1.0 * (first != 0), 1.0 * (second != 0))
    return pairs(up, up) + pairs(down, down), pairs(up, down) + pairs(down, up), live


def test_parts_are_sums_over_paths(rng):
    one = rng.normal(size=(3, 2, 2, 3)) * (rng.random((3, 2, 2, 3)) < 0.5)
    two = rng.normal(size=(2, 3, 3, 4)) * (rng.random((2, 3, 3, 4)) < 0.5)
    args = (one, two, np.zeros(3)), "low", "high"
    found = weights.expand(two_convolutions, *args, size=(6, 6, 2), split=True)
    for part, wanted in zip(found[1:4], parts(one, two), strict=True):
        np.testing.assert_allclose(part, wanted, atol=1e-12)
    assert (found.paths == np.rint(found.paths)).all() and (found.paths == 0).any()
    assert (found.positive >= 0).all() and (found.negative >= 0).all()
    np.testing.assert_allclose(
        found.weights, found.positive - found.negative, atol=1e-14
    )
    plain = weights.expand(two_convolutions, *args, size=(6, 6, 2))
    np.testing.assert_array_equal(plain.weights, found.weights)
    assert plain.positive is plain.paths is plain.through is None


def test_parts_are_finite_where_their_sum_is():
    def fn(params, x):
        return jax.nn.relu(x @ params[0]) @ params[1]

    params = jnp.array([[2e20, -1e19]], "f4"), jnp.full((2, 1), 1e18, "f4")
    found = weights.expand(fn, params, None, None, size=(1,), split=True)
    np.testing.assert_allclose(found.positive, 2e38, rtol=1e-5)
    np.testing.assert_allclose(found.negative, 1e37, rtol=1e-5)


def test_parts_bound_every_gradient(rng):
    """With one layer of ReLUs they are the largest and the smallest, over all gates."""
    one, two = rng.normal(size=(4, 5)), rng.normal(size=(5, 3))

    def fn(params, x):
        return jax.nn.relu(x @ params[0]) @ params[1]

    found = weights.expand(fn, (one, two), None, None, size=(4,), split=True)
    gates = np.array(list(it.product((0.0, 1.0), repeat=5)))
    slopes = np.einsum("im,gm,mo->gio", one, gates, two)
    np.testing.assert_allclose(found.positive, slopes.max(0), atol=1e-12)
    np.testing.assert_allclose(found.negative, -slopes.min(0), atol=1e-12)


def bottleneck(params, x):
    """Pooling, reduction, 3x3, batch normalisation, expansion, and a way around."""
    h = checkpoint_name(x, "before")
    h = checkpoint_name(nn.max_pool(h, (2, 2), (2, 2)), "pooled")
    reduced = checkpoint_name(jax.nn.relu(convolve(h, params["reduce"])), "reduced")
    inner = convolve(reduced, params["spatial"], 1, 1)
    inner = (inner - params["mean"]) * jax.lax.rsqrt(params["var"] + 1e-5)
    inner = checkpoint_name(jax.nn.relu(inner * params["scale"]), "inner")
    h = checkpoint_name(jax.nn.relu(convolve(inner, params["expand"]) + h), "block")
    return (checkpoint_name(h.mean((0, 1)), "mean") @ params["dense"]) + 1.0


def as_linear(params, x):
    """The same with means for maxima and nothing for ReLUs."""
    params = jax.tree.map(jnp.asarray, params)
    pooled = x.reshape(5, 2, 5, 2, 4).mean((1, 3))
    reduced = convolve(pooled, params["reduce"])
    inner = convolve(reduced, params["spatial"], 1, 1)
    inner *= jax.lax.rsqrt(params["var"] + 1e-5) * params["scale"]
    h = convolve(inner, params["expand"]) + pooled
    return {"block": h, "inner": inner, None: h.mean((0, 1)) @ params["dense"]}


@pytest.fixture(scope="module")
def block():
    rng = np.random.default_rng(0)
    shapes = {
        "reduce": (1, 1, 4, 2), "spatial": (3, 3, 2, 2), "expand": (1, 1, 2, 4),
        "mean": (2,), "scale": (2,), "dense": (4, 3),
    }  # fmt: skip
    made = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return made | {"var": rng.uniform(1, 2, 2)}


@pytest.mark.parametrize("target", ["block", "inner", None])
@pytest.mark.defaults
def test_any_layers_against_a_jacobian(target, block, rng):
    size = (10, 10, 4)
    found = weights.expand(bottleneck, block, "before", target, size=size)
    run = jax.jit(jax.jacobian(lambda x: as_linear(block, x)[target]))
    whole = run(rng.normal(size=size))
    here = np.array(jnp.moveaxis(whole[found.position], 0, -1))
    ends = zip(found.corner, found.weights.shape, strict=False)
    inside = tuple(slice(a, a + n) for a, n in ends)
    np.testing.assert_allclose(found.weights, here[inside], atol=1e-12)
    assert found.weights.shape[:2] == ((10, 10) if target is None else (6, 6))
    here[inside] = 0
    assert not here.any()
    some = weights.expand(bottleneck, block, "before", target, size=size, units=[1, 0])
    np.testing.assert_allclose(some.weights, found.weights[..., [1, 0]], atol=1e-12)


def test_separable_convolutions(rng):
    """Depthwise, then pointwise: kernels of groups are kernels."""
    run = partial(
        jax.lax.conv_general_dilated, padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip

    def fn(params, x):
        h = run(x[None], params[0], (1, 1), feature_group_count=3)
        return run(jax.nn.relu(h), params[1], (2, 2))[0]

    one, two = rng.normal(size=(3, 3, 1, 3)), rng.normal(size=(1, 1, 3, 2))
    found = weights.expand(fn, (one, two), None, None, size=(5, 5, 3), split=True)
    wanted = one[:, :, 0, :, None] * two[0, 0]
    np.testing.assert_allclose(found.weights, wanted, atol=1e-12)
    assert (found.paths == 1).all()


def test_ways_through_and_around_make_the_whole(block):
    def ask(params, **more):
        return weights.expand(
            bottleneck, params, "pooled", "block", size=(10, 10, 4), **more
        )

    found = ask(block, through="inner", split=True)
    assert found.through.shape == (3, 3, 4, 2, 4)
    whole = found.through.sum(-2) + found.around
    np.testing.assert_allclose(whole, found.weights, atol=1e-12)
    np.testing.assert_array_equal(found.around[1, 1], np.eye(4))
    assert np.count_nonzero(found.around) == 4
    only = np.zeros_like(block["expand"])
    only[0, 0, 1] = block["expand"][0, 0, 1]
    alone = ask({**block, "expand": only}).weights - found.around
    np.testing.assert_allclose(found.through[..., 1, :], alone, atol=1e-12)
    across = weights.expand(
        bottleneck, block, "inner", None, size=(10, 10, 4), through="block"
    )
    assert not across.around.any()  # there is no way around


def test_channels_that_are_not_used_and_two_names_of_one_array(rng):
    def fn(params, x):
        h = checkpoint_name(checkpoint_name(x, "one"), "other")
        h = checkpoint_name(checkpoint_name(h[..., 1:3] @ params[0], "low"), "again")
        return h[:, 1:] @ params[1] + h[:, :1]

    params = rng.normal(size=(2, 3)), rng.normal(size=(2, 1))
    wanted = np.zeros((4, 1))
    wanted[1:3] = params[0][:, 1:] @ params[1] + params[0][:, :1]
    for source, through in (("one", "other"), ("one", "low"), ("other", "again")):
        found = weights.expand(
            fn, params, source, None, size=(5, 4), through=through, units=[0]
        )
        np.testing.assert_allclose(found.weights[0], wanted, atol=1e-12)
        np.testing.assert_allclose(found.through.sum(-2)[0], wanted, atol=1e-12)
        assert found.through.shape[-2] == (4 if through == "other" else 3)
        assert found.corner == (2,) and not found.around.any()


def test_a_window_at_an_edge_is_what_is_there(block):
    at = {"size": (10, 10, 4), "position": (0, 4)}
    found = weights.expand(bottleneck, block, "pooled", "block", **at)
    middle = weights.expand(bottleneck, block, "pooled", "block", size=(10, 10, 4))
    assert found.corner == (0, 3) and found.weights.shape[:2] == (2, 2)
    np.testing.assert_allclose(found.weights, middle.weights[1:, :2], atol=1e-12)


def test_the_window_does_not_depend_on_what_is_pruned(block):
    dead = jax.tree.map(np.zeros_like, {**block, "var": block["mean"]})
    found = weights.expand(bottleneck, dead, "reduced", "block", size=(10, 10, 4))
    assert found.weights.shape == (3, 3, 2, 4) and not found.weights.any()


def test_masked_functions(rng):
    model, x = sj.models.convnet((3, 4)), np.zeros((8, 8, 1), np.float32)
    shapes = {"conv_0": (3, 3, 1, 3), "conv_1": (3, 3, 3, 4), "dense_0": (64, 10)}

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    params = {k: {"kernel": draw(*s), "bias": draw(s[-1])} for k, s in shapes.items()}
    masks = sj.masks.ones(model.apply, params, x)
    kernel = masks.weights["conv_1"]["kernel"]
    masks.weights["conv_1"]["kernel"] = kernel.at[..., 2, :].set(0).at[..., 1].set(0)
    fn = sj.bind(sj.masked(model.apply), masks)
    found = weights.expand(fn, params, "hidden_0", "hidden_1", size=(8, 8, 1))
    wanted = params["conv_1"]["kernel"] * masks.weights["conv_1"]["kernel"]
    np.testing.assert_array_equal(found.weights, wanted)
    assert found.weights.dtype == np.float32
    out = weights.expand(fn, params, "hidden_1", None, size=(8, 8, 1), units=[3])
    wanted = params["dense_0"]["kernel"].reshape(4, 4, 4, 10)[..., 3:4]
    np.testing.assert_array_equal(out.weights, wanted)


@pytest.mark.slow
def test_equinox(getkey):
    mlp = eqx.nn.MLP(3, 2, 5, 2, key=getkey())
    arrays, rest = eqx.partition(mlp, eqx.is_array)

    def fn(params, x):
        return eqx.combine(params, rest)(x)

    found = weights.expand(fn, arrays, None, None, size=(3,))
    one, two, three = (np.asarray(layer.weight, np.float64) for layer in mlp.layers)
    np.testing.assert_allclose(found.weights.T, three @ two @ one, rtol=1e-5, atol=1e-7)


def linear_resnet(params, x, stop):
    """ResNet-20 for CIFAR without its ReLUs, up to a block."""

    def normal(norm, h):
        return h * norm["scale"] / jnp.sqrt(norm["var"] + 1e-5)

    h = normal(params["bn1"], convolve(x, params["conv1"]["kernel"], 1, 1))
    for stage, number in it.product((1, 2, 3), (0, 1, 2)):
        made = params[f"layer{stage}"][str(number)]
        stride = 2 if stage > 1 and number == 0 else 1
        inner = convolve(h, made["conv1"]["kernel"], stride, 1)
        inner = normal(made["bn1"], inner)
        inner = normal(made["bn2"], convolve(inner, made["conv2"]["kernel"], 1, 1))
        if stride > 1:
            more = (inner.shape[-1] - h.shape[-1]) // 2
            h = jnp.pad(h[::2, ::2], [(0, 0), (0, 0), (more, more)])
        h = h + inner
        if f"layer{stage}_{number}" == stop:
            return h


@pytest.mark.slow
@pytest.mark.parametrize("target", ["layer1_1", "layer2_0", "layer3_0"])
def test_a_residual_network(target, rng):
    model = sj.models.resnet(20, widths=(2, 4, 8))
    x = np.zeros((16, 16, 3))
    params = model.init(jax.random.key(0), x)
    params = jax.tree.map(lambda p: p + rng.uniform(0.1, 0.5, p.shape), params)
    found = weights.expand(model.apply, params, None, target, size=x.shape, split=True)
    run = jax.jit(jax.jacobian(lambda x: linear_resnet(params, x, target)))
    whole = np.moveaxis(run(x)[found.position], 0, -1)
    ends = zip(found.corner, found.weights.shape, strict=False)
    inside = tuple(slice(a, a + n) for a, n in ends)
    size = abs(whole).max()
    np.testing.assert_allclose(found.weights / size, whole[inside] / size, atol=1e-10)
    left = found.positive - found.negative - found.weights
    assert abs(left).max() < 1e-14 * found.positive.max()


MESSAGES = {
    "before": ({"source": "block", "target": "reduced"},
        "from 'block' to 'reduced'. 'reduced' is computed first: is it the other way"),
    "beside": ({"source": "reduced", "target": "lonely"},
        "from 'reduced' to 'lonely'. 'reduced' feeds the activations 'inner', 'block'"),
    "not through": ({"target": "inner", "through": "block"},
        "no path leads from 'block' to 'inner'"),
    "unknown": ({"target": "blok"}, "no activation 'blok'; it names 'before', 'pooled"),
    "the same": ({"target": "pooled"}, "source and target are both 'pooled'"),
    "units": ({"units": [1, 4]}, "no units [4]; there are 4, from 0 to 3"),
    "no units": ({"units": []}, "expected a list of numbers"),
    "place": ({"position": (5, 0)}, "position is (5, 0), but the map of 'block'"),
    "axes": ({"position": (1,)}, "position is (1,), but the map of 'block' has"),
}  # fmt: skip


@pytest.mark.parametrize("case", MESSAGES)
def test_what_does_not_fit(case, block):
    changes, message = MESSAGES[case]
    asked = {"source": "pooled", "target": "block", "size": (10, 10, 4), **changes}

    def fn(params, x):
        out = bottleneck(params, x)
        checkpoint_name(params["dense"] + 1, "lonely")
        return out

    with pytest.raises(ValueError) as caught:
        weights.expand(fn, block, **asked)
    assert message in str(caught.value)


def test_a_size_that_the_function_does_not_take_says_so(block):
    with pytest.raises(Exception) as caught:
        weights.expand(bottleneck, block, None, "block", size=(10, 10, 3))
    assert "one example of shape (10, 10, 3)" in " ".join(caught.value.__notes__)


def test_outputs_that_have_no_units():
    def two(params, x):
        return (x * params, x)

    def one(params, x):
        return (x * params).sum()

    with pytest.raises(ValueError, match="name the activation of it that is"):
        weights.expand(two, np.ones(()), None, None, size=(3,))
    with pytest.raises(ValueError, match="the output is one number"):
        weights.expand(one, np.ones(()), None, None, size=(3,))


def test_padding_by_what_is_never_the_maximum(rng):
    """As in residual networks: padded by minus infinity, then a window of three."""

    def fn(params, x):
        x = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
        window = (3, 3, 1), (2, 2, 1), "VALID"
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, *window) * params

    found = weights.expand(fn, np.array([2.0]), None, None, size=(7, 7, 1))
    np.testing.assert_allclose(found.weights, np.full((3, 3, 1, 1), 2 / 9))
