"""Relevance as a whole: sums, gradients where it must be one, and composition."""

import functools
import itertools as it

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax import relevance, trees
from sparsejax.relevance import Rules, explain

pytestmark = pytest.mark.usefixtures("float64")

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
}
RULES = {
    "lrp0": Rules(),
    "epsilon": Rules(layer=relevance.epsilon(0.25)),
    "gamma": Rules(layer=relevance.gamma()),
    "z_plus": Rules(layer=relevance.z_plus(), last=relevance.epsilon()),
    "composite": Rules(
        first=relevance.w_square(), layer=relevance.gamma(), last=relevance.epsilon()
    ),
    "path": Rules(maximum="path"),
}


def few(count, quick):
    """All numbers below `count`, the first ones in the quick tests."""

    def marks(number):
        return () if number < quick else pytest.mark.slow

    return [pytest.param(number, marks=marks(number)) for number in range(count)]


class Pooled(nn.Module):
    """Everything that a Flax convolutional network usually has."""

    activation: object = nn.relu

    @nn.compact
    def __call__(self, x):
        for features in (4, 5):
            x = nn.Conv(features, (3, 3), use_bias=features == 5)(x)
            x = nn.BatchNorm(use_running_average=True)(x)
            x = self.activation(x)
            x = nn.max_pool(x, (2, 2), strides=(2, 2), padding="SAME")
        h = nn.Conv(5, (3, 3))(x)
        x = self.activation(x + h)
        x = jax.lax.reduce_window(
            x, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 1, 1, 1), "VALID"
        )
        x = nn.LayerNorm(use_fast_variance=False)(x / 4.0)
        return nn.Dense(3)(x.mean((-3, -2)))


@functools.cache
def network(number, dtype=jnp.float64):
    """One of 20 random networks with all of its parameters random."""
    rng = np.random.default_rng(number)
    activation = list(ACTIVATIONS.values())[number // 3 % len(ACTIVATIONS)]
    if number % 3 == 0:
        model, shape = sj.models.mlp((9, 7), 3, activation), (6,)
    elif number % 3 == 1:
        model, shape = sj.models.convnet((4, 5), 3, activation), (7, 6, 2)
    else:
        model, shape = sj.models.linen(Pooled(activation)), (7, 6, 2)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, *shape), "f4"))

    def draw(path, leaf):
        kernel = leaf.ndim > 1
        scale = np.prod(leaf.shape[:-1]) ** -0.5 if kernel else 0.5
        part = rng.normal(0, scale, leaf.shape)
        part = np.abs(part) + 0.3 if path.endswith(("var", "scale")) else part
        return jnp.asarray(part, dtype)

    flat = {k: draw(k, v) for k, v in trees.by_path(shapes).items()}
    x = jnp.asarray(rng.normal(size=shape), dtype)
    apply = model.apply
    if number % 3:  # convolutions of one example

        def apply(params, x):
            with jax.numpy_dtype_promotion("standard"):  # as Flax needs in float64
                return model.apply(params, x[None])[0]

    return apply, trees.nested(flat), x


def run(fn, params, x, **given):
    """Explained in one compiled call."""
    return jax.jit(lambda params, x: explain(fn, params, x, **given))(params, x)


@functools.cache
def explainer(number, name="lrp0", dtype=jnp.float64):
    """The explanation of a network as a function that is compiled once for all tests.

    Of parameters, input, target and baseline; without one, zero is the reference.
    """
    fn, _, _ = network(number, dtype)

    @jax.jit
    def one(params, x, target, baseline=None):
        reference = "zero" if baseline is None else baseline
        rules = RULES[name]
        return explain(fn, params, x, target=target, baseline=reference, rules=rules)

    return one


@jax.jit
def ratio(found):
    return jnp.abs(found.residual()) / found.magnitude()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("number", few(20, 3))
