"""Linen modules with any collections, equal to the bit to Flax's own calls."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax import models

KEY, X = jax.random.key(0), jnp.linspace(-1, 2, 12).reshape(4, 3)
MODES = {"train": True, "training": True, "is_training": True, "update_stats": True,
         "deterministic": False, "use_running_average": False,
         "inference": False}  # fmt: skip
ones = nn.initializers.ones


class Named(nn.Module):
    """Parameters that are called like statistics and collections."""

    @nn.compact
    def __call__(self, x):
        names = ("mean", "var", "batch_stats", "state")
        return x + sum(self.param(name, ones, (3,)) for name in names)


class Boxed(nn.Module):
    """Parameters with names of axes, one called like a statistic."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train)(x)
        boxed = nn.with_partitioning(ones, ("units",))
        return x * self.param("mean", boxed, (3,)) + self.param("var_of", ones, (3,))


class Normalized(nn.Module):
    named: bool = False

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.BatchNorm(use_running_average=not train)(x)
        return x * self.param("mean", ones, (3,)) if self.named else nn.Dense(2)(x)


class Spectral(nn.Module):
    collection: str = "batch_stats"

    @nn.compact
    def __call__(self, x, train):
        norm = nn.SpectralNorm(nn.Dense(3), collection_name=self.collection)
        x = nn.BatchNorm(use_running_average=not train)(norm(x, update_stats=train))
        return nn.Dense(2)(x)


class Counting(nn.Module):
    """Its own collection, written in training, or whatever the mode."""

    always: bool = False

    @nn.compact
    def __call__(self, x, *, training):
        count = self.variable("cache", "mean", lambda: jnp.zeros((), jnp.int32))
        if (training or self.always) and not self.is_initializing():
            count.value += 1
        return nn.Dense(2)(x) + count.value.astype(x.dtype)


class Constant(nn.Module):
    """Random features that nothing learns or writes; and no parameters, perhaps."""

    learns: bool = True

    @nn.compact
    def __call__(self, x):
        def draw():
            return jax.random.normal(self.make_rng("params"), (3, 5))

        x = jnp.sin(x @ self.variable("constants", "kernel", draw).value)
        return nn.Dense(2)(x) if self.learns else x


class Carried(nn.Module):
    """A collection that holds a tuple, and one that `sow` makes longer."""

    @nn.compact
    def __call__(self, x, deterministic: bool = True):
        pair = self.variable("carry", "pair", lambda: (jnp.zeros(3), jnp.ones(())))
        if not (deterministic or self.is_initializing()):
            pair.value = (x.mean(0), pair.value[1] * 2)
        self.sow("losses", "size", jnp.abs(x).sum())
        return nn.Dense(2)(x) + pair.value[1]


class Noisy(nn.Module):
    """Dropout, and two streams of its own."""

    @nn.compact
    def __call__(self, x, is_training: bool = True):
        x = nn.Dropout(0.5)(nn.Dense(8)(x), deterministic=not is_training)
        if is_training:

            def draw(name):
                return jax.random.normal(self.make_rng(name), x.shape)

            x = x + draw("noise") * draw("other")
        return x


class Held(nn.Module):
    """Its mode is a field."""

    deterministic: bool = False

    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=self.deterministic)(nn.Dense(8)(x))


class Several(nn.Module):
    @nn.compact
    def __call__(self, x, scale=2.0):
        return nn.Dense(2)(x["left"]) * scale + nn.Dense(2)(x["right"])


def mode(name, value):
    return ({name: not value}, {name: value})


TRAIN, NONE = mode("train", True), ({}, {})
UPDATE = mode("update_stats", True)
TABLE = {
    "names of statistics": (Named(), NONE, False),
    "batch norm": (Normalized(), TRAIN, True),
    "batch norm and names": (Normalized(True), TRAIN, False),
    "boxes": (Boxed(), TRAIN, False),
    "nn.BatchNorm": (nn.BatchNorm(), mode("use_running_average", False), True),
    "spectral norm": (Spectral(), TRAIN, False),
    "spectral norm's own": (Spectral("singular_vectors"), TRAIN, False),
    "nn.SpectralNorm": (nn.SpectralNorm(nn.Dense(2)), UPDATE, False),
    "counter": (Counting(), mode("training", True), False),
    "counts always": (Counting(True), mode("training", True), False),
    "constants": (Constant(), NONE, False),
    "no parameters": (Constant(False), NONE, False),
    "tuple": (Carried(), mode("deterministic", False), False),
    "streams": (Noisy(), mode("is_training", True), True),
    "field": (Held(), NONE, True),
    "two inputs": (Several(), NONE, True),
}


