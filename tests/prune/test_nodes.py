"""Removed units leave their mean behind, whatever the network is written in."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax import models, prune
from sparsejax.masks import Masks
from sparsejax.prune import _origins as origins


def named(h, name="h"):
    return checkpoint_name(h, name)


def randomized(init, x, rng, dtype=np.float64):
    """Parameters of random numbers, biases too."""
    shapes = jax.eval_shape(init, jax.random.key(0), jnp.asarray(x, np.float32))

    def draw(p):
        return jnp.asarray(rng.normal(size=p.shape), dtype)

    return jax.tree.map(draw, shapes)


def mlp(rng, features=(9, 8, 4), inputs=5, dtype=np.float64):
    model = models.mlp(features[:-1], features[-1])
    x = jnp.asarray(rng.normal(size=(60, inputs)), dtype)
    return model.apply, randomized(model.init, x, rng, dtype), x


def removed(fn, params, nodes, x, **how):
    """All of `remove_nodes` in one compiled call."""

    def run(params, x):
        return prune.remove_nodes(fn, params, nodes, x, **how)

    return jax.jit(run)(params, x)


def masks(rng, **widths):
    return {k: (rng.random(n) < 0.5).astype(np.float32) for k, n in widths.items()}


def relu(h):
    return np.maximum(h, 0)


def by_formula(params, nodes, x, sequential=False):
    """The source's formula for an MLP, in NumPy."""
    new = {k: {n: np.array(a) for n, a in v.items()} for k, v in params.items()}
    h = np.asarray(x)
    for i in range(len(params) - 1):
        layer = new if sequential else params
        dense = {n: np.asarray(a) for n, a in layer[f"dense_{i}"].items()}
        h = relu(h @ dense["kernel"] + dense["bias"])
        gone = nodes.get(f"hidden_{i}", np.ones(h.shape[1])) == 0
        reader = new[f"dense_{i + 1}"]
        reader["bias"] += h.mean(axis=0)[gone] @ reader["kernel"][gone]
        reader["kernel"][gone] = 0
    return new


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(
    "names", [{"hidden_0"}, {"hidden_1"}, {"hidden_0", "hidden_1"}]
)
@pytest.mark.defaults
def test_mlp_is_the_formula(names, sequential, rng):
    with jax.enable_x64(True):
        fn, params, x = mlp(rng)
        nodes = masks(rng, hidden_0=9, hidden_1=8)
        nodes = {name: nodes[name] for name in names}
        got = prune.remove_nodes(fn, params, nodes, x, sequential=sequential)
        expected = by_formula(params, nodes, x, sequential)

        def close(a, b):
            return np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)

        jax.tree.map(close, got, expected)
        kernel = got["dense_1"]["kernel"]
        if "hidden_0" in names:
            assert not np.asarray(kernel)[nodes["hidden_0"] == 0].any()
        assert kernel.dtype == got["dense_2"]["bias"].dtype == jnp.float64


def test_simultaneous_and_sequential_differ_in_the_second_layer_alone(rng):
    fn, params, x = mlp(rng, dtype=np.float32)
    nodes = masks(rng, hidden_0=9, hidden_1=8)
    one, two = (
        prune.remove_nodes(fn, params, nodes, x, sequential=s) for s in (False, True)
    )
    same = jax.tree.map(lambda a, b: bool((a == b).all()), one, two)
    assert not same["dense_2"].pop("bias")
    assert jax.tree.all(same)


def test_units_constant_on_the_data_go_without_a_trace(rng):
    with jax.enable_x64(True):
        fn, params, x = mlp(rng)
        nodes = masks(rng, hidden_0=9, hidden_1=8)
        for i in range(2):  # no input, but a bias
            gone = nodes[f"hidden_{i}"] == 0
            kernel = np.array(params[f"dense_{i}"]["kernel"])
            kernel[:, gone] = 0
            params[f"dense_{i}"]["kernel"] = jnp.asarray(kernel)
        small = removed(fn, params, nodes, x)
        masked = jax.jit(sj.bind(sj.masked(fn), Masks(trim(small), nodes)))
        fn = jax.jit(fn)
        for net in (fn, masked):
            np.testing.assert_allclose(net(small, x), fn(params, x), atol=1e-12, rtol=0)
        assert abs(np.asarray(masked(params, x)) - fn(params, x)).max() > 0.1