def test_nothing_is_lost(number, dtype):
    fn, params, x = network(number, dtype)
    far, close = np.roll(x, 1) * dtype(0.5), x + np.roll(x, 1) * dtype(0.01)
    one, compiled = explainer(number, dtype=dtype), jax.jit(fn)
    zero, output = one(params, x, 1), compiled(params, x)[1]
    tolerance = 1e-6 if dtype == jnp.float32 else 1e-12
    np.testing.assert_allclose(zero.output, output, rtol=tolerance)
    assert zero.input.dtype == dtype and ratio(zero) < tolerance
    for baseline in (far, close):  # what is close is not lost in rounding either
        against, other = one(params, x, 1, baseline), compiled(params, baseline)[1]
        assert against.input.dtype == dtype and ratio(against) < tolerance
        assert not any(r.any() for r in against.bias.values())
        np.testing.assert_allclose(against.output, output - other, atol=10 * tolerance)


# Every rule on the network that has all kinds of layers, all kinds of rules on all.
ON_ALL = ("lrp0", "composite")
CONSERVING = [
    pytest.param(
        name, number, marks=() if number == 2 or name in ON_ALL else pytest.mark.slow
    )
    for name in list(RULES)[:5]
    for number in (0, 1, 2)
]


@pytest.mark.parametrize("name, number", CONSERVING)
def test_rules_of_layers_conserve(name, number):
    _, params, x = network(number)
    assert ratio(explainer(number, name)(params, x, 0)) < 1e-12


@pytest.mark.defaults
def test_lrp_0_is_gradient_times_input_on_relu_networks():
    for relu in (0, 1):
        fn, params, x = network(relu)
        found = explainer(relu)(params, x, 2)

        def number(params, x, fn=fn):
            return fn(params, x)[2]

        by_params, by_x = jax.jit(jax.grad(number, (0, 1)))(params, x)
        np.testing.assert_allclose(found.input, x * by_x, atol=1e-12)
        np.testing.assert_allclose(found.multiplier, by_x, atol=1e-12)
        known, given = trees.by_path(by_params), trees.by_path(params)
        assert set(found.bias) == {k for k in known if k.endswith("bias")}
        for path, r in found.bias.items():
            np.testing.assert_allclose(r, given[path] * known[path], atol=1e-12)


@pytest.mark.parametrize("number", few(6, 3))
def test_without_a_reference_it_is_the_gradient(number):
    fn, params, x = network(number)
    weights = jnp.array([1.0, -2.0, 0.5])
    found = run(fn, params, x, target=weights)
    output, expected = jax.jit(
        jax.value_and_grad(lambda x, params: weights @ fn(params, x))
    )(x, params)
    np.testing.assert_allclose(found.multiplier, expected, atol=1e-12)
    np.testing.assert_allclose(found.output, output, rtol=1e-12)


@pytest.mark.parametrize(
    "name, number",
    [
        pytest.param(*case, marks=() if case in quick else pytest.mark.slow)
        for quick in [[("lrp0", 0), ("lrp0", 1), ("lrp0", 2), ("path", 2)]]
        for case in it.product(["lrp0", "path"], range(6))
    ],
)
def test_swapping_input_and_baseline_swaps_the_sign(number, name):
    _, params, x = network(number)
    other, one = np.roll(x, 2), explainer(number, name)
    there, back = one(params, x, 0, other), one(params, other, 0, x)
    np.testing.assert_allclose(there.input, -back.input, atol=1e-12)
    np.testing.assert_allclose(there.multiplier, back.multiplier, atol=1e-11)


def test_batch_norm_needs_nothing_done_to_it():
    """Every mean, bias and shift has its relevance."""
    _, params, x = network(2)
    found = explainer(2)(params, x, 0)
    added = {k for k in trees.by_path(params) if k.endswith(("bias", "mean"))}
    assert set(found.bias) == added


def test_a_residual_sum_does_not_double_anything():
    """Where hooks on modules propagate through h + y they count the input twice."""
    rng = np.random.default_rng(0)
    w, v = (jnp.asarray(rng.normal(size=(4, 4))) for _ in range(2))

    def fn(params, x):
        return jax.nn.relu(x @ params["w"] + x) @ params["v"] + x

    x = jnp.asarray(rng.normal(size=4))
    for rule in (None, relevance.epsilon(1e-9), relevance.gamma(0.0, 0.0)):
        found = run(
            fn, {"w": w, "v": v}, x, target=1, baseline="zero", rules=Rules(layer=rule)
        )
        np.testing.assert_allclose(found.input.sum(), found.output, rtol=1e-6)


