"""`named` and `points` at work: which names are meant, what is refused, what stays."""

import re

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.relevance import Rules

relu = jax.nn.relu


def normal(*shape):
    return jax.random.normal(jax.random.key(sum(shape)), shape)


PARAMS = {"mlp": {"wi": {"w": normal(6, 8)}, "wo": {"w": normal(8, 6)}}}
X = normal(4, 6)


def mlp(p, x):
    return x + relu(x @ p["mlp"]["wi"]["w"]) @ p["mlp"]["wo"]["w"]


def names(fn, *args):
    return [*sj.activations(fn)(*args)[1]]


def test_names_are_chosen_by_name_pattern_predicate_or_default():
    def chosen(which):
        return names(sj.named(mlp, which), PARAMS, X)

    everything = ["mlp/wi:in", "mlp/wi:pre", "mlp/wi:post"]
    everything += ["mlp/wo:in", "mlp/wo:pre", "mlp/wo:post", "mlp/wo:sum"]
    assert chosen(None) == ["mlp/wi:post", "mlp/wo:post"]
    assert chosen("mlp/wi:pre") == ["mlp/wi:pre"]
    assert chosen("*:pre") == chosen(["*/wo:pre", "*/wi:pre"]) == everything[1::3]
    assert chosen(n for n in ["*:sum"]) == ["mlp/wo:sum"]
    # mlp/wo:in is mlp/wi:post, and mlp/wo:post is mlp/wo:pre: named when asked for
    assert chosen(lambda point: point.units == 8) == everything[1:3]
    assert chosen("*") == [*everything[:3], "mlp/wo:pre", "mlp/wo:sum"]
    assert chosen(["*", "mlp/wo:in"]) == [*everything[:5], "mlp/wo:sum"]
    assert chosen(["mlp/wo:in", "mlp/wi:post"]) == ["mlp/wi:post", "mlp/wo:in"]


def test_an_input_can_be_named_too():
    fn = sj.named(mlp, "mlp/wi:in")
    expected = mlp(PARAMS, 2 * X)
    edited = sj.edit(fn, {"mlp/wi:in": lambda h: 2 * h})(PARAMS, X)
    np.testing.assert_array_equal(edited, expected)  # the residual reads it as well


def test_named_is_equal_and_hashed_by_what_it_was_made_of():
    assert sj.named(mlp) == sj.named(mlp) and hash(sj.named(mlp)) == hash(sj.named(mlp))
    views = {"*:post": (2, -1)}
    one, other = (sj.named(mlp, ["*:post"], views=dict(views)) for _ in range(2))
    assert one == other and hash(one) == hash(other)
    assert sj.named(mlp, "*:pre") != sj.named(mlp) != one
    traced = []

    def fn(p, x):
        traced.append(1)
        return mlp(p, x)

    both = sj.named(fn), sj.named(fn)
    for each in both:
        jax.jit(each)(PARAMS, X)
    assert len(traced) == 1


def test_naming_again_adds_no_name_twice():
    again = sj.named(sj.named(mlp, "mlp/wi:post"), "*:post")
    assert names(again, PARAMS, X) == ["mlp/wi:post", "mlp/wo:post"]


def test_views_show_units_in_axes_of_their_own():
    fn = sj.named(mlp, ["*:post"], views={"*wi:post": (2, -1), "*:post": (3, 2)})
    _, acts = jax.eval_shape(sj.activations(fn), PARAMS, X)
    shapes = {name: act.shape for name, act in acts.items()}
    assert shapes == {"mlp/wi:post": (4, 2, 4), "mlp/wo:post": (4, 3, 2)}
    np.testing.assert_array_equal(fn(PARAMS, X), mlp(PARAMS, X))
    apply = sj.masked(fn)
    masks = sj.masks.ones(fn, PARAMS, X, axes={"*wi:post": -2})
    bits = jnp.array([[1.0], [0.0]])
    masks = masks._replace(nodes={"mlp/wi:post": bits})
    hidden = relu(X @ PARAMS["mlp"]["wi"]["w"]) * jnp.repeat(bits[:, 0], 4)
    expected = X + hidden @ PARAMS["mlp"]["wo"]["w"]
    np.testing.assert_allclose(apply(PARAMS, masks, X), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "which, views, error",
    [
        ("mlp/wi", None, "no activation is called 'mlp/wi'; there are 'mlp/wi:in', "
         "'mlp/wi:pre', 'mlp/wi:post' (sj.points lists all 7)"),
        ("wo", None, "no activation is called 'wo'; there are 'mlp/wo:in', "),
        ("mlp/wi:psot", None, "'mlp/wi:post'"),
        ("*:pattern", None, "no activation is called '*:pattern'; there are 'mlp/wi:"),
        (None, {"*wi:post": (5, -1)}, "views['*wi:post'] = (5, -1) does not divide the "
         "8 units of 'mlp/wi:post'"),
        (None, {"*wi:post": (2, 2)}, "(2, 2) does not divide the 8 units"),
        (None, {"*wi:post": (-1, -1)}, "(-1, -1) does not divide"),
        (None, {"*:in": (2, -1)}, "views['*:in'] = (2, -1) fits none of the "
         "activations that are named: 'mlp/wi:post', 'mlp/wo:post'"),
    ],
)  # fmt: skip
def test_what_is_unknown_or_does_not_fit_is_refused(which, views, error):
    with pytest.raises(ValueError, match=re.escape(error)):
        sj.named(mlp, which, views=views)(PARAMS, X)