def trim(params):
    return jax.tree.map(lambda p: jnp.ones((), p.dtype), params)


def test_all_kept_is_bitwise_the_same(rng):
    fn, params, x = mlp(rng, dtype=np.float32)
    same = prune.remove_nodes(fn, params, {"hidden_0": np.ones(9)}, x)
    jax.tree.map(np.testing.assert_array_equal, same, params)


def test_compact_drops_removed_units(rng):
    fn, params, x = mlp(rng, dtype=np.float32)
    nodes = masks(rng, hidden_0=9, hidden_1=8)
    small = prune.compact(fn, prune.remove_nodes(fn, params, nodes, x), None, x)
    for name, mask in nodes.items():
        assert small.report.kept[name].tolist() == np.flatnonzero(mask).tolist()


def test_vmap_and_jit_over_seeds_and_masks(rng):
    fn, _, x = mlp(rng, dtype=np.float32)
    several = [mlp(rng, dtype=np.float32)[1] for _ in range(3)]
    stacked = jax.tree.map(lambda *p: jnp.stack(p), *several)
    nodes = jnp.asarray(rng.random((3, 9)) < 0.5, jnp.float32)

    def scores(p, m):
        return prune.remove_nodes(fn, p, {"hidden_0": m}, x)

    expected = [scores(*pair) for pair in zip(several, nodes, strict=True)]
    for run in (jax.vmap(scores), jax.jit(jax.vmap(scores))):
        got = run(stacked, nodes)
        for i, one in enumerate(expected):

            def close(a, b, i=i):
                return np.testing.assert_allclose(a[i], b, atol=2e-5)

            jax.tree.map(close, got, one)
    both = jax.vmap(lambda p, x: prune.remove_nodes(fn, p, {"hidden_1": ones8}, x))
    ones8 = jnp.zeros(8)
    got = both(stacked, jnp.stack([x, 2 * x, -x]))
    one = prune.remove_nodes(fn, several[2], {"hidden_1": ones8}, -x)
    np.testing.assert_allclose(got["dense_2"]["bias"][2], one["dense_2"]["bias"], 1e-5)


def test_convnet_dense_layer_after_flattening_and_convolutions(rng):
    with jax.enable_x64(True):
        model = models.convnet((4, 5), 3)
        x = jnp.asarray(rng.normal(size=(20, 7, 8, 2)))
        params = randomized(model.init, x, rng)
        nodes = masks(rng, hidden_0=4, hidden_1=5)
        got = removed(model.apply, params, nodes, x)
        _, acts = jax.jit(sj.activations(model.apply))(params, x)
        # dense: inputs (pixel, channel); every removed one leaves its own mean
        h = np.asarray(acts["hidden_1"])
        flat = np.where(nodes["hidden_1"], 0, h).reshape(20, -1).mean(axis=0)
        dense = jax.tree.map(np.asarray, params["dense_0"])
        shifted = dense["bias"] + flat @ dense["kernel"]
        np.testing.assert_allclose(got["dense_0"]["bias"], shifted, atol=1e-12)
        rows = np.tile(nodes["hidden_1"], 3 * 4)[:, None] * dense["kernel"]
        np.testing.assert_array_equal(got["dense_0"]["kernel"], rows)
        # convolution: the mean over the batch and over positions
        conv = jax.tree.map(np.asarray, params["conv_1"])
        gone = np.where(nodes["hidden_0"], 0, np.asarray(acts["hidden_0"]))
        windows = np.lib.stride_tricks.sliding_window_view(gone, (3, 3), (1, 2))
        added = np.einsum("bxychw,hwco->bxyo", windows, conv["kernel"])
        shifted = conv["bias"] + added.mean(axis=(0, 1, 2))
        np.testing.assert_allclose(got["conv_1"]["bias"], shifted, atol=1e-12)
        rows = conv["kernel"] * nodes["hidden_0"][:, None]
        np.testing.assert_array_equal(got["conv_1"]["kernel"], rows)
        np.testing.assert_array_equal(
            got["conv_0"]["kernel"], params["conv_0"]["kernel"]
        )


