"""What is handed over, by every function alike: read right, or refused in one line.

Functions are unwrapped, so that the checks are their own and not of types in tests.
"""

import inspect
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import relevance
from sparsejax.relevance import Group, Kernel, LayerRule, Part, Rules


def fn(params, x):
    return jnp.tanh(x @ params)


KERNEL, X = jnp.eye(4) + 0.5, jnp.array([1.0, -2.0, 0.5, 3.0])
REGION, KEY = jnp.array([True, False, True, False]), lambda: jax.random.key(0)


def plain(name):
    return inspect.unwrap(getattr(relevance, name))


def call(name, **given):
    """A function that explains, with arguments that suit it but for those given."""
    parts = inspect.signature(plain(name)).parameters
    all_given = {
        "fn": fn, "params": KERNEL, "x": X, "target": 1, "region": REGION,
        "relevance": X, "window": 2, "node": "hidden",
    }  # fmt: skip
    if name == "deeplift":
        all_given["baseline"] = 0 * X
    if name == "expected_gradients":
        all_given["baseline"] = jnp.stack([X, -X])
    if "key" in parts:
        all_given["key"] = KEY()
    all_given |= given
    return plain(name)(**{k: v for k, v in all_given.items() if k in parts})


EXPLAINERS = [
    name
    for name in relevance.__all__
    if inspect.isfunction(getattr(relevance, name))
    and "x" in inspect.signature(plain(name)).parameters
]
WITH_TREES = {"explain", "guided_backprop", "deconvnet", "deeplift"}
WITH_ANY = {"grad_cam"}  # which begins at an activation


class Module(NamedTuple):
    a: jax.Array


class Tensor:
    """Of another library."""


@pytest.mark.parametrize("name", EXPLAINERS)
def test_inputs_that_are_not_one_array_of_real_numbers(name):
    """Trees are explained, or one line says how to close over the rest."""
    for x, what in [
        ({"a": X, "b": X}, "a dict of 'a', 'b'; close over all but one"),
        ((X, X), "a tuple of 2; close over all but one"),
        ([1.0, 2.0], "a list of 2"),
        (Module(X), "a Module of 1; close over all but one"),
    ]:
        if name not in WITH_TREES | WITH_ANY:
            with pytest.raises(ValueError, match=f"x must be one array, got {what}"):
                call(name, x=x)
    for x in (np.arange(4), jnp.ones(4, bool), np.ones(4, complex)):
        if name not in WITH_ANY:
            with pytest.raises(ValueError, match="relevance starts from real numbers"):
                call(name, x=x)
    with pytest.raises(ValueError, match="x must be one .*array, got a .*Tensor"):
        call(name, x=Tensor())


@pytest.mark.parametrize(
    "name, argument",
    [
        ("deeplift", "baseline"),
        ("gradient_x_input", "baseline"),
        ("integrated_gradients", "baseline"),
        ("expected_gradients", "baseline"),
        ("deletion", "baseline"),
        ("insertion", "baseline"),
        ("occlusion", "baseline"),
    ],
)
def test_what_stands_beside_the_example(name, argument):
    for value in ({"a": X}, (X, X), "mean"):
        what = f"{argument} (must be|is) .*(one array|an array|but x)"
        with pytest.raises(ValueError, match=what):
            call(name, **{argument: value})


def test_the_table_has_every_function_of_an_example():
    assert len(EXPLAINERS) >= 16 and set(EXPLAINERS) > WITH_TREES


HAS_TARGET = [
    n for n in EXPLAINERS if "target" in inspect.signature(plain(n)).parameters
]


@pytest.mark.parametrize("name", HAS_TARGET)
def test_targets_are_within_the_outputs(name):
    def logits(params, x):
        return (x @ params) * 1.0

    for target in (4, -5, np.int64(10)):
        with pytest.raises(ValueError, match=f"target {target} is none of 4.*: 0 to 3"):
            call(name, fn=places if name == "grad_cam" else logits, target=target)
    for target in (True, 1.5, "cat", np.array([1, 2])):
        with pytest.raises(ValueError, match="target is"):
            call(name, fn=places if name == "grad_cam" else logits, target=target)


def places(params, x):
    h = checkpoint_name(jnp.stack([x @ params, x]), "hidden")
    return h.sum(0)