def test_reused_functions_and_layers():
    rng = np.random.default_rng(0)
    params = {
        "kernel": jnp.asarray(rng.normal(size=(4, 4))),
        "bias": jnp.asarray(rng.normal(size=4)),
    }

    @jax.jit
    def layer(params, x):
        return jax.nn.relu(x @ params["kernel"] + params["bias"])

    def fn(params, x):
        return layer(params, layer(params, layer(params, x))).sum()

    x = jnp.asarray(rng.normal(size=4))
    found = run(fn, params, x, baseline="zero", edges=True)
    by_params = jax.jit(jax.grad(fn))(params, x)
    np.testing.assert_allclose(found.bias["bias"], params["bias"] * by_params["bias"])
    assert list(sorted(found.edges)) == ["kernel", "kernel#2", "kernel#3"]
    total = sum(found.edges.values())
    np.testing.assert_allclose(total, params["kernel"] * by_params["kernel"])
    assert ratio(found) < 1e-14


def test_constants_answer_for_what_functions_are_at_zero():
    """sigmoid(0) = 1/2, softplus(0) = log 2."""
    for f, zero in ((jax.nn.sigmoid, 0.5), (jax.nn.softplus, np.log(2))):
        a = jnp.array([0.5, -1.5, 0.0])
        found = run(lambda _, x, f=f: f(x).sum(), {}, a, baseline="zero")
        (constant,) = found.constants.values()
        np.testing.assert_allclose(constant, 3 * zero, rtol=1e-12)
        np.testing.assert_allclose(found.input, f(a) - zero, atol=1e-12)


@pytest.mark.parametrize("approximate", [True, False])
def test_gelu_is_one_piece(approximate):
    a = jnp.array([1.0, -0.7, 0.0])

    def gelu(x):
        return jax.nn.gelu(x, approximate=approximate)

    found = explain(lambda _, x: gelu(x).sum(), {}, a, baseline="zero")
    np.testing.assert_allclose(found.input, gelu(a), atol=1e-12)
    assert all(abs(c) < 1e-15 for c in found.constants.values())


def test_numbers_in_sums_are_constants():
    found = explain(lambda _, x: (2 * x + 3.0).sum() - 1.0, {}, jnp.ones(2),
                    baseline="zero")  # fmt: skip
    assert {k: float(v) for k, v in found.constants.items()} == {"add": 6, "sub": -1}
    np.testing.assert_allclose(found.input, [2, 2])


@pytest.mark.defaults
def test_hidden_units_and_edges():
    fn, params, x = network(0)
    found = run(fn, params, x, target=1, baseline="zero", edges=True)
    _, acts = jax.jit(sj.activations(fn))(params, x)
    found, acts = jax.tree.map(np.asarray, (found, acts))

    def bias(*names):
        return sum(found.bias[f"{name}/bias"].sum() for name in names)

    deep = found.nodes["hidden_1"]
    np.testing.assert_allclose(
        found.nodes["hidden_0"].sum() + bias("dense_1", "dense_2"), found.output
    )
    np.testing.assert_allclose(deep.sum() + bias("dense_2"), found.output)
    by = np.asarray(params["dense_2"]["kernel"])[:, 1]
    np.testing.assert_allclose(deep, acts["hidden_1"] * by, atol=1e-12)
    # rows sum to the inputs' relevance, columns and the bias to the outputs'
    np.testing.assert_allclose(found.edges["dense_0"].sum(1), found.input)
    np.testing.assert_allclose(found.edges["dense_1"].sum(1), found.nodes["hidden_0"])
    columns = found.edges["dense_1"].sum(0) + found.bias["dense_1/bias"]
    np.testing.assert_allclose(columns, deep, atol=1e-12)


