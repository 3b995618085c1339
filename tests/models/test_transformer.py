"""The transformer against loops in NumPy, and what its names stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import models

MODELS = {
    "as it is": models.transformer(5, 6, width=12, heads=3, head=2, neurons=7),
    "plain": models.transformer(
        5,
        6,
        layers=1,
        width=6,
        heads=2,
        head=4,
        neurons=0,
        norm=None,
        sink=False,
        edges=False,
    ),  # fmt: skip
    "sparse": models.transformer(
        5, 6, width=12, heads=3, head=2, neurons=7, active=0.3, activation=jax.nn.gelu
    ),
}
SHARE = {"sparse": 0.3}
IDS = np.random.default_rng(0).integers(0, 5, (2, 6)).astype(np.int32)


def noisy(model):
    """Parameters with biases and sinks that are not zero."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS)
    return jax.tree.map(lambda p: rng.normal(size=p.shape).astype("f4") / 2, shapes)


def dense(layer, x):
    return x @ np.float64(layer["kernel"]) + np.float64(layer["bias"])


def largest(x, share):
    if share is None:
        return x
    count = max(1, int(share * x.shape[-1]))
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape[:-1]):
        which = np.argsort(-np.abs(x[i]))[:count]
        out[(*i, which)] = x[(*i, which)]
    return out


def forward(params, ids, *, heads, norm, sink, share, activation):
    """Logits of one sequence, position by position, head by head."""

    def read(h):
        scale = np.sqrt((h**2).mean(-1, keepdims=True) + 1e-5) if norm else 1
        return largest(h / scale, share)

    embed = params["embed"]
    h = np.float64(embed["token"])[ids] + np.float64(embed["position"])[: len(ids)]
    for i in range(len(params) - 2):
        block = params[f"block_{i}"]
        query, key, value = (
            np.split(largest(dense(block[k], read(h)), share), heads, -1)
            for k in ("query", "key", "value")
        )
        z = np.zeros((len(ids), heads, query[0].shape[1]))
        for t, j in np.ndindex(len(ids), heads):
            scores = key[j][: t + 1] @ query[j][t] / np.sqrt(z.shape[-1])
            total = np.exp(scores).sum() + (np.exp(block["sink"][j]) if sink else 0)
            z[t, j] = np.exp(scores) / total @ value[j][: t + 1]
        z = largest(z.reshape(len(ids), -1), share)
        h = h + z @ np.float64(block["out"]["kernel"])
        if "up" in block:
            neurons = np.asarray(activation(dense(block["up"], read(h))), np.float64)
            h = h + largest(dense(block["down"], largest(neurons, share)), share)
    h = h / np.sqrt((h**2).mean(-1, keepdims=True) + 1e-5) if norm else h
    return dense(params["unembed"], h)