def test_convnet_without_constant_channels_is_the_same_function(rng):
    with jax.enable_x64(True):
        model = models.convnet((4, 5), 3)
        x = jnp.asarray(rng.normal(size=(6, 7, 8, 2)))
        params = randomized(model.init, x, rng)
        nodes = masks(rng, hidden_0=4, hidden_1=5)
        for i in range(2):
            kernel, gone = params[f"conv_{i}"]["kernel"], nodes[f"hidden_{i}"] == 0
            kernel = np.where(gone, 0, np.asarray(kernel))
            params[f"conv_{i}"]["kernel"] = jnp.asarray(kernel)
        small, fn = removed(model.apply, params, nodes, x), jax.jit(model.apply)
        np.testing.assert_allclose(fn(small, x), fn(params, x), atol=1e-11, rtol=0)


class Conv(nn.Module):
    """A convolution by XLA, with padding, groups, strides or pooling before it."""

    padding: str = "SAME"
    groups: int = 1
    pool: bool = False

    @nn.compact
    def __call__(self, x):
        h = named(nn.relu(nn.Conv(4, (3, 3))(x)))
        if self.pool:
            with jax.numpy_dtype_promotion("standard"):
                h = nn.avg_pool(h, (2, 2), (2, 2))
        return nn.Conv(
            6, (3, 3), (2, 1), padding=self.padding, feature_group_count=self.groups
        )(h)


class Pooled(nn.Module):
    """Global average pooling, with the kernel in half precision."""

    @nn.compact
    def __call__(self, x):
        h = named(nn.relu(nn.Conv(4, (3, 3))(x)))
        return nn.Dense(3)(h.mean(axis=(1, 2)) / 2.0)


@pytest.mark.parametrize(
    "module",
    [
        Conv(),
        Conv("VALID", groups=2),
        Conv("VALID", groups=4 // 2, pool=True),
        Pooled(),
    ],
    ids=["padded", "groups", "pooled", "global"],
)
def test_flax_convolutions_and_pooling(module, rng):
    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=(5, 8, 9, 2)))
        params = randomized(module.init, x, rng)
        mask = np.array([1, 0, 0, 1.0])
        got = removed(module.apply, params, {"h": mask}, x)
        check_affine_reader(module.apply, params, got, mask, x)


def check_affine_reader(fn, params, got, mask, x, name="h"):
    """Right for any net whose last layer reads the units: outputs keep their mean.

    And the units' entries are gone: they no longer matter, the others all do.
    """
    gone = jax.jit(sj.edit(fn, {name: lambda h: h * jnp.asarray(mask, h.dtype)}))
    fn = jax.jit(fn)

    def places(y):
        return np.asarray(y).reshape(-1, np.shape(y)[-1])

    np.testing.assert_allclose(
        places(fn(got, x)).mean(axis=0), places(fn(params, x)).mean(axis=0), atol=1e-12
    )
    # two programs, of which each adds up in an order of its own
    np.testing.assert_allclose(gone(got, x), fn(got, x), rtol=0, atol=1e-14)
    moved = places(fn(got, x)) - places(gone(params, x))
    np.testing.assert_allclose(moved, moved[:1] + 0 * moved, atol=1e-12)


class Equinox(eqx.Module):
    one: eqx.nn.Linear
    two: eqx.nn.Linear

    def __call__(self, x):
        return self.two(named(jax.nn.relu(self.one(x))))


def test_equinox_one_example_at_a_time(rng):
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0))
        model = Equinox(
            eqx.nn.Linear(4, 6, key=keys[0]), eqx.nn.Linear(6, 2, key=keys[1])
        )
        params, static = eqx.partition(model, eqx.is_array)

        def one(p, x):
            return eqx.combine(p, static)(x)

        x = jnp.asarray(rng.normal(size=(30, 4)))
        mask = np.array([1, 0, 1, 0, 0, 1])
        got = removed(one, params, {"h": mask}, x, per_example=True)
        assert type(got) is Equinox
        check_affine_reader(jax.vmap(one, (None, 0)), params, got, mask, x)