def test_jit_and_vmap_over_examples_and_masks():
    model = sj.models.mlp((8, 7), 3)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)))
    params = jax.jit(model.init)(jax.random.key(0), x.astype(jnp.float32))
    params = jax.tree.map(lambda a: jnp.asarray(np.float64(a) + 0.01), params)
    apply = sj.masked(model.apply)
    ones = sj.masks.ones(model.apply, params, x[0])
    keys = jax.random.key(1)
    many = ones._replace(
        nodes=sj.masks.bernoulli(keys, ones.nodes, 0.5, shape=(5,)),
        weights=sj.masks.bernoulli(jax.random.key(2), ones.weights, 0.8, shape=(5,)),
    )

    def one(masks, x):
        return explain(sj.bind(apply, masks), params, x, target=0, baseline="zero")

    alone, output = jax.jit(one), jax.jit(apply)
    both = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(many, x)
    assert both.bias["dense_0/bias"].shape == (5, 4, 8)
    assert both.nodes["hidden_0"].shape == (5, 4, 8)
    assert both.residual().shape == (5, 4)
    assert np.all(both.residual() <= 1e-12 * both.magnitude())
    both = jax.tree.map(np.asarray, both)
    for i in range(5):
        mask = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], many)
        np.testing.assert_allclose(
            both.input[i, 2], alone(mask, x[2]).input, atol=1e-12
        )
        np.testing.assert_allclose(both.output[i, 2], output(params, mask, x[2])[0])
        off = mask.nodes["hidden_1"] == 0
        np.testing.assert_array_equal(both.nodes["hidden_1"][i, 2][off], 0)


@pytest.mark.parametrize(
    "name", ["lrp0", *(pytest.param(n, marks=pytest.mark.slow) for n in [*RULES][1:])]
)
def test_explanations_have_gradients(name):
    model = sj.models.mlp((8, 7), 3, jnp.tanh)  # no kinks
    x = jnp.asarray(np.random.default_rng(0).normal(size=6))
    params = jax.jit(model.init)(jax.random.key(0), x.astype(jnp.float32))
    params = jax.tree.map(lambda a: jnp.asarray(np.float64(a) + 0.1), params)

    @jax.jit
    def loss(params):
        found = explain(
            model.apply, params, x, target=0, baseline="zero", rules=RULES[name]
        )
        return jnp.sum(found.input[:3] ** 2)

    gradient = jax.jit(jax.grad(loss))(params)
    step = jax.tree.map(
        lambda a: jnp.asarray(np.random.default_rng(1).normal(size=a.shape)), params
    )

    def at(t):
        return loss(jax.tree.map(lambda a, b: a + t * b, params, step))

    numeric = (at(1e-6) - at(-1e-6)) / 2e-6
    exact = sum(
        jnp.vdot(a, b)
        for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(step), strict=True)
    )
    np.testing.assert_allclose(exact, numeric, rtol=1e-6)


def test_any_library_of_layers():
    x = jnp.asarray(np.random.default_rng(0).normal(size=6))

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(6, 5, rngs=rngs, param_dtype=jnp.float64)
            self.last = nnx.Linear(5, 2, rngs=rngs, param_dtype=jnp.float64)
            self.first.bias[...] += 0.3

        def __call__(self, x):
            return self.last(jax.nn.relu(self.first(x)))

    graph, state, rest = nnx.split(Net(nnx.Rngs(0)), nnx.Param, ...)

    def apply(state, x):
        return nnx.merge(graph, state, rest)(x)

    found = run(apply, state, x, target=0, baseline="zero")
    assert ratio(found) < 1e-12
    assert any("first" in path and "bias" in path for path in found.bias)

    net = eqx.nn.MLP(6, 2, 5, 2, key=jax.random.key(0), dtype=jnp.float64)
    arrays, static = eqx.partition(net, eqx.is_array)

    def apply(arrays, x):
        return eqx.combine(arrays, static)(x)

    found = run(apply, arrays, x, target=1, baseline="zero")
    assert ratio(found) < 1e-12
    by = jax.jit(jax.grad(lambda x: apply(arrays, x)[1]))(x)
    np.testing.assert_allclose(found.input, x * by, atol=1e-12)


def attention(params, x):
    q, k, v = (x @ params[name] for name in "qkv")
    weights = jax.nn.softmax(q @ k.T / np.sqrt(4).item())
    h = checkpoint_name(weights @ v, "mixed")
    return (x + h @ params["o"]).sum(0) @ params["r"]