@pytest.mark.parametrize("name", MODELS)
def test_equal_to_loops_in_float64(name):
    model, plain = MODELS[name], name == "plain"
    params = noisy(model)
    activation = jax.nn.gelu if name == "sparse" else jax.nn.relu
    options = {"heads": 2 if plain else 3, "norm": not plain, "sink": not plain}
    options |= {"share": SHARE.get(name), "activation": activation}
    want = np.stack([forward(params, ids, **options) for ids in IDS])

    @jax.jit
    def run(params, ids):
        some = [model.apply(params, ids, positions=p) for p in (-1, (2, 3), [4, 1])]
        return model.apply(params, ids), some, model.apply(params, ids[0, :4])

    logits, (last, row, apart), short = run(params, IDS)
    np.testing.assert_allclose(logits, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(last, want[:, [5]], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(row, want[:, 2:4], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(apart, want[:, [4, 1]], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(short, want[0, :4], rtol=1e-4, atol=1e-4)


def test_every_reader_is_the_sum_of_the_writers_before_it():
    model = MODELS["sparse"]
    params = noisy(model)
    acts = jax.jit(sj.activations(model.apply))(params, IDS)[1]
    stream = acts["token"] + acts["position"]
    np.testing.assert_array_equal(acts["embed"], stream)
    for i in range(2):
        assert acts[f"z_{i}"].shape == acts[f"query_{i}"].shape == (2, 6, 3, 2)
        assert acts[f"mlp_{i}"].shape == (2, 6, 7)
        assert (jnp.count_nonzero(acts[f"mlp_{i}"], axis=-1) <= 2).all()
        assert acts[f"head_{i}"].shape == (2, 6, 3, 12)
        for letter in "qkv":
            np.testing.assert_allclose(acts[f"read_{letter}_{i}"], stream, atol=1e-5)
        stream = stream + acts[f"head_{i}"].sum(2)
        np.testing.assert_allclose(acts[f"read_mlp_{i}"], stream, atol=1e-5)
        stream = stream + acts[f"mlp_out_{i}"]
    np.testing.assert_allclose(acts["read_out"], stream, atol=1e-5)


def test_a_head_that_is_masked_writes_nothing():
    model = MODELS["as it is"]
    params = noisy(model)
    masks = sj.masks.ones(model.apply, params, IDS, axes={"z_*": -2})
    assert masks.nodes["z_0"].shape == (3, 1)
    keep = jnp.array([[1.0], [0], [1]])
    masks = masks._replace(nodes={"z_0": keep})
    apply = jax.jit(model.apply)
    out = jax.jit(sj.masked(model.apply))(params, masks, IDS)
    rows = params["block_0"]["out"]["kernel"].copy()
    rows[2:4] = 0
    block = {**params["block_0"], "out": {"kernel": rows}}
    want = apply({**params, "block_0": block}, IDS)
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-5)


def test_parameters_and_training_mode():
    model = models.transformer(50, 40, width=40, heads=5, head=8, neurons=60)
    params = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 40), np.int32))
    paths = sj.trees.by_path(params)
    assert paths["block_1/out/kernel"].shape == (40, 40)
    assert paths["block_0/sink"].shape == (5,) and not paths["block_0/sink"].any()
    assert "block_0/out/bias" not in paths
    for path, inputs in (("block_0/up/kernel", 40), ("block_0/down/kernel", 60)):
        assert abs(paths[path].std() * np.sqrt(inputs) - 1) < 0.05
    assert abs(params["embed"]["token"].var() - 0.5) < 0.05
    kernels = [leaf for path, leaf in paths.items() if path.endswith("kernel")]
    assert len({float(leaf.reshape(-1)[0]) for leaf in kernels}) == len(kernels)
    ids = np.arange(40)[None]

    @jax.jit
    def run(params):
        same = model.train_apply(params, ids, key=jax.random.key(1))
        grads = jax.grad(lambda p: model.apply(p, ids, positions=0).sum())(params)
        return same, model.apply(params, ids), grads

    (out, same), want, grads = run(params)
    jax.tree.map(np.testing.assert_array_equal, (out, same), (want, params))
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"layers": 0}, "layers is 0; expected at least 1"),
        ({"neurons": -1}, "neurons is -1; expected at least 0"),
        ({"norm": "layer"}, "norm is 'layer'; expected 'rms' or None"),
        ({"active": 0.0}, r"active is 0.0; expected a share in \(0, 1\], or None"),
    ],
)
def test_sizes_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        models.transformer(5, 6, **change)


@pytest.mark.parametrize(
    "ids, positions, message",
    [
        (np.zeros((2, 7), int), None, r"ids are int64 of shape \(2, 7\); .* 1 to 6"),
        (np.zeros((2, 3)), None, "ids are float64 .* expected integers"),
        (np.full((2, 3), 5), None, "ids run from 5 to 5; expected 0 to 4"),
        (np.zeros((2, 3), int), (0, 3), r"positions are \[0, 3\]; expected .* -3 to 2"),
        (np.zeros((2, 3), int), (), r"positions are \[\]; expected some"),
        (np.zeros((2, 3), int), 0.5, "positions is 0.5; expected an integer"),
    ],
)
def test_inputs_are_checked(ids, positions, message):
    model = MODELS["as it is"]
    with pytest.raises(ValueError, match=message):
        model.apply(noisy(model), ids, positions=positions)
