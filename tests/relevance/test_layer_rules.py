"""Layer rules against their formulas, term by term, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import relevance
from sparsejax.relevance import Rules

pytestmark = pytest.mark.usefixtures("float64")

LOW, HIGH = -1.5, 2.0
plus, minus = lambda v: np.maximum(v, 0), lambda v: np.minimum(v, 0)


def blip(s, eps):
    return s + eps * np.where(s >= 0, 1.0, -1.0)


def terms(rule, a, w, b, z):
    """[(how much of R, terms of the inputs (in, out), term of the bias (out,))]"""
    column = a[:, None]
    zero = np.zeros_like(b)
    for_sum = plus(column) * plus(w) + minus(column) * minus(w)
    against = plus(column) * minus(w) + minus(column) * plus(w)
    if rule == "epsilon":
        return [(1, column * w, b)]
    if rule == "z_plus":
        return [(1, for_sum, plus(b))]
    if rule == "alpha_beta":
        return [(2, for_sum, plus(b)), (-1, against, minus(b))]
    if rule == "gamma":
        return [
            ((z > 0) * 1.0, column * w + 0.3 * for_sum, b + 0.3 * plus(b)),
            ((z < 0) * 1.0, column * w + 0.3 * against, b + 0.3 * minus(b)),
        ]
    if rule == "w_square":
        return [(1, w**2, b**2)]
    if rule == "flat":
        return [(1, np.ones_like(w), zero)]
    return [(1, column * w - LOW * plus(w) - HIGH * minus(w), zero)]


RULES = {
    "epsilon": relevance.epsilon(0.1),
    "z_plus": relevance.z_plus(0.1),
    "alpha_beta": relevance.alpha_beta(2.0, 1.0, 0.1),
    "gamma": relevance.gamma(0.3, 0.1),
    "w_square": relevance.w_square(0.1),
    "flat": relevance.flat(0.1),
    "z_box": relevance.z_box(LOW, HIGH, 0.1),
}


def oracle(rules, layers, x, target):
    """R of the input, of every bias, and what is absorbed, layer by layer."""
    acts = [x]
    for i, (w, b) in enumerate(layers):
        z = acts[-1] @ w + b
        acts.append(z if i == len(layers) - 1 else plus(z))
    r = np.eye(len(acts[-1]))[target] * acts[-1]
    biases, absorbed, edges = [], [], []
    for rule, (w, b), a in list(zip(rules, layers, acts[:-1], strict=True))[::-1]:
        z = a @ w + b
        into, bias, edge = np.zeros_like(a), np.zeros_like(b), np.zeros_like(w)
        for part, matrix, shift in terms(rule, a, w, b, z):
            share = part * r / blip(matrix.sum(0) + shift, 0.1)
            into += matrix @ share
            edge += matrix * share
            bias += shift * share
        biases.append(bias)
        edges.append(edge)
        absorbed.append(r.sum() - into.sum() - bias.sum())
        r = into
    return r, biases[::-1], absorbed[::-1], edges[::-1]


def explain(fn, params, x, **given):
    """Explained in one compiled call."""

    def run(params, x):
        return relevance.explain(fn, params, x, **given)

    return jax.jit(run)(params, x)


def dense_layers(rng, sizes=(5, 7, 6, 3)):
    pairs = zip(sizes, sizes[1:], strict=False)
    return [(rng.normal(size=s), rng.normal(size=s[1])) for s in pairs]


def mlp(params, x):
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
    return x @ params[-1]["kernel"] + params[-1]["bias"]


def as_params(layers):
    return [{"kernel": jnp.array(w), "bias": jnp.array(b)} for w, b in layers]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.defaults
def test_every_rule_in_every_layer_of_an_mlp(rule, rng):
    layers, x = dense_layers(rng), rng.normal(size=5)
    with jax.enable_x64(True):
        found = explain(
            mlp,
            as_params(layers),
            jnp.array(x),
            target=1,
            baseline="zero",
            rules=Rules(layer=RULES[rule]),
            edges=True,
        )
    r, biases, absorbed, edges = oracle([rule] * 3, layers, x, 1)
    if rule in ("w_square", "flat", "z_box"):
        # these leave relevance where a unit is 0, and the unit's layer cannot take it
        assert abs(found.residual()) < 1e-12
        return
    np.testing.assert_allclose(found.input, r, atol=1e-12)
    for i in range(3):
        np.testing.assert_allclose(found.bias[f"{i}/bias"], biases[i], atol=1e-12)
        np.testing.assert_allclose(found.absorbed[str(i)], absorbed[i], atol=1e-12)
        np.testing.assert_allclose(found.edges[str(i)], edges[i], atol=1e-12)
    assert abs(found.residual()) < 1e-12


@pytest.mark.parametrize("first", ["w_square", "flat", "z_box", "gamma"])
def test_rules_for_the_first_layer(first, rng):
    layers, x = dense_layers(rng), rng.normal(size=5)
    x[2] = 0.0  # these rules give relevance to zeros too
    with jax.enable_x64(True):
        found = explain(
            mlp,
            as_params(layers),
            jnp.array(x),
            target=2,
            baseline="zero",
            rules=Rules(first=RULES[first], layer=RULES["z_plus"]),
        )
    r, biases, absorbed, _ = oracle([first, "z_plus", "z_plus"], layers, x, 2)
    np.testing.assert_allclose(found.input, r, atol=1e-12)
    np.testing.assert_allclose(found.bias["0/bias"], biases[0], atol=1e-12)
    np.testing.assert_allclose(found.absorbed["0"], absorbed[0], atol=1e-12)
    assert (found.input[2] != 0) == (first != "gamma")


def convolve(kernel, x):
    return jax.lax.conv_general_dilated(
        x[None],
        kernel,
        (2, 1),
        [(1, 1), (0, 1)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )[0]


@pytest.mark.parametrize("rule", [*RULES])
@pytest.mark.parametrize("normalized", [False, True])
def test_convolutions_and_batch_normalisation_need_no_surgery(rule, normalized, rng):
    kernel, x = rng.normal(size=(3, 2, 2, 3)), rng.normal(size=(5, 4, 2))
    mean, scale, shift = rng.normal(size=(3, 3))  # some scales are negative
    bias, readout = rng.normal(size=3), rng.normal(size=(36, 2))

    def fn(params, x):
        h = convolve(params["conv"]["kernel"], x) + params["conv"]["bias"][None, None]
        if normalized:
            stats = {k: v[None, None] for k, v in params["norm"].items()}
            h = (h - stats["mean"]) * stats["scale"] + stats["bias"]
        return jax.nn.relu(h).reshape(-1) @ params["dense"]["kernel"]

    with jax.enable_x64(True):
        params = {
            "conv": {"kernel": jnp.array(kernel), "bias": jnp.array(bias)},
            "norm": {
                "mean": jnp.array(mean),
                "scale": jnp.array(scale),
                "bias": jnp.array(shift),
            },
            "dense": {"kernel": jnp.array(readout)},
        }
        found = explain(
            fn,
            params,
            jnp.array(x),
            target=0,
            baseline="zero",
            rules=Rules(first=RULES[rule], last=RULES["epsilon"]),
        )
        basis = jnp.eye(x.size).reshape(-1, *x.shape)
        matrix = jax.vmap(lambda x: convolve(jnp.array(kernel), x).reshape(-1))(basis)
        matrix = np.array(matrix)
    fixed = bias
    if normalized:
        matrix, fixed = matrix * np.tile(scale, 12), (bias - mean) * scale + shift
    if rule == "flat":  # ones where a weight is, not everywhere
        ones = jnp.ones_like(kernel)
        where = jax.vmap(lambda x: convolve(ones, x).reshape(-1))(basis)
        matrix = np.where(np.array(where) > 0, matrix, 0)
    layers = [(matrix, np.tile(fixed, 12)), (readout, np.zeros(2))]
    if rule == "flat":
        known = terms_flat_oracle(layers, np.array(where), x.reshape(-1))
    else:
        r, biases, _, _ = oracle([rule, "epsilon"], layers, x.reshape(-1), 0)
        known = r
        total = sum(np.sum(v) for v in found.bias.values())
        np.testing.assert_allclose(total, biases[0].sum(), atol=1e-11)
    np.testing.assert_allclose(found.input.reshape(-1), known, atol=1e-11)
    assert abs(found.residual()) < 1e-11


def terms_flat_oracle(layers, where, x):
    (matrix, fixed), (readout, _) = layers
    h = plus(x @ matrix + fixed)
    out = h @ readout
    r = (h[:, None] * readout)[:, 0] * out[0] / blip(out, 0.1)[0]
    return where @ (r / blip(where.sum(0), 0.1))


def test_rules_by_name_by_kind_by_index_and_by_end(rng):
    layers, x = dense_layers(rng, (5, 4, 4, 4, 3)), rng.normal(size=5)
    params = {f"dense_{i}": p for i, p in enumerate(as_params(layers))}
    params = jax.tree.map(lambda a: a.astype(jnp.float32), params)

    def fn(params, x):
        return mlp(list(params.values()), x)

    chosen = {"dense_1": RULES["gamma"], 2: RULES["alpha_beta"]}
    rules = Rules(
        first=RULES["flat"],
        last=RULES["epsilon"],
        kinds={"dense": RULES["w_square"]},
        names=chosen,
    )
    x = x.astype(np.float32)

    def run(rules):
        return explain(fn, params, x, target=0, baseline="zero", rules=rules).input

    four = ("flat", "gamma", "alpha_beta", "epsilon")
    same = Rules(names={i: RULES[name] for i, name in enumerate(four)})
    np.testing.assert_array_equal(run(rules), run(same))
    pattern = Rules(layer=RULES["gamma"], names={"*_[1-3]": None})
    only_first = Rules(names={"dense_0/kernel": RULES["gamma"]})
    np.testing.assert_array_equal(run(pattern), run(only_first))
    for unknown in ("dense_9", 4, -5):
        with pytest.raises(ValueError, match="'dense_0', 'dense_1'"):
            run(Rules(names={unknown: RULES["flat"]}))
    with pytest.raises(ValueError, match=r"kind 'conv'.*'dense_0 \(dense\)'"):
        run(Rules(kinds={"conv": RULES["flat"]}))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Rules(maximum="median"), "'winner', 'radial'"),
        (lambda: Rules(nonlinear="relu"), "'gradient', 'slope'"),
        (lambda: Rules(kinds={"pool": None}), "'dense' and 'conv'"),
        (lambda: Rules(layer="gamma"), r"epsilon\(\), gamma\(\)"),
        (lambda: relevance.epsilon(-1.0), "0 or more"),
        (lambda: relevance.gamma(-1.0), "0 or more"),
        (lambda: relevance.alpha_beta(2.0, 2.0), "alpha - beta = 1"),
    ],
)
def test_choices_that_are_none(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_rule_of_ones_own(rng):
    """The source's blip is symmetric; this one favours large inputs."""
    layers, x = dense_layers(rng, (4, 3)), rng.normal(size=4).astype(np.float32)
    params = jax.tree.map(lambda a: a.astype(jnp.float32), as_params(layers))
    part = relevance.Part(lambda a: a**2, relevance.Kernel(degree=2))
    rule = relevance.LayerRule((relevance.Group(jnp.ones_like, (part,)),), 0.0)
    found = explain(mlp, params, x, target=0, baseline="zero", rules=Rules(layer=rule))
    share = (x**2) @ np.diag(layers[0][0][:, 0] ** 2)
    out = x @ layers[0][0][:, 0] + layers[0][1][0]
    np.testing.assert_allclose(found.input, share / share.sum() * out, rtol=1e-4)


