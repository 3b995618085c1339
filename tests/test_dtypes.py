"""Every analysis on networks of 16 bits: right to the rounding of their type.

The numbers are the same in all types (eighths), so that the results in float64 are what
the others have to come to.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax import (
    data,
    dissect,
    features,
    flowgraph,
    hypercube,
    masks,
    prune,
    relevance,
    removal,
    sweep,
    train,
    weights,
)

pytestmark = pytest.mark.usefixtures("float64")

DTYPES = "float16", "bfloat16"


def key():
    return jax.random.key(0)


def eighths(dtype, *shape, seed=0):
    numbers = np.random.default_rng(seed).integers(-12, 13, shape) / 8
    return jnp.asarray(numbers, dtype)


def net(p, x):
    h = checkpoint_name(jax.nn.relu(x @ p["a"] + p["c"]), "hidden")
    return h @ p["b"] + p["d"]


def image(p, x):
    """Of an image of 4 x 4 x 2."""
    h = jax.lax.conv_general_dilated(
        x[None], p["k"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]
    return checkpoint_name(jax.nn.relu(h), "map").max((0, 1)) @ p["o"]


def params(dtype):
    return {
        "a": eighths(dtype, 3, 4, seed=1), "c": eighths(dtype, 4, seed=2),
        "b": eighths(dtype, 4, 2, seed=3), "d": eighths(dtype, 2, seed=4),
    }  # fmt: skip


def maps(dtype):
    return {"k": eighths(dtype, 2, 2, 2, 3, seed=5), "o": eighths(dtype, 3, 2, seed=6)}


def setting(dtype):
    """Parameters, an example, a batch, labels, masks of ones, some masks."""
    p, x = params(dtype), eighths(dtype, 6, 3, seed=7)
    ones = masks.ones(net, p, x)
    some = ones._replace(
        weights={**ones.weights, "a": jnp.asarray(np.tri(3, 4), dtype)},
        nodes={"hidden": jnp.array([1, 0, 1, 1], dtype)},
    )
    return p, x, jnp.array([0, 1, 1, 0, 1, 0]), ones, some


def run_masked(dtype):
    p, x, _, _, some = setting(dtype)
    fill = {"hidden": eighths(dtype, 4, seed=8)}
    return sj.masked(net)(p, some, x), sj.masked(net, ablate=fill)(p, some, x)


def run_activations(dtype):
    p, x, *_ = setting(dtype)
    return sj.activations(net)(p, x)


def run_edit(dtype):
    p, x, *_ = setting(dtype)
    return sj.edit(net, {"hidden": lambda h: h * 2})(p, x)


def run_named(dtype):
    p, x, *_ = setting(dtype)
    named = sj.named(lambda p, x: jax.nn.relu(x @ p["a"]) @ p["b"])
    return sj.activations(named)(p, x)


def run_scores(dtype):
    p, x, *_ = setting(dtype)
    grads = jax.grad(lambda p: net(p, x).sum())(p)
    return (
        prune.magnitude(p), prune.snip(p, grads), prune.activation_std(net, p, x)
    )  # fmt: skip


def run_remove(dtype):
    p, _, _, ones, _ = setting(dtype)
    scores = {k: jnp.abs(v) for k, v in p.items()}

    def remove(scores, mask):
        return prune.remove(scores, mask, 0.4, scope="global")

    return remove(scores, ones.weights), jax.jit(remove)(scores, ones.weights)


def run_lottery(dtype):
    p, x, y, ones, _ = setting(dtype)
    apply, optimizer = sj.masked(net), optax.sgd(0.125)

    def steps(state, mask, stop):
        return train.fit(
            apply, None, ones._replace(weights=mask), (x, y), optimizer=optimizer,
            batch_size=6, steps=stop or 2, key=key(), state=state,
        )[0]  # fmt: skip

    start = train.init(p, optimizer, key=key())
    *_, ticket = prune.lottery(steps, start, ones.weights, rounds=1, fraction=0.5)
    assert all(v.dtype == dtype for v in ticket.trained.params.values())
    return ticket.mask


def run_fit(dtype):
    p, x, y, _, some = setting(dtype)
    state, history = train.fit(
        sj.masked(net), p, some, (x, y), optimizer=optax.sgd(0.125), batch_size=6,
        steps=3, key=key(),
    )  # fmt: skip
    return state.params, history["loss"]


def run_evaluate(dtype):
    p, x, y, _, some = setting(dtype)
    return train.evaluate(sj.masked(net), p, some, (x, y))


def run_losses(dtype):
    p, x, y, *_ = setting(dtype)
    return train.cross_entropy(net(p, x), y), train.accuracy(net(p, x), y)


def run_remove_nodes(dtype):
    p, x, *_, some = setting(dtype)
    return prune.remove_nodes(net, p, some.nodes, x)


def run_compact(dtype):
    p, x, *_, some = setting(dtype)
    small = prune.compact(net, p, some, x)
    return small.params, small.fn(small.params, x)


def run_idle(dtype):
    p, x, *_, some = setting(dtype)
    return dict(prune.idle(net, p, some, x))


def run_obs(dtype):
    p, x, *_ = setting(dtype)
    return prune.obs(p["a"], x, 0.5, damping=0.1).params, prune.hessian(x).products


def run_layer_hessians(dtype):
    p, x, *_ = setting(dtype)
    images = eighths(dtype, 2, 4, 4, 2, seed=9)
    dense = prune.layer_hessians(net, p, x)
    conv = prune.layer_hessians(image, maps(dtype), images)
    return [layer.state.products for layer in [*dense, *conv]]


def run_spade(dtype):
    p, x, *_ = setting(dtype)

    def augment(key, x):
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x, -x)

    return prune.spade(
        net, p, x[0], key=key(), density=0.5, samples=4, augment=augment
    ).mask


def run_sweep(dtype):
    p, x, y, ones, some = setting(dtype)
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), ones, some)

    def loss(mask):
        return sj.masked(net)(p, mask, x).sum()

    return sweep.evaluate(jax.value_and_grad(loss), stacked, progress=False)


def run_hypercube(dtype):
    p, x, y, ones, _ = setting(dtype)

    def loss(bits):
        mask = ones._replace(nodes={"hidden": bits.astype(dtype)})
        return sj.masked(net)(p, mask, x).sum()

    values = hypercube.evaluate(loss, 4, progress=False)
    sampled = hypercube.estimate_shapley(loss, 4, key=key(), permutations=4)
    return (
        values, hypercube.shapley(values), hypercube.banzhaf(values),
        hypercube.interactions(values), hypercube.mean(values, keep_prob=0.5),
        hypercube.best(values).values, hypercube.walsh(values),
        sampled.values,
    )  # fmt: skip


def run_estimate_mean(dtype):
    def loss(bits):
        return (bits.astype(dtype) * eighths(dtype, 4)).sum()

    return hypercube.estimate_mean(loss, 4, 0.5, key=key(), samples=16).values


def run_readout(dtype):
    p, x, y, *_ = setting(dtype)
    h = jax.nn.relu(x @ p["a"] + p["c"])
    return tuple(hypercube.evaluate_readout(h, p["b"], p["d"], y))


def run_explain(dtype):
    p, x, *_ = setting(dtype)
    rules = relevance.Rules(layer=relevance.gamma(), last=relevance.epsilon(0.125))
    return [
        relevance.explain(
            net, p, x[0], target=0, baseline=start, rules=rule, edges=True
        )._asdict()
        for start in (None, "zero", x[1]) for rule in (None, rules)
    ]  # fmt: skip


def run_explain_image(dtype):
    x = eighths(dtype, 4, 4, 2, seed=9)
    rules = relevance.Rules(first=relevance.z_box(-2, 2), maximum="cross")
    return relevance.explain(
        image, maps(dtype), x, target=0, baseline="zero", rules=rules
    )._asdict()


def run_gradients_of_input(dtype):
    p, x, *_ = setting(dtype)
    one = net, p, x[0]
    start = {"target": 1, "baseline": x[1]}
    return (
        relevance.gradient(*one, target=1), relevance.gradient_x_input(*one, target=1),
        relevance.guided_backprop(*one, target=1), relevance.deconvnet(*one, target=1),
        relevance.deeplift(*one, **start),
        relevance.integrated_gradients(*one, steps=64, **start),
        relevance.expected_gradients(*one, x[:2], target=1, key=key(), samples=64),
    )  # fmt: skip


def run_smoothgrad(dtype):
    p, x, *_ = setting(dtype)
    return relevance.smoothgrad(net, p, x[0], target=1, key=key(), noise=0.001)


def run_grad_cam(dtype):
    x = eighths(dtype, 4, 4, 2, seed=9)
    return relevance.grad_cam(image, maps(dtype), x, "map", target=0)


def run_occlusion(dtype):
    x = eighths(dtype, 4, 4, 2, seed=9)
    return relevance.occlusion(image, maps(dtype), x, target=0, window=2)


def run_curves(dtype):
    p, x, *_ = setting(dtype)
    order = eighths(dtype, 3, seed=11)
    return (
        relevance.deletion(net, p, x[0], order, target=0, steps=3).output,
        relevance.insertion(net, p, x[0], order, target=0, steps=3).output,
    )


def run_places(dtype):
    found = eighths(dtype, 4, 4, seed=12)
    where = np.tri(4, dtype=bool)
    return (
        relevance.localization(found, where), relevance.pointing_game(found, where),
        relevance.localization_auc(found, where),
        relevance.rank_correlation(found, eighths(dtype, 4, 4, seed=13)),
    )  # fmt: skip


def run_penalties(dtype):
    p, x, *_ = setting(dtype)
    region = jnp.array([0, 1, 0], bool)

    def total(p):
        return (
            relevance.outside_squared(net, p, x[0], region),
            relevance.outside_target(net, p, x[0], region, target=0),
            relevance.outside_share(net, p, x[0], region, target=0),
            relevance.rrr(net, p, x[0], region),
        )

    return total(p), jax.grad(lambda p: total(p)[0])(p)


def run_randomization(dtype):
    p, x, *_ = setting(dtype)
    found = relevance.randomization_check(
        lambda p: relevance.gradient_x_input(net, p, x[0], target=0), p, key()
    )
    return [leaf for leaf in found if not isinstance(leaf, tuple)]


def run_expand(dtype):
    p = params(dtype)
    return (
        weights.expand(net, p, None, None, size=3, split=True, through="hidden")[:6],
        weights.expand(image, maps(dtype), None, "map", size=(4, 4, 2)).weights,
    )


def run_weight_gradients(dtype):
    p, x, *_ = setting(dtype)
    return weights.gradients(net, p, x, None, None).weights


def run_kernels(dtype):
    kernel = eighths(dtype, 2, 2, 3, 4, seed=14)
    return (
        tuple(weights.statistics(kernel)), weights.banding(kernel),
        tuple(weights.directions(kernel)), tuple(weights.strongest(kernel, 2)),
    )  # fmt: skip


def run_factor(dtype):
    kernel = eighths(dtype, 2, 2, 3, 4, seed=14)
    return weights.factor(kernel, 2, steps=20)._asdict()


def run_render(dtype):
    pixels = {"parametrization": features.pixels(), "transform": features.compose()}
    found = [
        features.render(
            image, maps(dtype), "map", [0], key=key(), size=(4, 4, 2), steps=2,
            progress=False, **how,
        )
        for how in ({}, pixels)
    ]  # fmt: skip
    acts = sj.activations(image, "map")
    h = acts(maps(dtype), found[1].images[0].astype(dtype))[1]["map"]
    return found[1].values[0] - h[..., 0].mean(), found[0].images.shape


def run_whole_networks(dtype):
    """What goes through all layers of a network, or through the input square."""
    p, x, _, _, some = setting(dtype)
    layers = prune.layer_hessians(net, p, x)

    def score(params, i):
        return float(net(params, x).sum().astype(jnp.float32))

    tuned = prune.tune_density(
        p, [layers], score, groups=["a", "b"], densities=[0.5], sweeps=1, progress=False
    )

    def loss(mask, point):
        return (mask.astype(dtype) * x[0, 0]).sum() * point[0].astype(dtype)

    heat = removal.heat_maps(loss, jnp.ones(2), size=3)
    pruned = prune.prune_layers(p, layers, 0.5)
    csr = {k: v.toarray() for k, v in flowgraph.kernels(p, some.weights).items()}
    return (
        tuned.density, list(heat), pruned.mask, csr,
        list(weights.by_layer(p, some.weights).values()),
    )  # fmt: skip


def run_dissect(dtype):
    images = eighths(dtype, 6, 4, 4, 2, seed=9)
    labels = data.Labels(("", "label"), ("color",), np.array([-1, 0]))
    pixels = np.ones((6, 1, 8, 8), int) * np.tri(8, dtype=int)
    whole = np.zeros((6, 0), int)
    found = dissect.dissect(
        image, maps(dtype), "map", [(images, pixels, whole)], labels, quantile=0.25,
        progress=False,
    )  # fmt: skip
    return found.thresholds, dissect.upsample(np.asarray(images[0]), (8, 8))


def run_trace(dtype):
    p, x, *_ = setting(dtype)
    graph = flowgraph.trace(lambda x: net(p, x), x[0])
    return graph(x), graph.bounds("interval").low, graph.relevance(x, 0).input


def run_removal(dtype):
    values = np.asarray(eighths(dtype, 16, seed=15))
    density = removal.kde(values, 0.25, np.linspace(-1, 1, 5))
    return tuple(removal.moments(values)), density


RUNS = {k[4:]: v for k, v in globals().copy().items() if k.startswith("run_")}
# Of the quick tests; the others take a second or two each, most to compile.
QUICK = "masked", "remove", "estimate_mean", "expand", "factor", "obs"
CASES = [
    pytest.param(
        name, dtype,
        marks=[pytest.mark.defaults] if name in QUICK and dtype == "bfloat16"
        else [pytest.mark.slow],
    )
    for name in RUNS for dtype in DTYPES
]  # fmt: skip


def leaves(tree):
    return {
        path: np.asarray(leaf).astype(np.float64)
        for path, leaf in sj.trees.by_path(tree).items()
        if not isinstance(leaf, str)
    }


@functools.cache
def oracle(name):
    return leaves(RUNS[name](jnp.float64))


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_every_analysis_with_16_bits(name, dtype):
    dtype = jnp.dtype(dtype)
    found, expected = leaves(RUNS[name](dtype)), oracle(name)
    assert found.keys() == expected.keys() and found
    eps = float(jnp.finfo(dtype).eps)
    for path, ours in found.items():
        theirs = expected[path]
        scale = 1 + np.abs(theirs[np.isfinite(theirs)]).max(initial=0)
        assert ours.shape == theirs.shape, path
        np.testing.assert_allclose(ours, theirs, 0, 12 * eps * scale, err_msg=path)