@pytest.mark.parametrize("key", [np.array([0, 1], np.uint32), 0, None])
@pytest.mark.parametrize("name", ["smoothgrad", "expected_gradients"])
def test_keys(name, key):
    with pytest.raises(ValueError, match="key must come from jax.random.key"):
        call(name, key=key)


def test_keys_of_the_randomisation_check():
    with pytest.raises(ValueError, match="not jax.random.PRNGKey"):
        plain("randomization_check")(lambda p: p, KERNEL, np.zeros(2, np.uint32))


@pytest.mark.parametrize(
    "name, given",
    [
        ("pointing_game", {"region": REGION}),
        ("localization", {"region": REGION}),
        ("localization_auc", {"region": REGION}),
        ("deletion", {"fn": fn, "params": KERNEL, "x": X, "target": 0}),
        ("insertion", {"fn": fn, "params": KERNEL, "x": X, "target": 0}),
    ],
)
def test_maps_that_are_none(name, given):
    whole = relevance.explain(fn, KERNEL, X, target=0)
    for value, what in [
        (whole, "relevance must be a map.*a Relevance of 8; .*`input`"),
        ({"a": X}, "relevance must be a map, one array, got a dict of 'a'"),
        (np.arange(4), "relevance must be of real numbers"),
        (X * jnp.nan, "not finite in 'relevance'"),
    ]:
        with pytest.raises(ValueError, match=what):
            plain(name)(relevance=value, **given)


@pytest.mark.parametrize("name", ["outside_squared", "outside_share", "rrr"])
@pytest.mark.parametrize("region", [0.5 * X, np.arange(4), {"a": REGION}])
def test_regions_are_yes_or_no(name, region):
    """0.5 would count as yes."""
    with pytest.raises(ValueError, match="region (is|must be)"):
        call(name, region=region)


def test_ranks_of_nothing():
    for pair in ((X, X * jnp.nan), (X, {"a": X}), (X, X[:2])):
        with pytest.raises(ValueError, match="finite|must be a map|have shapes"):
            plain("rank_correlation")(*pair)


# What takes several names or numbers: one is one, and iterators may be read twice.


def test_layers_to_randomise_are_one_name_or_several():
    params = {"first": {"kernel": KERNEL}, "last": {"kernel": KERNEL + 1.0}}

    def run(layers):
        return relevance.randomization_check(
            lambda p: (X @ p["first"]["kernel"]) @ p["last"]["kernel"] + X,
            params,
            KEY(),
            layers=layers,
        ).layers

    assert run("last") == ("last",)
    names = ("first", "last")
    assert run(name for name in names) == run(names) == names[::-1]


def test_windows_may_be_iterators():
    wanted = relevance.occlusion(fn, KERNEL, X, target=0, window=(2,))
    found = relevance.occlusion(fn, KERNEL, X, target=0, window=iter([2]))
    np.testing.assert_array_equal(found, wanted)


def test_rules_of_iterators_are_the_same_at_every_call():
    part = Part("negative", Kernel(degree=2))
    other = Part("positive", Kernel(), jnp.ones_like)
    made = LayerRule((Group(jnp.ones_like, (part, other)),))

    def group():
        return Group(jnp.ones_like, iter([part, other]))

    def run(rules):
        return relevance.explain(
            fn, KERNEL, X, target=0, baseline="zero", rules=rules
        ).input

    wanted = run(Rules(layer=made))
    for place in (
        lambda rule: {"layer": rule},
        lambda rule: {"names": {0: rule}},
        lambda rule: {"kinds": {"dense": rule}},
    ):
        rules = Rules(**place(LayerRule(group() for _ in range(1))))
        np.testing.assert_array_equal(run(rules), wanted)
        np.testing.assert_array_equal(run(rules), wanted)


@pytest.mark.parametrize(
    "part, message",
    [
        (Part("negativ", Kernel()), "inputs 'negativ'; they can be 'all'"),
        (Part("all", Kernel(degree=3)), "degree 3; it can be 0, 1 or 2"),
    ],
)
def test_parts_that_are_none(part, message):
    with pytest.raises(ValueError, match=message):
        Rules(names={"dense_0": LayerRule((Group(jnp.ones_like, (part,)),))})


# Trees as inputs.