def layer(rng, *shape):
    return jnp.asarray(rng.normal(size=shape))


BARE = {
    "einsum": lambda p, h: jnp.einsum("bi,oi->bo", h, p["k"].T) + p["b"],
    "kernel first": lambda p, h: (p["k"].T @ h.T).T + p["b"],
    "jit and remat": lambda p, h: jax.jit(jax.checkpoint(jnp.dot))(h, p["k"]) + p["b"],
    "bias first": lambda p, h: p["b"][None] + (h @ p["k"]),
    "split": lambda p, h: (
        h[:, :2] @ p["k"][:2] + jnp.flip(h[:, 2:], 1) @ jnp.flip(p["k"][2:], 0) + p["b"]
    ),
    "another input": lambda p, h: h @ p["k"] + (3 + p["u"]) + p["b"],
    "padded": lambda p, h: jnp.pad(h, ((0, 0), (0, 3))) @ p["wide"] + p["b"],
    "concatenated": lambda p, h: (
        jnp.concatenate([h, jnp.ones((40, 3))], axis=1) @ p["wide"] + p["b"]
    ),
    "scaled": lambda p, h: (h / 2.0 * p["s"]) @ p["k"] * 3.0 + p["b"],
    "one flat vector": lambda p, h: h @ p["flat"][:20].reshape(5, 4) + p["flat"][20:],
    "stacked": lambda p, h: jnp.stack(jnp.unstack(h, axis=1), 1) @ p["k"] + p["b"],
    "tiled": lambda p, h: jnp.tile(h, (2, 1))[:40] @ p["k"] + p["b"],
    "frozen": lambda p, h: jax.lax.stop_gradient(h) @ jax.device_put(p["k"]) + p["b"],
    "in order": lambda p, h: jax.lax.optimization_barrier(h) @ p["k"] + p["b"],
    "a name more": lambda p, h: named(h, "again") @ p["k"] + p["b"],
}


@pytest.mark.parametrize("read", BARE.values(), ids=BARE)
def test_bare_functions(read, rng):
    with jax.enable_x64(True):
        params = {
            "first": layer(rng, 3, 5),
            "k": layer(rng, 5, 4),
            "b": layer(rng, 4),
            "u": layer(rng, 4),
            "s": layer(rng),
            "wide": layer(rng, 8, 4),
            "flat": layer(rng, 24),
        }

        def fn(p, x):
            return read(p, named(jnp.tanh(x @ p["first"])))

        x, mask = layer(rng, 40, 3), np.array([0, 1, 0, 1, 1])
        got = removed(fn, params, {"h": mask}, x)
        check_affine_reader(fn, params, got, mask, x)
        changed = {k for k in params if (got[k] != np.asarray(params[k])).any()}
        assert changed <= {"k", "b", "wide", "flat"} and len(changed) in (1, 2)


def test_sequential_means_one_example_at_a_time(rng):
    with jax.enable_x64(True):
        fn, params, x = mlp(rng)
        nodes = masks(rng, hidden_0=9, hidden_1=8)

        def run(**how):
            return prune.remove_nodes(fn, params, nodes, x, sequential=True, **how)

        def close(a, b):
            return np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)

        jax.tree.map(close, run(per_example=True), run())


def test_half_precision_biases_take_means_in_their_own(rng):
    def draw(*shape):
        return jnp.asarray(rng.integers(1, 8, shape), jnp.float32)

    params = {"k": draw(5, 4), "b": draw(4)}  # their products fit into half precision

    def half(a):
        return a.astype(jnp.bfloat16)

    def fn(p, x):
        return half(named(x)) @ half(p["k"]) + half(p["b"])

    x = draw(511, 5)  # their means do not
    got = prune.remove_nodes(fn, params, {"h": np.zeros(5)}, x)
    assert got["b"].dtype == got["k"].dtype == jnp.float32 and not got["k"].any()
    expected = params["b"] + x.mean(axis=0) @ params["k"]
    np.testing.assert_allclose(got["b"], expected, rtol=1e-6)