def test_products_of_two_values():
    """Half each with the uniform rule; weights that are constants with detach."""
    rng = np.random.default_rng(0)
    params = {k: jnp.asarray(rng.normal(size=(4, 4))) for k in "qkvo"}
    params["r"] = jnp.asarray(rng.normal(size=(4, 2)))
    x = jnp.asarray(rng.normal(size=(3, 4)))
    uniform, detach, gradient = (
        run(attention, params, x, target=0, baseline="zero", rules=Rules(product=kind))
        for kind in ("uniform", "detach", "gradient")
    )
    assert ratio(uniform) < 1e-12 and ratio(detach) < 1e-12
    q, k, v = (x @ params[name] for name in "qkv")
    weights = jax.nn.softmax(q @ k.T / 2.0)

    def held(x):
        return (x + (weights @ (x @ params["v"])) @ params["o"]).sum(0)

    by = jax.jit(jax.grad(lambda x: (held(x) @ params["r"])[0]))(x)
    np.testing.assert_allclose(detach.input, x * by, atol=1e-12)
    assert ratio(gradient) > 1e-3  # counts both factors whole
    against = run(attention, params, x, target=0, baseline=jnp.ones_like(x) * 0.3)
    assert ratio(against) < 1e-12


def test_a_square_is_a_function_and_a_product_a_pair():
    x = jnp.array([2.0, 3.0])

    def fn(_, x):
        return x[0] * x[1]

    half = explain(fn, {}, x, baseline="zero")
    np.testing.assert_allclose(half.input, [3.0, 3.0])
    against = explain(fn, {}, x, baseline=jnp.array([1.0, 1.0]))
    np.testing.assert_allclose(against.input, [2.0, 3.0])  # midpoints: 1 x 2, 2 x 1.5
    square = explain(lambda _, x: (x**2).sum(), {}, x, baseline="zero")
    np.testing.assert_allclose(square.input, [4.0, 9.0])


def test_a_custom_rule_of_a_primitive():
    def fn(_, x):
        return jnp.sort(x)[-1]

    rules = Rules(primitives={"sort": relevance.derivative})
    found = explain(fn, {}, jnp.array([3.0, 1.0, 2.0]), baseline="zero", rules=rules)
    np.testing.assert_allclose(found.input, [3, 0, 0])