def explained(fn, params, x, **rules):
    rules = Rules(**rules)
    return explain(fn, params, x, baseline="zero", rules=rules, edges=True)


@pytest.mark.parametrize("first", ["flat", "w_square", "z_box"])
def test_relevance_on_padding_is_counted(first, rng):
    """What rules that ignore values give to padding is a constant's."""
    x, kernel = rng.normal(size=(5, 4, 2)), rng.normal(size=(3, 3, 2, 3))

    def fn(kernel, x, padding):
        if padding == "explicit":
            x, padding = jnp.pad(x, ((1, 1), (1, 1), (0, 0))), "VALID"
        out = jax.lax.conv_general_dilated(
            x[None], kernel, (1, 1), padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return jnp.sum(jax.nn.relu(out) ** 2)

    def run(padding):
        return explained(
            lambda k, x: fn(k, x, padding), jnp.asarray(kernel), jnp.asarray(x),
            first=RULES[first],
        )  # fmt: skip

    outside = run("explicit")
    assert abs(outside.residual()) <= 1e-12 * outside.magnitude()
    assert outside.constants
    if first == "w_square":  # a convolution leaves out what is beyond the edge
        assert run("SAME").input.sum() > outside.input.sum()


@pytest.mark.slow
def test_flat_relevance_is_the_same_by_patches_and_by_convolution(rng):
    """The shipped convnet is a product over patches on CPUs; zeros get their part."""
    x = np.zeros((7, 7, 1))
    x[2:5, 2:5] = rng.normal(size=(3, 3, 1))
    kernel, readout = rng.normal(size=(3, 3, 1, 2)), rng.normal(size=(50, 1))

    def by_patches(params, x):
        patches = [x[i : i + 5, j : j + 5] for i in range(3) for j in range(3)]
        h = jnp.concatenate(patches, -1) @ params["conv"]["kernel"].reshape(9, 2)
        return (jax.nn.relu(h).reshape(-1) @ params["out"]["kernel"])[0]

    def by_convolution(params, x):
        h = jax.lax.conv_general_dilated(
            x[None], params["conv"]["kernel"], (1, 1), "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return (jax.nn.relu(h).reshape(-1) @ params["out"]["kernel"])[0]

    params = {
        "conv": {"kernel": jnp.asarray(kernel)},
        "out": {"kernel": jnp.asarray(readout)},
    }
    for rule in ("flat", "w_square", "z_box"):
        one, other = (
            explained(fn, params, jnp.asarray(x), kinds={"conv": RULES[rule]})
            for fn in (by_patches, by_convolution)
        )
        np.testing.assert_allclose(one.input, other.input, atol=1e-12)
        assert one.input[0, 3, 0] != 0
        np.testing.assert_allclose(
            one.absorbed["conv"], other.absorbed["conv"], atol=1e-12
        )


def test_epsilon_and_edges_see_what_rules_without_values_left(rng):
    w, v = rng.normal(size=(4, 5)), rng.normal(size=(5, 1))

    def fn(p, x):
        return (jax.nn.relu(x @ p["w"]) @ p["v"])[0]

    params, x = {"w": jnp.asarray(w), "v": jnp.asarray(v)}, rng.normal(size=4)
    rules = {"last": RULES["flat"], "first": relevance.epsilon(0.5)}
    found = explained(fn, params, jnp.asarray(x), **rules)
    h = plus(x @ w)
    out = (h @ v)[0]
    share = np.full(5, out / blip(5.0, 0.1))  # of every hidden unit, be it at 0 or not
    z = x @ w
    lost = share * 0.5 / (np.abs(z) + 0.5)
    np.testing.assert_allclose(found.absorbed["w"], lost.sum())
    passed = (share - lost) / z
    np.testing.assert_allclose(found.edges["w"], x[:, None] * w * passed, atol=1e-12)
    np.testing.assert_allclose(found.edges["w"].sum(1), found.input, atol=1e-12)
    assert abs(found.residual()) < 1e-12


@pytest.mark.parametrize(
    "rules", [{"layer": relevance.epsilon(0.5)}, {"nonlinear": "guided"}]
)
def test_what_is_computed_again_or_placed_is_as_it_is(rules, rng):
    """A ReLU in a checkpoint is one, and a layer goes on to its bias past a device."""
    params = as_params(dense_layers(rng))
    x = jnp.asarray(rng.normal(size=5))

    def placed(params, x):
        for layer in params[:-1]:
            x = jax.device_put(x @ layer["kernel"]) + layer["bias"]
            x = jax.checkpoint(jax.nn.relu)(x)
        return x @ params[-1]["kernel"] + params[-1]["bias"]

    found, plain = (
        explain(fn, params, x, target=0, rules=Rules(**rules)) for fn in (placed, mlp)
    )
    np.testing.assert_allclose(found.input, plain.input, atol=1e-12)
    assert sum(found.absorbed.values()) == pytest.approx(sum(plain.absorbed.values()))


@pytest.mark.parametrize("rule", RULES)
def test_a_layer_goes_on_to_its_bias_past_a_slice(rule, rng):
    """As where nothing more is computed."""
    shapes = {"w": (5, 8), "s": (3,), "b": (3,), "out": (3, 1)}
    params = {name: jnp.asarray(rng.normal(size=size)) for name, size in shapes.items()}
    x = jnp.asarray(rng.normal(size=5))

    def cut(params, x):
        y = (x @ params["w"]).reshape(2, 4)[:1, :3].reshape(3)
        return jax.nn.relu(y * params["s"] + params["b"]) @ params["out"]

    def alone(params, x):
        y = x @ params["w"][:, :3]
        return jax.nn.relu(y * params["s"] + params["b"]) @ params["out"]

    rules = Rules(names={0: RULES[rule]})
    found, plain = (
        explain(fn, params, x, target=0, rules=rules, edges=True) for fn in (cut, alone)
    )
    np.testing.assert_allclose(found.input, plain.input, atol=1e-12)
    np.testing.assert_allclose(found.bias["b"], plain.bias["b"], atol=1e-12)
    np.testing.assert_allclose(found.edges["w"][:, :3], plain.edges["w"], atol=1e-12)
    assert not found.edges["w"][:, 3:].any()
    assert abs(found.residual()) < 1e-12
