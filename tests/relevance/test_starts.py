"""Relevance that starts at a named activation in place of the input."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import relevance

WORDS, LENGTH, WIDTH, HIDDEN = 7, 4, 6, 5
TOKENS = jnp.array([3, 1, 4, 1])


def params():
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape) / 2, jnp.float32)

    kernels = {k: normal(WIDTH, WIDTH) for k in ("q", "k", "v", "o")}
    return {
        **kernels,
        "embed": normal(WORDS, WIDTH), "places": normal(LENGTH, WIDTH),
        "in": normal(WIDTH, HIDDEN), "bias": normal(HIDDEN),
        "out": normal(HIDDEN, WORDS),
    }  # fmt: skip


P = params()


def after(p, rows):
    """A block of a transformer, from rows to logits of the last place."""
    h = rows + p["places"]
    normal = (h - h.mean(-1, keepdims=True)) / jnp.sqrt(h.var(-1, keepdims=True) + 1e-5)
    q, k, v = (normal @ p[name] for name in "qkv")
    h = h + jax.nn.softmax(q @ k.T / WIDTH**0.5) @ v @ p["o"]
    hidden = checkpoint_name(jax.nn.gelu(h @ p["in"] + p["bias"]), "hidden")
    return (hidden @ p["out"])[-1]


def fn(p, tokens):
    return after(p, checkpoint_name(p["embed"][tokens], "rows"))


def of_one_hot(p, x):
    return after(p, x @ p["embed"])


@pytest.mark.parametrize("baseline", [None, "zero"])
def test_tokens_have_what_their_one_hot_vectors_have(baseline):
    options = {"target": 2, "baseline": baseline}
    found = relevance.explain(fn, P, TOKENS, at="rows", **options)
    one_hot = jax.nn.one_hot(TOKENS, WORDS)
    expected = relevance.explain(of_one_hot, P, one_hot, **options)
    close = {"atol": 2e-7, "rtol": 1e-5}
    assert found.input.shape == (LENGTH, WIDTH)
    np.testing.assert_allclose(found.input.sum(-1), expected.input.sum(-1), **close)
    np.testing.assert_allclose(found.output, fn(P, TOKENS)[2], **close)
    np.testing.assert_allclose(found.residual(), expected.residual(), atol=1e-6)
    if baseline == "zero":
        assert abs(found.residual()) <= 1e-6 * found.magnitude()
    # all else stays whole
    for name in ("places", "bias"):
        np.testing.assert_allclose(found.bias[name], expected.bias[name], **close)
    np.testing.assert_allclose(found.nodes["rows"], found.input, **close)
    np.testing.assert_allclose(found.nodes["hidden"], expected.nodes["hidden"], **close)
    if baseline is None:
        slope = jax.grad(lambda rows: after(P, rows)[2])(P["embed"][TOKENS])
        np.testing.assert_allclose(found.multiplier, slope, **close)


def test_many_sentences_under_jit_and_vmap():
    batch = jnp.stack([TOKENS, TOKENS[::-1]])

    @jax.jit
    @jax.vmap
    def found(tokens):
        return relevance.explain(fn, P, tokens, target=0, at="rows").input

    one = relevance.explain(fn, P, TOKENS, target=0, at="rows").input
    np.testing.assert_allclose(found(batch)[0], one, atol=2e-7, rtol=1e-5)


def plain(name):
    return inspect.unwrap(getattr(relevance, name))


ROWS = P["embed"][TOKENS]
EXTRA = {
    "deeplift": {"baseline": 0 * ROWS},
    "expected_gradients": {"baseline": jnp.stack([0 * ROWS, -ROWS]), "samples": 3},
    "integrated_gradients": {"steps": 2},
    "smoothgrad": {"samples": 2},
    "occlusion": {"window": (1,)},  # one token at a time
    "deletion": {"relevance": jnp.arange(4.0), "steps": 2},
    "insertion": {"relevance": ROWS, "steps": 2},
    "outside_squared": {"region": ROWS > 0},
    "outside_target": {"region": ROWS > 0},
    "outside_share": {"region": ROWS > 0},
    "rrr": {"region": ROWS > 0},
}
BEGINNING = [
    name
    for name in relevance.__all__
    if inspect.isfunction(getattr(relevance, name))
    and "at" in inspect.signature(plain(name)).parameters
]


def test_every_function_of_an_example_can_begin_at_an_activation():
    takes = [
        name
        for name in relevance.__all__
        if inspect.isfunction(getattr(relevance, name))
        and "x" in inspect.signature(plain(name)).parameters
    ]
    assert set(takes) - {*BEGINNING} == {"grad_cam"}  # which has a node


def short(p, rows):
    return (rows @ p["in"]).max(0) @ p["out"]


def of_tokens(p, tokens):
    return short(p, checkpoint_name(p["embed"][tokens], "rows"))


@pytest.mark.parametrize("name", BEGINNING)
def test_what_follows_is_the_function_of_the_activation(name):
    keys = inspect.signature(plain(name)).parameters
    given = {k: 1 for k in ("target",) if k in keys} | EXTRA.get(name, {})

    def run(fn, x, **options):
        key = {"key": jax.random.key(0)} if "key" in keys else {}
        return plain(name)(fn, P, x, **given, **key, **options)

    found, expected = run(of_tokens, TOKENS, at="rows"), run(short, ROWS)
    if name in ("explain", "deeplift"):
        found, expected = found.input, expected.input
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6, rtol=1e-5)


def test_baselines_are_of_the_activation():
    other = jnp.broadcast_to(P["embed"].mean(0), ROWS.shape)
    options = {"target": 1, "baseline": other}
    found = relevance.explain(fn, P, TOKENS, at="rows", **options)
    assert abs(found.residual()) <= 1e-6 * found.magnitude()
    np.testing.assert_allclose(
        found.output, (fn(P, TOKENS) - after(P, other))[1], rtol=1e-5
    )
    with pytest.raises(ValueError, match=r"baseline has shape \(4,\)"):
        relevance.explain(fn, P, TOKENS, at="rows", baseline=jnp.ones(4))


def test_what_else_the_input_has_is_closed_over():
    """Tokens and a mask; a key that is drawn from."""

    def masked(p, x):
        rows = checkpoint_name(p["embed"][x["tokens"]], "rows")
        return after(p, jnp.where(x["keep"][:, None], rows, 0)) * x["scale"]

    keep = jnp.array([True, False, True, True])
    x = {"tokens": TOKENS, "keep": keep, "scale": jnp.array(2.0), "flag": True}
    found = relevance.explain(masked, P, x, target=1, at="rows", baseline="zero").input
    assert not found[1].any() and found[0].any()

    def drawn(p, key):
        return after(p, checkpoint_name(jax.random.normal(key, ROWS.shape), "drawn"))

    with jax.debug_key_reuse(False):  # it is drawn from again to go on
        found = relevance.gradient(drawn, P, jax.random.key(0), target=1, at="drawn")
    assert found.shape == ROWS.shape


def looped(p, x):
    def step(h, kernel):
        return checkpoint_name(jnp.tanh(h @ kernel), "layer"), None

    return jax.lax.scan(step, x, jnp.stack([p["q"], p["k"]]))[0].sum()


@pytest.mark.parametrize(
    "fn, x, at, message",
    [
        (fn, TOKENS, None, r"x is int32 of shape \(4,\); .*at='params/embed:out' expl"),
        (fn, jax.random.key(0), None, "x is key<fry> of shape ..; relevance starts"),
        (fn, {"a": TOKENS}, None, "dict of 'a' without real numbers; relevance starts"),
        (fn, TOKENS, "embed", "no activation 'embed'.*'rows', 'hidden'"),
        (fn, TOKENS, ("rows",), "at is a tuple of 1; expected the name of one"),
        (after, ROWS, "rows", "no activation 'rows'"),
        (fn, "words", "rows", "x must be one .*array, got the str 'words'"),
        (fn, {"a": "words"}, "rows", "x has leaves that are not arrays .'a'"),
        (
            lambda p, x: after(p, p["embed"][checkpoint_name(x + 1, "next")]),
            TOKENS, "next", r"'next' is int32 of shape \(4,\); name what is looked up",
        ),
        (looped, ROWS, "layer", "in a loop of 2 steps; pass sj.unrolled"),
    ],
)  # fmt: skip
def test_what_cannot_be_begun_at(fn, x, at, message):
    with pytest.raises(ValueError, match=message):
        plain("explain")(fn, P, x, target=0, at=at)