def test_patterns_of_attention_have_no_units_to_view():
    def attention(p, x):
        return (jax.nn.softmax(x @ p["q"] @ (x @ p["k"]).T) @ x) @ p["o"]

    params = {n: normal(6, 6) for n in "qko"}
    fn = sj.named(attention, "*:pattern", views={"*": (2, -1)})
    with pytest.raises(ValueError, match="no axis of units but its own layout"):
        fn(params, X)


def test_masks_that_are_arguments_make_kernels_data():
    masked = sj.masked(mlp)
    masks = sj.masks.Masks(jax.tree.map(jnp.ones_like, PARAMS), {})
    error = r"name inside masked: sj.masked\(sj.named\(fn\)\), not the other way round"
    with pytest.raises(ValueError, match=error):
        sj.named(masked)(PARAMS, masks, X)
    with pytest.raises(ValueError, match="pass parameters as the first argument"):
        sj.named(lambda none, p: mlp(p, X))({}, PARAMS)


@pytest.mark.parametrize("kind", ["while", "cond"])
def test_names_in_loops_and_branches_without_count_are_refused(kind):
    def fn(p, x):
        def step(h):
            return relu(h @ p["a"])

        if kind == "cond":
            return jax.lax.cond(x.sum() > 0, step, jnp.sin, x) @ p["b"]
        return jax.lax.while_loop(lambda h: h.sum() < 9, step, x) @ p["b"]

    params = {"a": normal(6, 6), "b": normal(6, 6)}
    error = f"activation 'a:post' at .*test_named.py:.* inside a '{kind}'.*it outside"
    for which in ("a:post", ["a:po*"], lambda p: p.name == "a:post"):
        with pytest.raises(ValueError, match=error):
            sj.named(fn, which)(params, X)
    np.testing.assert_array_equal(
        sj.named(fn, "*")(params, X), fn(params, X)
    )  # those that can be


def test_models_that_name_nothing_are_told_of_named():
    masks = sj.masks.Masks(jax.tree.map(jnp.ones_like, PARAMS), {"h": jnp.ones(8)})
    with pytest.raises(ValueError, match=r"names no activations; sj.named\(fn\) names"):
        sj.masked(mlp)(PARAMS, masks, X)


def test_the_table_can_be_chosen_from():
    lines = str(sj.points(mlp, PARAMS, X)).splitlines()
    assert lines[0] == "5 activations can be named; sj.named(fn) names those with a *"
    rows = [line.split() for line in lines[2:]]
    assert rows[2] == ["*", "mlp/wi:post", "4x8", "8", "=", "mlp/wo:in"]
    assert rows[3] == ["*", "mlp/wo:post", "4x6", "6", "=", "mlp/wo:pre"]
    assert repr(sj.points(mlp, PARAMS, X)) == str(sj.points(mlp, PARAMS, X))


def test_shapes_are_enough_for_points():
    shapes = jax.eval_shape(lambda: (PARAMS, X))
    assert sj.points(mlp, *shapes) == sj.points(mlp, PARAMS, X)


def test_whole_modules_with_functions_among_their_leaves():
    model = eqx.nn.MLP(6, 3, 8, 1, key=jax.random.key(0))
    fn = sj.named(lambda model, x: jax.vmap(model)(x))
    assert names(fn, model, X) == ["layers/0:post"]


# What stays.


def loops(p, x):
    """Nested scans, in reverse, unrolled, rematerialized, over time."""

    @jax.checkpoint
    def inner(h, w):
        return jnp.tanh(h @ w), h.sum()

    def outer(h, ws):
        h, sums = jax.lax.scan(inner, h, ws, reverse=True)
        return h, sums

    h, sums = jax.lax.scan(outer, x, p["w"], unroll=2)
    times, _ = jax.lax.scan(lambda c, h: (c + relu(h @ p["t"]), c), jnp.zeros(6), h)
    return times @ p["o"], sums


def test_loops_are_made_again_as_they_were():
    params = {"w": normal(2, 3, 6, 6), "t": normal(6, 6), "o": normal(6, 2)}
    fn = sj.named(loops, "*")

    @jax.jit
    def both(params):
        def loss(params, fn):
            outs, sums = fn(params, X)
            return jnp.sin(outs).sum() + sums.sum(), sums

        return [jax.value_and_grad(loss, has_aux=True)(params, f) for f in (loops, fn)]

    expected, ours = both(params)
    jax.tree.map(np.testing.assert_array_equal, ours, expected)
    masks = sj.masks.ones(sj.named(loops), params, X)
    assert {n: m.shape for n, m in masks.nodes.items()} == {
        "w:post": (2, 3, 6), "t:post": (1, 6),
    }  # fmt: skip
    by_points = {p.name: p.loops for p in sj.points(loops, params, X)}
    for name, mask in masks.nodes.items():
        assert by_points[name] == mask.shape[:-1]
    assert "unroll=2" in str(jax.make_jaxpr(fn)(params, X))