@pytest.mark.parametrize("per_example", [False, True])
def test_examples_that_are_not_finite_are_named(per_example, rng):
    fn, params, x = mlp(rng, dtype=np.float32)
    x = x.at[3, 1].set(jnp.nan).at[7].set(jnp.inf)
    nodes = {"hidden_0": np.eye(9)[0]}

    def run(x):
        return prune.remove_nodes(fn, params, nodes, x, per_example=per_example)

    expected = "parameter 'dense_1/bias' .*'hidden_0'; .* finite: 2 of 60"
    with pytest.raises(ValueError, match=expected):
        run(x)
    assert np.isnan(jax.jit(run)(x)["dense_1"]["bias"]).all()  # values not known


def test_broadcast_origins_are_not_copied(monkeypatch):
    origin = np.broadcast_to(np.arange(3), (1000, 50, 50, 3))
    seen, move = [], np.moveaxis

    def spy(a, *rest):
        return seen.append(a.size) or move(a, *rest)

    monkeypatch.setattr(np, "moveaxis", spy)
    assert origins._along(origin, [3]).tolist() == [0, 1, 2]
    assert seen == [3]


def test_two_activations_in_one_kernel_and_unread_ones(rng):
    with jax.enable_x64(True):
        params = {"k": layer(rng, 7, 2), "b": layer(rng, 2)}

        def fn(p, x):
            named(x.sum(axis=0), "unread")
            parts = [named(jnp.tanh(x), "one"), named(x[:, :3] ** 2, "two")]
            return jnp.concatenate(parts, axis=-1) @ p["k"] + p["b"]

        x, gone = layer(rng, 9, 4), np.array([1, 0, 1, 1, 0, 0, 1])
        nodes = {"two": gone[4:], "unread": np.zeros(4), "one": gone[:4]}
        got = prune.remove_nodes(fn, params, nodes, x)
        h = np.concatenate([np.tanh(x), np.asarray(x)[:, :3] ** 2], axis=1)
        expected = params["b"] + h.mean(axis=0)[gone == 0] @ params["k"][gone == 0]
        np.testing.assert_allclose(got["b"], expected, atol=1e-12)
        np.testing.assert_array_equal(got["k"], np.asarray(params["k"]) * gone[:, None])


READERS = {
    "nonlinear": (lambda p, h: jnp.tanh(h) @ p["k"] + p["b"], "'tanh' at .*applied to"),
    "residual": (lambda p, h: h + (h @ p["k"] + p["b"]), "'add' at .*applied to them"),
    "two readers": (
        lambda p, h: (h @ p["k"] + p["b"]) * jnp.max(h, axis=-1, keepdims=True),
        "'reduce_max' at .*applied to them",
    ),
    "no bias": (lambda p, h: jnp.maximum(h @ p["k"], 0), "'max' at .*before a bias"),
    "no bias at all": (lambda p, h: h @ p["k"], "fn returns them"),
    "returned": (lambda p, h: (h, h @ p["k"] + p["b"]), "fn returns them"),
    "scaled kernel": (
        lambda p, h: h @ (2 * p["k"]) + p["b"],
        "other than an unchanged parameter",
    ),
    "scaled bias": (lambda p, h: jnp.tanh(h @ p["k"] + 2 * p["b"]), "before a bias"),
    "data": (
        lambda p, h: h @ jnp.ones((5, 5)) + p["b"],
        "other than an unchanged parameter",
    ),
    "product": (
        lambda p, h: h @ h.T,
        "'dot_general' at .*other than an unchanged parameter",
    ),
    "tied kernel": (
        lambda p, h: jnp.tanh(h @ p["k"] + p["b"]) @ p["k"],
        "parameter 'k' .*more than once: .*'dot_general' at .*; .*'dot_general' at",
    ),
    "tied bias": (lambda p, h: (h @ p["k"] + p["b"]) * p["b"], "parameter 'b' .*once"),
    "returned bias": (lambda p, h: (h @ p["k"] + p["b"], p["b"]), "the results of fn"),
    "normalized": (
        lambda p, h: ((h - h.mean(axis=0)) / h.std(axis=0)) @ p["k"] + p["b"],
        "'reduce_sum'|'sub' at",
    ),
    "mixed units": (
        lambda p, h: (h @ jnp.ones((5, 5))).sum(axis=-1, keepdims=True) + p["b"],
        "other than an unchanged parameter",
    ),
    "sum of units": (
        lambda p, h: h.sum(axis=-1, keepdims=True) @ p["k"][:1] + p["b"],
        "'reduce_sum' at .*adds different units up",
    ),
    "shared entries": (
        lambda p, h: jnp.concatenate([h, h[:, ::-1]], axis=0) @ p["k"] + p["b"],
        "'dot_general' at .*an entry of 'k' for several",
    ),
    "in a loop": (
        lambda p, h: jax.lax.scan(lambda h, _: (h @ p["k"] + p["b"], None), h, None, 2),
        "'scan' at .*applied to them; pass sj.unrolled.* 2 steps",
    ),
    "named again": (lambda p, h: named(h, "g") @ p["k"] + p["b"], "name.* at|'g'"),
    "repeated bias": (
        lambda p, h: (
            h @ p["k"] + jnp.broadcast_to(p["b"][:2], (3, 2)).reshape(1, -1)[:, :5]
        ),
        "'add' at .*repeats the bias 'b'",
    ),
}


