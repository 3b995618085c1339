"""The randomisation check: what is shuffled, in which order, and what it shows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

from sparsejax import masked, masks, models, relevance

pytestmark = pytest.mark.usefixtures("float64")


def KEY():
    return jax.random.key(5)


class Normalized(nn.Module):
    """Names that do not sort in the order of layers, and normalisations between."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(3, (3, 3), name="stem", padding="VALID")(x)
        x = jax.nn.relu(nn.LayerNorm(name="after_stem")(x))
        skip = nn.Dense(4, name="side")(x)
        x = jax.nn.relu(nn.Dense(4, name="middle")(x) + skip)
        x = nn.LayerNorm(name="before_head")(x)
        return nn.Dense(3, name="head")(x.ravel())


def test_every_stage_by_hand(rng):
    net, x = models.mlp((6, 5), 3), rng.normal(size=4)
    shapes = jax.eval_shape(net.init, KEY(), jnp.float32(x))
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    seen = []

    def explain_fn(params):
        seen.append(params)
        return relevance.gradient(net.apply, params, x, target=0)

    found = relevance.randomization_check(explain_fn, params, KEY())
    assert found.layers == ("dense_2", "dense_1", "dense_0")
    assert found.maps.shape == (4, 4)
    stages = seen[-4:]  # the first call finds the order
    for stage, done in enumerate([[], ["dense_2"], ["dense_2", "dense_1"]]):
        for layer in params:
            for kind in ("kernel", "bias"):
                now, then = stages[stage][layer][kind], params[layer][kind]
                assert np.array_equal(now, then) == (layer not in done)
                np.testing.assert_array_equal(np.sort(now, None), np.sort(then, None))
        again = relevance.gradient(net.apply, stages[stage], x, target=0)
        np.testing.assert_array_equal(found.maps[stage], again)
    wanted = [spearmanr(found.maps[0], map_).statistic for map_ in found.maps[1:]]
    np.testing.assert_allclose(found.correlation, wanted, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("method, jit", [("gradient", False), ("lrp", True)])
def test_layers_come_in_the_order_of_the_function(method, jit):
    with jax.enable_x64(False):
        x = jax.random.normal(KEY(), (5, 5, 2))
        params = Normalized().init(KEY(), x)
        apply = Normalized().apply
        if method == "gradient":

            def run(params):
                return relevance.gradient(apply, params, x, target=0)
        else:

            def run(params):
                return relevance.explain(
                    apply, params, x, target=0, baseline="zero"
                ).input

        run = jax.jit(run) if jit else run
        found = relevance.randomization_check(run, params, KEY())
    order = ["head", "before_head", "middle", "side", "after_stem", "stem"]
    first = [layer.removeprefix("params/") for layer in found.layers]
    assert sorted(first) == sorted(order)
    wanted = [name for name in first if name not in ("middle", "side")]
    assert wanted == ["head", "before_head", "after_stem", "stem"]
    assert {*first[2:4]} == {"middle", "side"}


def test_a_normalisation_comes_before_the_kernel_that_reads_it(rng):
    """Also where kernels stand on the left."""
    params = {k: rng.normal(size=(4, 4)) for k in ("head", "norm", "stem")}

    def run(p):
        return p["head"] @ (p["norm"] * (p["stem"] @ jnp.ones((4, 4))))

    found = relevance.randomization_check(run, params, KEY())
    assert found.layers == ("head", "norm", "stem")


def test_masked_networks(rng):
    net, x = models.mlp((6,), 3), jnp.asarray(rng.normal(size=4))
    shapes = jax.eval_shape(net.init, KEY(), x.astype(jnp.float32))
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)
    apply, kept = masked(net.apply), masks.ones(net.apply, params, x)

    def fn(params, x):
        return apply(params, kept, x)

    def run(params):
        return relevance.gradient(fn, params, x, target=0)

    found = relevance.randomization_check(run, params, KEY())
    assert found.layers == ("dense_1", "dense_0")


def test_a_map_of_the_input_alone_never_changes(rng):
    """An explanation that ignores the parameters is found out."""
    x = rng.normal(size=12)
    params = {"kernel": rng.normal(size=(12, 3))}

    def run(params):
        return jnp.asarray(x) + 0 * jnp.sum(params["kernel"])

    found = relevance.randomization_check(run, params, KEY())
    np.testing.assert_allclose(found.correlation, 1, rtol=1e-12)

    def run(params):
        return params["kernel"] @ jnp.asarray([1.0, 0.0, 0.0])

    assert relevance.randomization_check(run, params, KEY()).correlation[0] < 0.99


def test_what_is_refused(rng):
    params = {"a": {"kernel": rng.normal(size=(4, 4))}, "b": rng.normal(size=(4, 4))}

    def run(params):
        return jnp.ones(4) @ params["a"]["kernel"] @ params["b"]

    check = relevance.randomization_check
    assert check(run, params, KEY()).layers == ("b", "a")
    assert check(run, params, KEY(), layers=["b", "a/kernel"]).layers[0] == "a/kernel"
    with pytest.raises(
        ValueError, match="lies in layer 'c'; there are 'a/kernel', 'b'"
    ):
        check(run, params, KEY(), layers=["a", "c"])
    with pytest.raises(ValueError, match="no layers to randomise"):
        check(run, params, KEY(), layers=[])
    with pytest.raises(ValueError, match="the same everywhere"):
        check(lambda params: 0 * run(params), params, KEY())
    with pytest.raises(ValueError, match="not finite in 'map/0'"):
        check(lambda params: run(params) * np.array([1, np.nan, 1, 1]), params, KEY())

    def looped(params):
        def step(h, _):
            return (run(params) + h, None)

        return jax.lax.scan(step, jnp.zeros(4), None, length=2)[0]

    with pytest.raises(
        ValueError, match=r"reads 'a', 'b' in a 'scan' at .*pass layers"
    ):
        check(looped, params, KEY())
    assert check(looped, params, KEY(), layers=["a", "b"]).layers == ("b", "a")