BAD = {
    "sort": (lambda p, x: jnp.sort(x)[0], {}, "'sort'.*test_explain.py.*no rule"),
    "loop": (
        lambda p, x: jax.lax.scan(lambda c, a: (c + a, None), 0.0, x)[0],
        {},
        "'scan'.*loops.*; pass sj.unrolled.fn.: its 3 steps are then written out, or",
    ),
    "vector": (lambda p, x: x, {}, r"shape \(3,\); say what to explain"),
    "range": (lambda p, x: x, {"target": 3}, "target 3 is none of 3"),
    "scalar": (lambda p, x: x.sum(), {"target": 0}, "index of a vector"),
    "many": (lambda p, x: (x, x), {"target": 0}, "returns 2 arrays"),
    "integers": (lambda p, x: x.argmax(), {}, "explain logits"),
    "weights": (lambda p, x: x, {"target": jnp.ones(2)}, r"output's shape \(3,\)"),
    "baseline": (
        lambda p, x: x.sum(),
        {"baseline": jnp.ones((1, 3))},
        r"baseline has shape \(1, 3\), but x has shape \(3,\)",
    ),
    "word": (lambda p, x: x.sum(), {"baseline": "mean"}, '"zero" or an array'),
    "nan": (lambda p, x: (x / 0.0).sum(), {}, "not finite in 'output'"),
    "log": (lambda p, x: jnp.log(x - 5.0).sum(), {"baseline": "zero"}, "not finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_explained(name):
    fn, given, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        explain(fn, {}, jnp.array([1.0, 2.0, 3.0]), **given)


def test_nan_inside_jit_shows_in_the_residual():
    def fn(p, x):
        return (x * p).sum()

    found = run(fn, jnp.array([1.0, np.nan]), jnp.ones(2), baseline="zero")
    assert np.isnan(found.residual())


def test_the_maximum_that_softmax_subtracts_is_no_constant():
    """It cancels: what is compared is the function, not how it is computed."""
    x, other = jnp.array([0.3, 2.0, -1.0]), jnp.array([1.0, -0.5, 0.2])
    for f in (jax.nn.softmax, jax.nn.log_softmax, jax.nn.logsumexp):

        def fn(_, x, f=f):
            return f(x).reshape(-1)[0]

        value = jax.jit(jax.value_and_grad(lambda x, fn=fn: fn({}, x)))
        (output, by), (base, _) = value(x), value(other)
        against = run(fn, {}, x, baseline=other)
        np.testing.assert_allclose(np.sum(against.input), output - base)
        np.testing.assert_allclose(run(fn, {}, x).multiplier, by)
        assert ratio(run(fn, {}, x, baseline="zero")) < 1e-14

    def stopped(_, x):
        return (jax.lax.stop_gradient(x) * x).sum()

    found = explain(stopped, {}, x, baseline="zero")
    np.testing.assert_allclose(found.input, x**2)  # what users stop stays stopped


@pytest.mark.parametrize("low", [-1e9, "min", "half", -np.inf])
@pytest.mark.parametrize("added", [False, True])
def test_what_attention_must_not_look_at_keeps_its_share(low, added):
    """Libraries write -inf, or the lowest number, of which 1 over it is flushed."""
    least = float(jnp.finfo(jnp.float32).min)
    low = {"min": least, "half": 0.5 * least}.get(low, low)
    x = jnp.array([[0.4, 1.0], [-0.7, 0.5], [0.2, -0.1]], jnp.float32)
    seen = np.tril(np.ones((3, 3), bool))

    def fn(_, x):
        scores = x @ x.T
        if added:
            scores = scores + jnp.where(seen, 0, low).astype(x.dtype)
        else:
            scores = jnp.where(seen, scores, low)
        return (jax.nn.softmax(scores) @ x)[0, 1]

    found = run(fn, {}, x, baseline="zero")
    np.testing.assert_allclose(found.output, x[0, 1], rtol=1e-6)
    assert ratio(found) < 1e-6


@pytest.mark.parametrize("fn", [
    lambda _, x: jnp.where(x.sum() > 0, x, 2 * x + 1.0).sum(),
    lambda _, x: jnp.where(x[::-1] > 0, x, 3 * x + 1.0).sum(),
    lambda _, x: (x[jnp.argmax(x)] * 2.0 + x[0]),
])  # fmt: skip
def test_choices_that_differ_for_the_baseline_lose_nothing(fn):
    x, other = jnp.array([0.3, 2.0, -1.0]), jnp.array([-1.0, -0.5, 0.2])
    there = run(fn, {}, x, baseline=other)
    back = run(fn, {}, other, baseline=x)
    assert ratio(there) < 1e-14
    np.testing.assert_allclose(there.input, -back.input)

    def total(found):
        return sum(found.constants.values())

    np.testing.assert_allclose(total(there), -total(back), atol=1e-12)


def test_a_branch_not_taken_may_be_anything():
    found = explain(lambda _, x: x.var(), {}, jnp.array([1.0, 2.0]), baseline="zero")
    assert ratio(found) < 1e-14


def test_complex_numbers_are_refused():
    with pytest.raises(ValueError, match="at .*test_explain.py.* makes complex"):
        explain(lambda _, x: jnp.fft.fft(x).real.sum(), {}, jnp.ones(3))
    with pytest.raises(ValueError, match="'complex' .*real parts"):
        explain(lambda _, x: jnp.abs(jax.lax.complex(x, x)).sum(), {}, jnp.ones(3))


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 3e-7, 1.2e-7, 0.0])
@pytest.mark.defaults
def test_slopes_close_to_the_reference_are_not_rounding(distance):
    """In float32 the quotient of differences is noise there, the derivative is not."""
    for f, slope in ((jax.nn.sigmoid, 0.25), (jnp.tanh, 1.0)):
        a = jnp.float32(distance)
        found = explain(lambda _, x, f=f: f(x), {}, a, baseline="zero")
        np.testing.assert_allclose(found.multiplier, slope, rtol=1e-5)
    a, b = jnp.float32(0.5 + distance), jnp.float32(0.5)
    found = explain(lambda _, x: jnp.tanh(x), {}, a, baseline=b)
    exact = 1 - np.tanh(0.5 + distance / 2) ** 2
    np.testing.assert_allclose(found.multiplier, exact, rtol=1e-5)