@pytest.mark.parametrize("read, message", READERS.values(), ids=READERS)
def test_other_readers_are_refused_by_name_and_place(read, message, rng):
    params = {"k": jnp.ones((5, 5)), "b": jnp.ones(5)}

    def fn(p, x):
        return read(p, named(jnp.tanh(x), "hidden"))

    nodes = {"hidden": np.ones(5), **({"g": np.ones(5)} if "'g'" in message else {})}
    with pytest.raises(ValueError, match=message) as error:
        prune.remove_nodes(fn, params, nodes, jnp.ones((3, 5)))
    assert "cannot remove units" in str(error.value)
    if " at " in message:
        assert f"{__file__}:" in str(error.value)


@pytest.mark.parametrize(
    "nodes, message",
    [
        ({"hidden": np.ones(5)}, "no activation 'hidden'; it names 'hidden_0'"),
        ({"hidden_0": np.ones(8)}, r"\(8,\).*\(60, 9\), that is \(9,\) units"),
        ({"hidden_0": np.full(9, 0.5)}, "must be 0 or 1, got"),
        ({"hidden_1": np.ones((60, 8))}, r"shape \(60, 8\)"),
    ],
    ids=["name", "width", "fraction", "axes"],
)
def test_masks_that_do_not_fit(nodes, message, rng):
    fn, params, x = mlp(rng, dtype=np.float32)
    with pytest.raises(ValueError, match=message):
        prune.remove_nodes(fn, params, nodes, x)


def test_no_examples_and_a_vmap_inside(rng):
    params = {"k": jnp.ones((5, 2)), "b": jnp.ones(2)}

    def one(p, x):
        return named(x) @ p["k"] + p["b"]

    mask = {"h": np.ones(5)}
    with pytest.raises(ValueError, match="x is empty"):
        prune.remove_nodes(one, params, mask, jnp.ones((0, 5)))
    last = jax.vmap(one, (None, 1))
    with pytest.raises(ValueError, match="vmap itself.*per_example=True"):
        prune.remove_nodes(last, params, mask, jnp.ones((5, 7)))


@pytest.mark.parametrize(
    "nodes, message",
    [
        (sj.masks.Masks({}, {}), "nodes must be a dict of masks, .* got a Masks of 2"),
        (None, "nodes must be a dict of masks, as Masks.nodes; got None"),
        (jnp.ones(2), "got float32 of shape"),
        (
            {"hidden_0": [1, 0]},
            r"nodes\['hidden_0'\] is a list of 2, expect",
        ),
        ({"hidden_0": "10"}, r"nodes\['hidden_0'\] is the str '10'"),
    ],
)
def test_nodes_that_are_none(nodes, message):
    def fn(params, x):
        return x @ params

    with pytest.raises(ValueError, match=message):
        prune.remove_nodes(fn, jnp.ones((2, 1)), nodes, jnp.ones((3, 2)))