def collections(params):
    """What lies where, by `is_trainable` and by names in the tree."""
    found = {}
    for path, leaf in sj.trees.by_path(params).items():
        learnt = models.is_trainable(path, leaf)
        where = "params/" if learnt else "batch_stats/"
        wrapped = set(params) == {"params", "state"}
        found[path.removeprefix("state/") if wrapped else where + path] = leaf
        assert not wrapped or learnt == path.startswith("params/")
    return found


def assert_same(found, expected):
    expected = sj.trees.by_path(expected)
    assert found.keys() == expected.keys()
    jax.tree.map(np.testing.assert_array_equal, found, dict(expected))


@pytest.mark.parametrize("case", TABLE)
def test_equal_to_flax_to_the_bit(case):
    module, (evaluation, training), plain = TABLE[case]
    x = {"left": X, "right": X + 1} if case == "two inputs" else X
    model, own = models.linen(module), module
    if case == "field":
        own, module = Held(True), Held(False)
    variables = own.init(KEY, x, **evaluation)
    variables.pop("losses", None)
    params = model.init(KEY, x)
    assert_same(collections(params), variables)
    assert (set(params) != {"params", "state"}) == plain
    for _ in range(2):  # statistics that moved are read the next time
        others = [name for name in variables if name != "params"]
        writes = {"mutable": others} if case == "counts always" else {}
        expected = own.apply(variables, x, **evaluation, **writes)
        expected = expected[0] if writes else expected
        np.testing.assert_array_equal(model.apply(params, x), expected)
        rngs = {"dropout": KEY, "params": jax.random.fold_in(KEY, 0)}
        expected, updates = module.apply(
            variables, x, **training, rngs=rngs, mutable=others
        )
        out, new = model.train_apply(params, x, key=KEY)
        np.testing.assert_array_equal(out, expected)
        assert jax.tree.structure(new) == jax.tree.structure(params)
        variables, params = {**variables, **updates}, new
        assert_same(collections(params), variables)
    draws = [model.train_apply(params, x, key=jax.random.key(i))[0] for i in (1, 2)]
    assert (draws[0] != draws[1]).any() == (case in ("streams", "field"))


def called(name, kind):
    """A module whose call takes its mode in one of Python's ways."""
    ways = {
        "required": f"x, {name}",
        "default": f"x, {name}={not MODES[name]}",
        "wrong default": f"x, other=1, {name}={MODES[name]}",
        "keyword": f"x, *, {name}",
        "positional": f"x, other=1, {name}=None, /",
        "variadic": f"*x, {name}, **others",
    }
    x = "x[0]" if kind == "variadic" else "x"
    body = f"def __call__(self, {ways[kind]}):\n    return seen({x}, {name})"
    space = {"seen": lambda x, value: jnp.where(value, x, -x)}
    exec(body, space)
    return type("Called", (nn.Module,), {"__call__": space["__call__"]})()


@pytest.mark.parametrize("name", MODES)
def test_a_mode_is_told_however_it_is_taken(name):
    in_training = X if MODES[name] else -X
    for kind in ("required", "default", "wrong default", "keyword", "positional",
                 "variadic"):  # fmt: skip
        model = models.linen(called(name, kind))
        params = model.init(KEY, X)
        np.testing.assert_array_equal(model.apply(params, X), -in_training, kind)
        out, _ = model.train_apply(params, X, key=KEY)
        np.testing.assert_array_equal(out, in_training, kind)


class Masked(nn.Module):
    def __call__(self, x, mask):
        return x * mask


class Empty(nn.Module):
    def __call__(self, *, x):
        return x


def test_what_is_refused():
    with pytest.raises(ValueError, match="Masked needs 'mask' beside x and its mode"):
        models.linen(Masked())
    with pytest.raises(ValueError, match="Empty takes no input"):
        models.linen(Empty())
    dropout = models.linen(nn.Sequential([nn.Dropout(0.5, deterministic=False)]))
    with pytest.raises(ValueError, match="Sequential draws random numbers where it is"):
        dropout.apply({}, X)
    assert dropout.train_apply({}, X, key=KEY)[0].shape == X.shape


def test_what_is_not_learnt_is_followed_by_a_training():
    model = models.linen(Spectral("singular_vectors"))
    params = model.init(KEY, X)
    masks = sj.masks.ones(model.apply, params, X)
    state, _ = sj.train.fit(
        sj.masked(model.train_apply), params, masks, (X, jnp.array([0, 1, 0, 1])),
        optimizer=optax.sgd(0.1), batch_size=4, steps=1, key=KEY,
        trainable=models.is_trainable, stateful=True,
    )  # fmt: skip
    _, new = model.train_apply(params, X, key=KEY)
    moved, followed = collections(state.params), collections(new)
    for path in moved:
        if path.startswith("params/"):
            assert (
                path.endswith("Dense_0/bias") or (moved[path] != followed[path]).any()
            )
        else:
            np.testing.assert_allclose(moved[path], followed[path], rtol=1e-5)