def test_a_kink_between_the_input_and_the_baseline_is_no_rounding():
    for width in (1e-1, 1e-3, 1e-5):
        a, b = jnp.float32(0.75 * width), jnp.float32(-0.25 * width)
        found = explain(lambda _, x: jax.nn.leaky_relu(x, 0.5), {}, a, baseline=b)
        np.testing.assert_allclose(found.multiplier, 0.875, rtol=1e-5)


def test_functions_with_a_derivative_rule_of_their_own():
    @jax.custom_vjp
    def activation(x):
        return jnp.tanh(x)

    activation.defvjp(lambda x: (jnp.tanh(x), x), lambda x, q: (q * (1 - x**2),))
    x = jnp.array([0.4, -0.9])
    for reference in (None, "zero", jnp.array([0.1, 0.2])):
        found = run(lambda _, x: activation(x).sum(), {}, x, baseline=reference)
        if reference is not None:
            assert ratio(found) < 1e-14


def test_biases_inside_an_activation_have_their_share():
    x, params = jnp.array([0.4, -0.9]), {"b": jnp.array([0.3, 0.2])}

    def fn(p, x):
        return jnp.sum(x * jax.nn.sigmoid(x + p["b"]))

    found = explain(fn, params, x, baseline="zero")
    assert found.bias["b"].any() and ratio(found) < 1e-14


def test_what_does_not_depend_on_the_input_explains_no_difference():
    def fn(p, x):
        return jnp.sum(p["w"] * p["w"])

    params, x = {"w": jnp.array([1.0, 2.0])}, jnp.ones(2)
    found = explain(fn, params, x, baseline=jnp.zeros(2))
    assert found.output == 0 and found.residual() == 0


def test_a_target_that_is_out_of_range_inside_jit_shows():
    def fn(_, x):
        return x

    one = jax.jit(lambda t: explain(fn, {}, jnp.ones(3), target=t).input)
    assert np.isnan(one(17)).any()
    np.testing.assert_array_equal(one(-1), [0, 0, 1])


def test_rules_of_steps_with_parameters_inside_lose_rather_than_invent():
    rng = np.random.default_rng(0)
    params = {"k": jnp.asarray(rng.normal(size=(3, 3)))}

    def fn(p, x):
        return jax.lax.scan(lambda c, _: (c @ p["k"], None), x, None, 3)[0][0]

    rules = Rules(primitives={"scan": relevance.derivative})
    x = jnp.asarray(rng.normal(size=3))
    found = explain(fn, params, x, baseline="zero", rules=rules)
    assert ratio(found) < 1e-14 and not found.bias
    wrong = Rules(primitives={"scan": lambda step, inputs, outputs, q: q})
    with pytest.raises(ValueError, match="returned 1 multipliers"):
        explain(fn, params, x, baseline="zero", rules=wrong)


def test_half_precision():
    rng = np.random.default_rng(0)
    params = {"k": jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)}

    def fn(p, x):
        return jax.nn.relu(x.astype(jnp.float32) @ p["k"]).sum()

    x = jnp.asarray(rng.normal(size=6), jnp.bfloat16)
    found = run(fn, params, x, baseline="zero")
    assert found.output.dtype == jnp.float32 and ratio(found) < 0.01
    half = jax.tree.map(lambda a: a.astype(jnp.float16), params)

    def fn(p, x):
        return jax.nn.relu(x @ p["k"]).sum()

    rules = Rules(layer=relevance.z_plus())
    found = run(fn, half, x.astype(jnp.float16), baseline="zero", rules=rules)
    assert ratio(found) < 0.01


def test_long_chains_and_constant_vectors():
    def chain(_, x):
        for _ in range(120):
            x = jnp.exp(-jnp.log1p(jnp.exp(x)))
        return x

    assert ratio(explain(chain, {}, jnp.float64(0.3), baseline="zero")) < 1e-12
    over = np.array([1.0, 2.0])

    def fn(p, x):
        return (x * (over / p["v"])).sum()

    assert ratio(explain(fn, {"v": jnp.ones(2)}, jnp.ones(2), baseline="zero")) == 0


@pytest.mark.parametrize("target", ["a", (0,), [0.0, 1.0]])
def test_targets_that_are_none(target):
    with pytest.raises(ValueError, match="target"):
        explain(lambda p, x: x, {}, jnp.ones(3), target=target)
