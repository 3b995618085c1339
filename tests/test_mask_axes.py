"""Masks of heads, positions and whole activations, against masks put in by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax.masks import Masks

T, HEADS, SIZE = 3, 2, 2
WIDTH = HEADS * SIZE
AXES = {
    "z": {-1: (2,), -2: (2, 1), -3: (3, 1, 1), (-3, -2): (3, 2, 1), 0: (3, 1, 1)},
    "pattern": {
        -1: (3,),
        -3: (2, 1, 1),
        (0, 1): (2, 3, 1),
        (-3, -2, -1): (2, 3, 3),
        (): (1,),
    },
}


def attention(p, x, name=checkpoint_name):
    """One example, (places, width)."""
    q, k, v = (
        (x @ p[key]).reshape(T, HEADS, SIZE).transpose(1, 0, 2)
        for key in ("q", "k", "v")
    )
    pattern = name(jax.nn.softmax(q @ k.transpose(0, 2, 1)), "pattern")
    z = name((pattern @ v).transpose(1, 0, 2), "z")
    return z.reshape(T, WIDTH) @ p["o"]


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {key: draw(WIDTH, WIDTH) for key in ("q", "k", "v", "o")}, draw(T, WIDTH)


def by_hand(p, x, nodes):
    def mask(h, name):
        return h * nodes[name] if name in nodes else h

    return attention(p, x, mask)


@pytest.mark.parametrize(
    "name, axes, shape",
    [(name, axes, shape) for name in AXES for axes, shape in AXES[name].items()],
)
def test_masks_of_any_axes(name, axes, shape, arrays):
    p, x = arrays
    masks = sj.masks.ones(attention, p, x, axes={name: axes})
    mask = masks.nodes[name]
    assert mask.shape == shape
    assert sj.masks.count(mask) == sj.masks.sizes(mask)[""] == np.prod(shape)
    one = sj.masks.fixed_size(jax.random.key(0), mask, 1)
    assert one.shape == shape and one.sum() == 1
    drawn = sj.masks.bernoulli(jax.random.key(1), mask, 0.5, (4,))
    assert drawn.shape == (4, *shape)
    both = jnp.stack([one, 1 - one])
    apply = jax.vmap(
        lambda m: sj.masked(attention)(p, masks._replace(nodes={name: m}), x)
    )
    hand = jax.vmap(lambda m: by_hand(p, x, {name: m}))
    found, expected = jax.jit(lambda m: (apply(m), hand(m)))(both)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(expected - attention(p, x)).max() > 1e-3


def test_all_subsets_of_heads_at_positions(arrays):
    """2^6 masks by `hypercube`, and each by hand; a gradient of one of them."""
    p, x = arrays
    masks = sj.masks.ones(attention, p, x, axes={"z": (-3, -2)})
    apply, n = sj.masked(attention), masks.nodes["z"].size

    def loss(bits):
        nodes = {"z": bits.reshape(masks.nodes["z"].shape)}
        return apply(p, masks._replace(nodes=nodes), x).sum()

    found = sj.hypercube.evaluate(loss, n, progress=False)
    subsets = sj.masks.subsets(n)

    def hand(bits):
        keep = np.repeat(bits.reshape(T, HEADS), SIZE, axis=-1)
        return ((z * keep) @ p["o"]).sum()

    z = sj.activations(attention, "z")(p, x)[1]["z"].reshape(T, WIDTH)
    expected = [hand(bits) for bits in np.asarray(subsets)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected) > 1
    half = jnp.full(n, 0.5)
    slope = (z * p["o"].sum(1)).reshape(-1, SIZE)
    np.testing.assert_allclose(jax.grad(loss)(half), slope.sum(1), rtol=1e-4, atol=1e-5)


def test_a_sweep_over_masks_of_heads(arrays, tmp_path):
    p, x = arrays
    masks = sj.masks.ones(attention, p, x, axes={"z": -2})
    stack = sj.masks.bernoulli(jax.random.key(0), masks, 0.5, (5,))
    np.savez(tmp_path / "masks.npz", **sj.trees.to_arrays(stack))
    with np.load(tmp_path / "masks.npz") as file:
        stack = sj.trees.from_arrays(file, stack)
    assert stack.nodes["z"].shape == (5, HEADS, 1)
    apply = sj.masked(attention)
    found = sj.sweep.evaluate(lambda m: apply(p, m, x).sum(), stack, progress=False)
    for i in range(5):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], stack)
        weights = sj.masks.apply(p, one.weights)
        expected = by_hand(weights, x, one.nodes).sum()
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-5)


def test_axes_by_pattern_and_in_loops():
    def fn(p, x):
        def layer(h, w):
            heads = checkpoint_name((h @ w).reshape(T, HEADS, SIZE), "blocks[0]/z")
            h = heads.reshape(T, WIDTH)
            return checkpoint_name(h, "blocks[0]/out"), None

        return checkpoint_name(jax.lax.scan(layer, x, p)[0], "last/out")

    p, x = jnp.ones((4, WIDTH, WIDTH)), jnp.ones((T, WIDTH))

    def shapes(axes):
        nodes = sj.masks.ones(fn, p, x, axes=axes).nodes
        return [nodes[k].shape for k in ("blocks[0]/z", "blocks[0]/out", "last/out")]

    assert shapes(None) == [(4, SIZE), (4, WIDTH), (WIDTH,)]
    assert shapes({"*/z": -2}) == [(4, HEADS, 1), (4, WIDTH), (WIDTH,)]
    assert shapes({"*/out": 0}) == [(4, SIZE), (4, T, 1), (T, 1)]
    assert shapes({"*": (), "last/out": -1}) == [(4, 1), (4, 1), (WIDTH,)]
    assert shapes({"blocks[0]/?": -2, "*": 0}) == [(4, HEADS, 1), (4, T, 1), (T, 1)]

    # heads of every layer
    rng = np.random.default_rng(0)
    p, x = (jnp.asarray(rng.normal(size=a.shape), jnp.float32) for a in (p, x))
    mask = np.array([[1, 0], [1, 1], [0, 1], [1, 0]], np.float32)[..., None]
    masks = Masks(jnp.ones(()), {"blocks[0]/z": mask})
    h = x
    for i in range(4):
        h = ((h @ p[i]).reshape(T, HEADS, SIZE) * mask[i]).reshape(T, WIDTH)
    np.testing.assert_allclose(sj.masked(fn)(p, masks, x), h, rtol=1e-5, atol=1e-5)
    gated = Masks(jnp.ones(()), {"blocks[0]/z": np.ones((1, 1), np.float32)})
    np.testing.assert_array_equal(sj.masked(fn)(p, gated, x), fn(p, x))


def test_channels_that_come_first_are_masked_where_they_are():
    conv = eqx.nn.Conv2d(2, 3, 3, key=jax.random.key(0))
    params, static = eqx.partition(conv, eqx.is_array)

    def fn(p, x):
        return checkpoint_name(eqx.combine(p, static)(x), "maps")

    x = jnp.ones((2, 5, 6))
    with pytest.raises(ValueError, match=r"on axis 0.*masks.ones\(..., axes="):
        sj.masks.ones(fn, params, x)
    masks = sj.masks.ones(fn, params, x, axes={"maps": -3})
    assert masks.nodes["maps"].shape == (3, 1, 1)
    mask = jnp.array([1.0, 0, 1])[:, None, None]
    out = sj.masked(fn)(params, masks._replace(nodes={"maps": mask}), x)
    np.testing.assert_array_equal(out, fn(params, x) * mask)


def test_shapes_that_do_not_fit_are_refused(arrays):
    p, x = arrays
    apply = sj.masked(attention)
    for shape in [(), (3,), (3, 1), (2, 3, 1), (1, 1, 1, 2), (4, 2, 2), (0,)]:
        with pytest.raises(
            ValueError, match=r"\(2,\) for units or \(2, 1\) for the ax"
        ):
            apply(p, Masks(dict.fromkeys(p, jnp.ones(())), {"z": jnp.ones(shape)}), x)
    bad = {
        r"axes\['z'\] is 3, but .* \(3, 2, 2\), with axes -3 to 2": {"z": 3},
        r"axes\['z'\] is \(-4,\); expected whole numbers, all at least -3": {"z": -4},
        r"axes\['z'\] is \(0.5,\); expected whole": {"z": 0.5},
        r"axes\['\*/z'\] fits none of .* 'pattern', 'z'": {"*/z": -2},
    }
    for says, axes in bad.items():
        with pytest.raises(ValueError, match=says):
            sj.masks.ones(attention, p, x, axes=axes)


def test_whole_modules_are_refused_by_name():
    mlp = eqx.nn.MLP(2, 2, 3, 1, key=jax.random.key(0))
    x = jnp.ones(2)
    for ask in (
        lambda: sj.masks.ones(lambda m, x: m(x), mlp, x),
        lambda: sj.masked(lambda m, x: m(x))(mlp, Masks(mlp, {}), x),
    ):
        with pytest.raises(
            ValueError, match=r"not arrays .*'activation'.*eqx.partition"
        ):
            ask()