def two(params, x):
    h = jnp.tanh(x["image"] @ params["a"] + params["b"])
    return h * x["scale"] + params["table"][x["label"]]


PARAMS = {"a": KERNEL, "b": 0.1 * X, "table": jnp.stack([X, 2 * X])}
INPUT = {"image": X, "label": jnp.array(1), "scale": jnp.array(1.5)}


@pytest.mark.parametrize("reference", [None, "zero", "baseline"])
def test_a_tree_is_explained_as_its_arrays_are(reference):
    """Each leaf as if it were alone; together they and the constants are the output."""
    other = {**INPUT, "image": 0.5 * X, "scale": jnp.array(1.0)}
    given = other if reference == "baseline" else reference
    found = relevance.explain(two, PARAMS, INPUT, target=2, baseline=given)
    assert jax.tree.structure(found.input) == jax.tree.structure(INPUT)
    assert found.input["image"].shape == X.shape and found.input["scale"].shape == ()
    assert found.input["label"] == 0 == found.multiplier["label"]
    if reference is None:

        def of(image, scale):
            return two(PARAMS, {**INPUT, "image": image, "scale": scale})[2]

        image, scale = jax.grad(of, (0, 1))(X, INPUT["scale"])
        np.testing.assert_allclose(found.multiplier["image"], image, rtol=1e-5)
        np.testing.assert_allclose(found.multiplier["scale"], scale, rtol=1e-5)
        return
    assert abs(found.residual()) <= 1e-6 * found.magnitude()
    output = two(PARAMS, INPUT)[2]
    before = two(PARAMS, other)[2] if reference == "baseline" else 0.0
    np.testing.assert_allclose(found.output, output - before, rtol=1e-5)
    # half of the product's relevance each
    np.testing.assert_allclose(
        found.input["scale"],
        0.5 * jnp.tanh(X @ KERNEL + PARAMS["b"])[2] * 1.5
        if reference == "zero"
        else 0.5 * (two_hidden(X) + two_hidden(0.5 * X)) * 0.5,
        rtol=1e-5,
    )


def two_hidden(image):
    return jnp.tanh(image @ KERNEL + PARAMS["b"])[2]


def test_trees_under_jit_and_vmap():
    batch = jax.tree.map(lambda a: jnp.stack([a, a, a]), INPUT)

    def one(x):
        return relevance.explain(two, PARAMS, x, target=2, baseline="zero")

    found = jax.jit(jax.vmap(one))(batch)
    alone = one(INPUT)
    np.testing.assert_allclose(found.input["image"][1], alone.input["image"], rtol=1e-5)
    assert found.residual().shape == (3,)


def test_lists_and_tuples_and_numbers_are_trees():
    def fn(p, x):
        return x[0] @ p["a"][:, 0] + x[1] ** 2

    for x in ((X, 3.0), [X, np.float32(3)]):
        found = relevance.explain(fn, PARAMS, x, baseline="zero")
        assert type(found.input) is type(x)
        np.testing.assert_allclose(found.input[1], 9.0)
    for name in ("guided_backprop", "deconvnet"):
        assert len(getattr(relevance, name)(fn, PARAMS, (X, 3.0))) == 2


@pytest.mark.parametrize(
    "x, given, message",
    [
        ({"a": np.arange(3)}, {}, "a dict of 'a' without real numbers"),
        ({"a": X, "b": "word"}, {}, "x/b must be one array, got the str 'word'"),
        ({"a": X * jnp.nan}, {}, "not finite in 'x/a'"),
        ({"a": X}, {"baseline": X}, "baseline is float32.* but x is a dict of 'a'"),
        ({"a": X}, {"baseline": {"a": X[:2]}}, r"baseline has shape \(2,\)"),
        (
            {"a": X, "b": jnp.array([1, 2])},
            {"baseline": {"a": X, "b": jnp.array([0, 2])}},
            r"int32 of shape \(2,\) in x differs from the baseline's",
        ),
        (None, {}, "x must be one array, got None"),
        (X, {"baseline": {"a": X}}, "baseline is a dict of 'a', but x is float32"),
    ],
)
def test_trees_that_cannot_be_explained(x, given, message):
    with pytest.raises(ValueError, match=message):
        plain("explain")(lambda p, x: x["a"].sum(), {}, x, **given)