def test_masks_in_a_loop_over_layers():
    params = {"w": normal(3, 6, 6)}

    def fn(p, x):
        return jax.lax.scan(lambda h, w: (relu(h @ w), None), x, p["w"])[0]

    mask = jnp.asarray(np.arange(18).reshape(3, 6) % 4 > 0, jnp.float32)
    masks = sj.masks.Masks({"w": jnp.ones(())}, {"w:post": mask})
    h = X
    for i in range(3):
        h = relu(h @ params["w"][i]) * mask[i]
    ours = sj.masked(sj.named(fn))(params, masks, X)
    np.testing.assert_allclose(ours, h, rtol=1e-5)


class Model(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(jnp.cumprod(nn.relu(nn.Dense(5)(x)), -1))


def test_places_and_scopes_are_those_of_the_model():
    model = Model()
    variables = model.init(jax.random.key(0), X)

    def error(fn):
        with pytest.raises(ValueError) as caught:
            sj.relevance.explain(fn, variables, X[0], target=0)
        return str(caught.value)

    plain = error(model.apply)
    assert "test_named.py" in plain and "Model" in plain
    fn = sj.named(model.apply)
    assert error(fn) == plain
    masks = sj.masks.ones(fn, variables, X[0])
    assert error(sj.bind(sj.masked(fn), masks)) == plain


@pytest.mark.parametrize("which", [None, "*:pre", ["*:in", "*:sum"], "*:post"])
def test_relevance_is_that_of_the_function(which):
    params = PARAMS | {"head": normal(6, 3), "conv": normal(3, 3, 1, 6)}

    def net(p, image):
        dims = ("NHWC", "HWIO", "NHWC")
        h = jax.lax.conv_general_dilated(
            image[None], p["conv"], (1, 1), "SAME", dimension_numbers=dims
        )
        h = relu(h + 0.1).mean((1, 2))
        return (mlp(p, h) @ p["head"])[0]

    image = normal(4, 4, 1)
    layers = [None, sj.relevance.gamma(0.25), sj.relevance.z_plus()]
    every = [Rules(layer=rule) for rule in layers]
    for rules in every:
        plain, ours = (
            sj.relevance.explain(fn, params, image, target=1, rules=rules)
            for fn in (net, sj.named(net, which))
        )
        np.testing.assert_allclose(ours.input, plain.input, rtol=1e-5, atol=1e-8)
        assert [*ours.constants] == [*plain.constants]
        assert [*ours.absorbed] == [*plain.absorbed]


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint, lambda fn: fn])
def test_named_in_transformations(wrap):
    fn = wrap(sj.named(mlp, "*"))
    one = jax.vmap(fn, (None, 0))(PARAMS, X)
    np.testing.assert_allclose(one, mlp(PARAMS, X), rtol=1e-5, atol=1e-6)
    tangent = jax.jvp(lambda x: fn(PARAMS, x), (X,), (X,))[1]
    expected = jax.jvp(lambda x: mlp(PARAMS, x), (X,), (X,))[1]
    np.testing.assert_allclose(tangent, expected, rtol=1e-5, atol=1e-6)


def test_parameters_that_are_mapped_over_count_as_one():
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), PARAMS)
    out, acts = jax.vmap(sj.activations(sj.named(mlp)), (0, None))(stacked, X)
    assert acts["mlp/wi:post"].shape == (2, 4, 8) and out.shape == (2, 4, 6)


def test_units_are_counted_in_the_order_of_the_kernels_axes():
    """Heads before features, in whatever order they are contracted or laid out."""
    params, x = {"o": normal(3, 2, 6)}, normal(4, 2, 3)
    dims = (((1, 2), (1, 0)), ((), ()))

    def fn(p, x):
        return jax.lax.dot_general(x, p["o"], dims)

    _, acts = sj.activations(sj.named(fn, "o:in"))(params, x)
    expected = x.transpose(0, 2, 1).reshape(4, 6)
    np.testing.assert_array_equal(acts["o:in"], expected)


def test_a_call_that_reads_what_it_returns():
    @jax.jit
    def call(p, x):
        h = relu(x @ p["a"])
        return h, jnp.sin(h) @ p["b"]

    params = {"a": normal(6, 6), "b": normal(6, 6)}
    fn = sj.named(lambda p, x: sum(call(p, x)), "a:post")
    ours = sj.edit(fn, {"a:post": jnp.zeros_like})(params, X)
    np.testing.assert_array_equal(ours, jnp.zeros((4, 6)))
