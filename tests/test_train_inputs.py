"""What training takes, and what it refuses: labels, data, parameters, optimizers."""

import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from optax import contrib

import sparsejax as sj
from sparsejax import train
from sparsejax.masks import Masks
from sparsejax.train import _examples as examples

N, CLASSES = 30, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4)).astype(np.float32)
W = RNG.normal(size=(4, CLASSES)).astype(np.float32)
Y = RNG.integers(0, CLASSES, N).astype(np.int32)
MASK = np.tile([[1.0], [0.0], [1.0], [1.0]], CLASSES).astype(np.float32)
MASKS = Masks({"w": jnp.asarray(MASK)}, {})
PARAMS = {"w": jnp.asarray(W)}
SGD = optax.sgd(0.1)


def linear(params, x):
    return x @ params["w"]


def one_column(params, x):
    return x @ params["w"][:, :1]


def one_number(params, x):
    return x @ params["w"][:, 0]


def sequence(params, x):
    return jnp.stack([x @ params["w"], jnp.flip(x, 1) @ params["w"]], axis=1)


def pair_out(params, x):
    return linear(params, x), x


APPLY = {f: sj.masked(f) for f in (linear, one_column, one_number, sequence, pair_out)}


def fit(apply=APPLY[linear], params=PARAMS, masks=MASKS, data=(X, Y), **knobs):
    knobs = {"key": jax.random.key(0), "epochs": 2, "batch_size": 10} | knobs
    return train.fit(apply, params, masks, data, **({"optimizer": SGD} | knobs))


def evaluate(apply=APPLY[linear], data=(X, Y), **knobs):
    return train.evaluate(apply, PARAMS, MASKS, data, **knobs)


# ---- Losses and metrics, against NumPy in float64.


def square(z, y):
    return jnp.square(z - y).mean()


def binary(z, y):
    return optax.sigmoid_binary_cross_entropy(z, y.reshape(z.shape)).mean()


def sign(z, y):
    return ((z > 0) == (y.reshape(z.shape) > 0)).astype(jnp.float32).mean()


def soft(z, y):
    return optax.softmax_cross_entropy(z, y).mean()


def numbers(loss, z, y):
    """The loss in NumPy."""
    z, y = np.float64(z), np.asarray(y)
    if loss is square:
        return np.square(z - y).mean()
    if loss is binary:
        y = y.reshape(z.shape)
        return np.mean(np.log1p(np.exp(z)) - y * z)
    rows = z.reshape(-1, z.shape[-1])
    log_p = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    if loss is soft:
        return -(log_p * y).sum(axis=1).mean()
    return -log_p[np.arange(len(rows)), y.reshape(-1)].mean()


HALF = (X[:, 0] > 0).astype(np.float32)
TWO = np.stack([Y, Y[::-1]], axis=1)
HOT = np.eye(CLASSES, dtype=np.float32)[Y]
CE = train.cross_entropy
NO_METRICS = [
    # One output, or real numbers: there is no class that could be right.
    (one_column, HALF, binary),
    (one_number, HALF, binary),
    (one_column, HALF.astype(np.int32), binary),
    (one_number, X[:, 1], square),
    (one_column, X[:, 1:2], square),
    (linear, X[:, :3], square),
    (linear, HOT, soft),
]


@pytest.mark.parametrize("fn, y, loss", NO_METRICS)
@pytest.mark.parametrize("batch_size", [7, 2000])
def test_where_there_are_no_classes_there_is_no_accuracy(fn, y, loss, batch_size):
    found = evaluate(APPLY[fn], (X, y), loss=loss, batch_size=batch_size)
    assert list(found) == ["loss"]
    out = fn({"w": W * MASK}, X)
    np.testing.assert_allclose(found["loss"], numbers(loss, out, y), rtol=1e-5)


@pytest.mark.parametrize("fn, y", [(linear, Y), (sequence, TWO)])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_accuracy_is_of_classes(fn, y, dtype):
    found = evaluate(APPLY[fn], (X, y.astype(dtype)), batch_size=7)
    out = np.asarray(fn({"w": W * MASK}, X))
    assert sorted(found) == ["accuracy", "loss"]
    np.testing.assert_allclose(found["accuracy"], np.mean(out.argmax(-1) == y))
    np.testing.assert_allclose(found["loss"], numbers(CE, out, y), rtol=1e-5)


@pytest.mark.parametrize("batch_size", [7, 2000])
def test_metrics_are_means_over_examples(batch_size):
    data, out = (X, HALF), X @ (W * MASK)[:, :1]
    metrics = {"right": sign, "off": square}
    found = evaluate(
        APPLY[one_column], data, loss=binary, metrics=metrics, batch_size=batch_size
    )
    assert set(found) == {"loss", "right", "off"}
    np.testing.assert_allclose(found["right"], np.mean((out[:, 0] > 0) == HALF))
    off = np.square(out[:, 0] - HALF).mean()
    np.testing.assert_allclose(found["off"], off, rtol=1e-5)
    both = evaluate(data=(X, Y), metrics={"accuracy": train.accuracy})
    assert both["accuracy"] == evaluate()["accuracy"]
    assert set(evaluate(metrics={})) == {"loss"}


def test_labels_beyond_uint8_and_outputs_that_are_nan():
    logits = jnp.zeros((2, 300)).at[0, 256].set(1.0).at[1].set(jnp.nan)
    labels = jnp.array([0, 0], jnp.uint8)  # 256 is 0 in eight bits
    assert train.accuracy(logits, labels) == 0
    assert train.accuracy(logits, jnp.array([256, 0])) == 0.5


BAD_METRICS = {
    "a list": (dict(metrics=[sign]), "metrics must be a dict"),
    "the loss": (dict(metrics={"loss": sign}), "other than 'loss'"),
    "no function": (dict(metrics={"right": 0.5}), "right must be a function"),
    "an array": (dict(metrics={"right": lambda z, y: z[:, 0]}), "expected a number"),
    "per example": (dict(loss=lambda z, y: z[:, 0]), "loss of a batch of one has sha"),
}


@pytest.mark.parametrize("knobs, message", BAD_METRICS.values(), ids=BAD_METRICS)
def test_what_is_no_metric(knobs, message):
    with pytest.raises(ValueError, match=message):
        evaluate(**knobs)


# ---- Labels that number no classes.

LABELS = {
    "signs": (np.where(HALF > 0, 1, -1), "run from -1 to 1; expected 0 to 2"),
    "from 1": (Y + 1, "run from 1 to 3; expected 0 to 2"),
    "ignored": (np.where(Y == 0, -100, Y), "run from -100 to 2; expected 0 to 2"),
    "wrapped": (Y.astype(np.int64) + 2**32, "run from 4294967296 to 4294967298"),
    "column": (Y[:, None], r"int32 of shape \(30, 1\).*leave out the last axis"),
    "one-hot": (HOT.astype(np.int32), r"of shape \(30,\); of one-hot labels take"),
    "floats": (Y.astype(np.float32), r"float32 of shape .* 0 to 2 .*astype\('int32'\)"),
    "bools": (Y > 0, r"bool of shape .*astype\('int32'\)"),
    "a list": ([1, 2, 3] * 10, "run from 1 to 3; expected 0 to 2"),
    "two a row": (TWO, r"of shape \(30, 2\); expected .* of shape \(30,\)"),
    "a tree": ({"a": Y, "b": Y}, "of one array of labels, got a dict of 'a', 'b'"),
}


def own(z, y):
    return jnp.mean(z)


@pytest.mark.parametrize("y, message", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("call", [fit, evaluate])
def test_labels_that_number_no_classes(call, y, message):
    with pytest.raises(ValueError, match=message):
        call(data=(X, y))

    # A loss of one's own knows what its labels are.
    if call is evaluate:
        assert "accuracy" not in evaluate(data=(X, y), loss=own)
    else:
        fit(data=(X, y), loss=own, steps=1, epochs=None)


@pytest.mark.parametrize("fn", [one_column, one_number, pair_out])
@pytest.mark.parametrize("call", [fit, evaluate])
def test_cross_entropy_of_what_are_no_logits(call, fn):
    with pytest.raises(ValueError, match=r"is of logits of shape \(n, classes\)"):
        call(APPLY[fn], data=(X, Y % 2))


def test_sequences_of_labels_are_trained():
    state, metrics = fit(APPLY[sequence], data=(X, TWO), epochs=1, batch_size=N)
    out = sequence({"w": W * MASK}, X)
    np.testing.assert_allclose(metrics["loss"], [numbers(CE, out, TWO)], rtol=1e-5)


def test_stacked_networks_and_traced_data_are_checked_as_far_as_known():
    def stack(tree):
        return jax.tree.map(lambda a: jnp.stack([a, a]), tree)

    seeds = jax.random.split(jax.random.key(0), 2)

    def call(y):
        return train.fit(
            APPLY[linear], stack(PARAMS), stack(MASKS), (X, y), optimizer=SGD,
            batch_size=10, epochs=1, key=seeds,
        )  # fmt: skip

    with pytest.raises(ValueError, match="run from 1 to 3"):
        call(Y + 1)
    inside = jax.jit(lambda y: evaluate(data=(X, y))["accuracy"])
    np.testing.assert_allclose(inside(Y), evaluate()["accuracy"])
    with pytest.raises(ValueError, match="float32 of shape"):
        inside(Y.astype(np.float32))


# ---- Losses that are not finite.


def hot_at(step):
    """A rate that explodes at a step, counted from 1."""
    return optax.sgd(lambda count: jnp.where(count == step - 1, jnp.inf, 0.1))


def stacked(count=3):
    def stack(tree):
        return jax.tree.map(lambda a: jnp.stack([a] * count), tree)

    return stack(PARAMS), stack(MASKS), jax.random.split(jax.random.key(0), count)


class Read:
    """What is no array, and is read in blocks."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, rows):
        return self.x[rows]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("read", [False, True])
def test_training_stops_at_the_first_step_that_is_not_finite(step, read, monkeypatch):
    monkeypatch.setattr(examples, "_BLOCK_BYTES", 10 * X[0].nbytes)
    seen = []
    with pytest.raises(train.NotFinite, match="lower the learning rate") as error:
        fit(
            data=(Read(X) if read else X, Y),
            optimizer=hot_at(step),
            callback=lambda state, _: seen.append(int(state.step)),
        )
    # The loss shows it one step later, the parameters at the end of an epoch or block.
    late = step % 3 and not read
    assert error.value.step == step + bool(late)
    assert error.value.networks == ()
    assert seen == [3][: (step - 1) // 3]


def test_of_stacked_networks_it_says_which():
    params, masks, keys = stacked()
    params["w"] = params["w"].at[1, 0].set(1e30)

    def out(p, m, x):
        return x @ (p["w"] * m.weights["w"]) ** 2

    with pytest.raises(train.NotFinite, match="of network 1 at step 1: ") as error:
        fit(out, params, masks, key=keys)
    assert (error.value.step, error.value.networks) == (1, (1,))


BAD_VALUES = {
    "an input": (("x", 4, np.nan), "x is NaN or infinite in 1 of 30 .* example 4"),
    "infinite": (("x", 5, np.inf), "x is NaN or infinite in 1 of 30 .* example 5"),
    "a label": (("y", 6, np.nan), "y is NaN or infinite in 1 of 30 .* example 6"),
}


@pytest.mark.parametrize("where, message", BAD_VALUES.values(), ids=BAD_VALUES)
def test_data_that_are_not_finite_are_named(where, message):
    name, row, value = where
    data = {"x": X.copy(), "y": X[:, 0].copy()}
    data[name][row] = value
    with pytest.raises(train.NotFinite, match=message):
        fit(APPLY[one_number], data=(data["x"], data["y"]), loss=square)


def test_missing_values_that_a_loss_leaves_out_are_no_fault():
    y = np.where(np.arange(N) % 3, X[:, 0], np.nan).astype(np.float32)

    def known(z, y):
        return jnp.where(jnp.isnan(y), 0, z - jnp.nan_to_num(y)).mean() ** 2

    state, metrics = fit(APPLY[one_number], data=(X, y), loss=known)
    assert np.isfinite(metrics["loss"]).all()


# ---- Parameters that are not trained, and those that are no arrays.


def test_leaves_that_are_not_of_floats_are_frozen():
    params = {
        "w": PARAMS["w"],
        "count": jnp.array(7, jnp.int32),
        "table": jnp.arange(4),
        "flag": jnp.array(True),
        "key": jax.random.key(3),
    }

    def fn(p, x):
        return x[:, p["table"]] @ p["w"]

    weights = {k: jnp.ones(()) for k in params} | {"w": jnp.asarray(MASK)}

    def apply(p, m, x):
        return fn({**p, "w": p["w"] * m.weights["w"]}, x)

    for trainable in (None, lambda path, leaf: path == "w"):
        state, _ = fit(
            apply, params, Masks(weights, {}), optimizer=optax.adam(0.1),
            trainable=trainable,
        )  # fmt: skip
        plain, _ = fit(optimizer=optax.adam(0.1))
        np.testing.assert_allclose(state.params["w"], plain.params["w"], atol=1e-6)
        for name in ("count", "table", "flag"):
            np.testing.assert_array_equal(state.params[name], params[name])
            assert state.params[name].dtype == params[name].dtype
        assert state.params["key"] == params["key"]


def test_equinox_trees_with_holes():
    model = eqx.nn.MLP(4, CLASSES, 5, 1, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_array)

    def fn(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    masks = sj.masks.ones(fn, params, X)
    kernel = masks.weights.layers[0].weight.at[1].set(0)
    masks = eqx.tree_at(lambda m: m.weights.layers[0].weight, masks, kernel)
    apply = sj.masked(fn)
    state, metrics = fit(apply, params, masks, epochs=5)
    assert metrics["loss"][-1] < metrics["loss"][0]
    assert not np.asarray(state.params.layers[0].weight[1]).any()
    found = train.evaluate(apply, state.params, masks, (X, Y))
    assert set(found) == {"loss", "accuracy"}
    with pytest.raises(ValueError, match="leaves that are not arrays.*eqx.partition"):
        fit(apply, model, masks)


class Dropped(nnx.Module):
    """Keeps a count and a key beside its parameters."""

    def __init__(self, rngs):
        self.dense = nnx.Linear(4, CLASSES, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dense(self.dropout(x))


@pytest.mark.parametrize("stateful", [False, True])
def test_nnx_states_with_counters_of_randomness(stateful):
    graph, params = nnx.split(Dropped(nnx.Rngs(0)))

    def fn(params, x, key=None):
        model = nnx.merge(graph, params)
        out = model(x)
        return (out, nnx.split(model)[1]) if stateful else out

    masks = Masks(jax.tree.map(lambda _: jnp.ones(()), params), {})
    masks.weights["dense"]["kernel"] = masks.weights["dense"]["kernel"].replace(
        jnp.asarray(MASK)
    )

    def trainable(path, leaf):
        return path.startswith("dense")

    knobs = {"trainable": trainable, "stateful": True} if stateful else {}
    state, _ = fit(sj.masked(fn), params, masks, **knobs)
    before, after = (sj.trees.by_path(p) for p in (params, state.params))
    count = "dropout/rngs/count/value"
    assert after[count] == before[count] + (6 if stateful else 0)
    assert after["dropout/rngs/key/value"] == before["dropout/rngs/key/value"]
    kernel = after["dense/kernel/value"]
    assert (kernel != before["dense/kernel/value"]).any()
    assert not np.asarray(kernel)[MASK == 0].any()


# ---- Optimizers that need more than gradients.

RATE = 0.05


def ascended(optimizer):
    """Sharpness-aware: the gradient at a point 0.05 up the slope."""
    up = optax.chain(contrib.normalize(), optax.sgd(0.05))
    return contrib.sam(optimizer, up, sync_period=2, opaque_mode=True)


MORE = {
    "lbfgs": lambda: optax.lbfgs(),
    "backtracking": lambda: optax.chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(10)
    ),
    "zoom": lambda: optax.chain(optax.sgd(1.0), optax.scale_by_zoom_linesearch(10)),
    "plateau": lambda: optax.chain(
        optax.adam(RATE), contrib.reduce_on_plateau(patience=1, rtol=1.0)
    ),
    "polyak": lambda: optax.polyak_sgd(),
    "momo": lambda: contrib.momo(),
    "momo_adam": lambda: contrib.momo_adam(),
    "sophia": lambda: contrib.sophia(RATE),
    "sam": lambda: ascended(optax.sgd(RATE)),
    "apply_every": lambda: optax.chain(optax.sgd(RATE), optax.apply_every(2)),
    "sm3": lambda: optax.sm3(RATE),
    "schedule_free": lambda: contrib.schedule_free_adamw(RATE),
    "accumulated": lambda: optax.MultiSteps(optax.adam(RATE), 2),
    "by label": lambda: optax.multi_transform(
        {"a": optax.adam(RATE), "b": optax.sgd(RATE)}, {"w": "a", "b": "b"}
    ),
    "by path": lambda: optax.masked(optax.adam(RATE), {"w": True, "b": False}),
}
BOTH = {"w": PARAMS["w"], "b": jnp.zeros(CLASSES)}
BOTH_MASKS = Masks({"w": MASKS.weights["w"], "b": jnp.ones(())}, {})
AFFINE = sj.masked(lambda params, x: x @ params["w"] + params["b"])
EVERYTHING = Masks(jax.tree.map(jnp.ones_like, BOTH_MASKS.weights), {})


def only_w(path, leaf):
    return path == "w"


PARTLY = ["lbfgs", "backtracking", "polyak", "sam", "accumulated"]
CHOICES = [(name, None) for name in MORE] + [(name, only_w) for name in PARTLY]


@pytest.mark.parametrize("name, trainable", CHOICES)
def test_optimizers_get_what_they_ask_for_and_removed_weights_stay_zero(
    name, trainable
):
    knobs = dict(optimizer=MORE[name](), trainable=trainable, batch_size=N)
    old, metrics = fit(AFFINE, BOTH, EVERYTHING, epochs=4, **knobs)
    assert metrics["loss"][-1] < metrics["loss"][0]
    # As when a mask shrinks: the optimizer forgets what it knew of removed weights.
    for epochs in (4, 7):
        new, _ = fit(AFFINE, None, BOTH_MASKS, state=old, epochs=epochs, **knobs)
        seen = 0
        for leaf in map(np.asarray, jax.tree.leaves((new.params, new.opt_state))):
            if leaf.shape[-2:] == MASK.shape:
                assert not leaf[..., MASK == 0].any()
                seen += 1
        assert seen > 0
    assert jax.tree.structure(new) == jax.tree.structure(old)


def logits_and_grad(w):
    logits = X @ (w * MASK)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(N), Y]).mean()
    return loss, X.T @ ((p - np.eye(CLASSES)[Y]) / N) * MASK


def polyak(w):
    loss, g = logits_and_grad(w)
    return w - min(loss / (np.square(g).sum() + 0.0), 1.0) * g


def sharpness_aware(w):
    _, g = logits_and_grad(w)
    return w - RATE * logits_and_grad(w + 0.05 * g / np.linalg.norm(g))[1]


def backtracking(w):
    loss, g = logits_and_grad(w)
    rate = 1.0 / 0.8
    while True:
        rate *= 0.8
        if logits_and_grad(w - rate * g)[0] <= loss - 1e-4 * rate * (g**2).sum():
            return w - rate * g


ORACLES = {
    polyak: lambda: optax.polyak_sgd(eps=0.0),
    sharpness_aware: lambda: ascended(optax.sgd(RATE)),
    backtracking: lambda: optax.chain(
        optax.sgd(1.0),
        optax.scale_by_backtracking_linesearch(20, max_learning_rate=1.0),
    ),
}


@pytest.mark.parametrize("step", ORACLES, ids=lambda f: f.__name__)
def test_these_optimizers_by_hand(step):
    state, _ = fit(optimizer=ORACLES[step](), batch_size=N, epochs=3)
    w = np.float64(W) * MASK
    for _ in range(3):
        w = step(w)
    np.testing.assert_allclose(state.params["w"], w, atol=2e-5)


def test_lbfgs_finds_least_squares_of_what_is_kept():
    kept, y = MASK[:, 0] == 1, X @ W[:, 0] + 1
    expected = np.linalg.lstsq(np.float64(X[:, kept]), y, rcond=None)[0]
    state, _ = fit(
        APPLY[one_number], data=(X, y), loss=square, optimizer=optax.lbfgs(),
        batch_size=N, epochs=15,
    )  # fmt: skip
    np.testing.assert_allclose(state.params["w"][kept, 0], expected, atol=1e-4)


def test_an_optimizer_that_asks_for_what_nobody_has():
    def update(updates, state, params=None, *, curvature, **more):
        return updates, state

    odd = optax.GradientTransformationExtraArgs(lambda p: (), update)
    with pytest.raises(ValueError, match="asks for more than grad, value.*curvature"):
        fit(optimizer=odd)
    with pytest.raises(ValueError, match="asks for parameters of its own form"):
        fit(optimizer=optax.lookahead(optax.sgd(0.1), 3, 0.5))


def test_complex_parameters_descend():
    params = {"w": jnp.array([1 + 2j, -1j, 3.0], jnp.complex64)}

    def size(params, masks, x):
        return params["w"] * jnp.ones((len(x), 1), "complex64")

    def loss(z, y):
        return jnp.square(jnp.abs(z)).sum(axis=1).mean()

    masks = Masks({"w": jnp.array([1, 1, 0], jnp.complex64)}, {})
    state, _ = fit(size, params, masks, loss=loss, epochs=1)
    expected = np.array([1 + 2j, -1j, 0]) * 0.8**3  # |z|^2 falls by 2 z a step
    np.testing.assert_allclose(state.params["w"], expected, rtol=1e-5)


# ---- Trees of inputs and of labels.

PARTS = {
    "dict": lambda x: {"a": x[:, :1], "rest": {"b": x[:, 1:]}},
    "tuple": lambda x: (x[:, :1], x[:, 1:]),
    "list": lambda x: [x[:, :1], x[:, 1:]],
    "record": lambda x: SPLIT(x[:, :1], x[:, 1:]),
}
SPLIT = examples.NamedTuple("Split", [("a", jax.Array), ("b", jax.Array)])


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("read", [False, True])
def test_trees_of_inputs_and_labels_are_as_one_array(parts, read):
    def whole(x):
        return jnp.concatenate(jax.tree.leaves(x), axis=1)

    def apply(params, masks, x):
        return APPLY[linear](params, masks, whole(x))

    def loss(z, y):
        return train.cross_entropy(z, y["class"]) + 0 * y["weight"][0].mean()

    x = parts(X)
    y = {"class": Y, "weight": (X[:, 0],)}
    expected, losses = fit()
    held = jax.tree.map(Read, x) if read else x
    state, metrics = fit(apply, data=(held, y), loss=loss)
    np.testing.assert_array_equal(state.params["w"], expected.params["w"])
    np.testing.assert_array_equal(metrics["loss"], losses["loss"])

    def first(z, y):
        return train.accuracy(z, y["class"])

    found = evaluate(apply, (x, y), loss=loss, metrics={"right": first}, batch_size=7)
    assert found["right"] == evaluate()["accuracy"]
    np.testing.assert_allclose(found["loss"], evaluate()["loss"], rtol=1e-6)


class Foreign:
    """As an array of another library."""

    def __init__(self, method):
        setattr(self, method, lambda: X)

    def __len__(self):
        return N

    def __getitem__(self, rows):
        return X[rows]


DATA = {
    "lengths": (({"a": X, "b": X[1:]}, Y), r"axes are {'x/a': 30, 'x/b': 29, 'y': 30}"),
    "labels": ((X, {"c": Y, "d": (Y[:9],)}), r"'y/c': 30, 'y/d/0': 9}"),
    "no axes": (({"a": X, "b": np.float32(1)}, Y), "x/b is .*expected an array"),
    "0-d": (({"a": X, "b": np.zeros(())}, Y), "x/b has no axes"),
    "none": ((X[:0], Y[:0]), "no examples: the leading axis of x has length 0"),
    "nothing": (({}, Y), "x has no arrays"),
    "no labels": ((X, None), "y has no arrays"),
    "text": ((X, np.array(["a"] * N)), "y is <U1 of shape .*expected numbers"),
    "a string": (("train.npz", Y), "x is the str 'train.npz'; expected an array"),
    "torch": ((Foreign("numpy"), Y), r"x is a .*Foreign; pass .* as x.numpy\(\) gives"),
    "pandas": ((X, Foreign("to_numpy")), r"y is a .*as y.to_numpy\(\) gives"),
    "inside": (({"a": Foreign("numpy")}, Y), "x/a is a .*Foreign; pass arrays"),
    "alone": (X, r"data must be a pair \(x, y\).*float32 of shape \(30, 4\)"),
    "three": ((X, X, Y), r"pair \(x, y\) of inputs and labels, got a tuple of 3"),
    "an iterator": ((iter(X), Y), "x is a builtins.iterator; expected arrays: np.sta"),
    "a generator": ((X, (y for y in Y)), r"y is a .*generator; .* np.stack\(\[\*y\]\)"),
}


@pytest.mark.parametrize("data, message", DATA.values(), ids=DATA)
@pytest.mark.parametrize("call", [fit, evaluate])
def test_data_that_cannot_be_taken(call, data, message):
    with pytest.raises(ValueError, match=message):
        call(data=data)


def test_lists_of_numbers_are_one_array():
    state, _ = fit(data=(X.tolist(), Y.tolist()))
    np.testing.assert_array_equal(state.params["w"], fit()[0].params["w"])
    assert evaluate(data=(X.tolist(), Y.tolist())) == evaluate()


def test_evaluate_takes_what_is_in_memory(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert evaluate(data=(mapped, Y)) == evaluate()
    with pytest.raises(ValueError, match="x is a .*Read; expected an array in memory"):
        evaluate(data=(Read(X), Y))


# ---- Other arguments.

TWO_KEYS = jax.random.split(jax.random.key(0), 2)
FOUR_KEYS = jax.random.split(jax.random.key(0), (2, 2))
ARGUMENTS = {
    "a number": (dict(key=0), "key must come from jax.random.key, got the int 0"),
    "old": (dict(key=jax.random.PRNGKey(0)), "not jax.random.PRNGKey"),
    "old order": (dict(data_key=jax.random.PRNGKey(0)), "data_key must come from"),
    "orders": (dict(data_key=TWO_KEYS), r"data_key has shape \(2,\); expected \(\)"),
    "seeds": (dict(key=TWO_KEYS), r"params\['w'\] has shape \(4, 3\).*of 2 seeds"),
    "many seeds": (dict(key=FOUR_KEYS), r"expected \(\) or \(see"),
    "masks": (dict(masks=MASKS.weights), "got a dict of 'w'; wrap a tree of weight"),
    "two arguments": (
        dict(apply=linear),
        r"apply takes \(params, x\), but is called as apply\(params, masks, x\); spars",
    ),
    "no apply": (dict(apply=3), "apply must be a function .*got the int 3"),
    "rate": (dict(optimizer=0.1), "optimizer must be one of optax's.*the float 0.1"),
    "state": (dict(state=PARAMS), "state must be a State, got a dict of 'w'"),
    "half a batch": (dict(batch_size=2.5), "batch_size is 2.5; expected an integer"),
    "text": (dict(batch_size="10"), "batch_size is '10'; expected an integer"),
    "epochs": (dict(epochs=1.5), "epochs is 1.5; expected an integer"),
    "steps": (dict(epochs=None, steps=-1), "steps is -1; expected at least 0"),
    "params": (dict(params={"w": "a"}), r"leaves that are not arrays \('w'\)"),
}


@pytest.mark.parametrize("knobs, message", ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_of_another_kind(knobs, message):
    with pytest.raises(ValueError, match=message):
        fit(**knobs)


def test_a_state_of_another_optimizer():
    old, _ = fit(optimizer=optax.adam(0.1))
    with pytest.raises(ValueError, match="state is of another optimizer"):
        fit(state=old, epochs=3)


EVALUATED = {
    "masks": (dict(masks=MASKS.weights), "expected Masks"),
    "two arguments": (dict(apply=linear), r"apply takes \(params, x\)"),
    "size": (dict(batch_size=0), "batch_size is 0; expected at least 1"),
    "stacked": (dict(stacked=True, params={"w": jnp.ones((2, 4, 3))}), "of 2 seeds"),
}


@pytest.mark.parametrize("knobs, message", EVALUATED.values(), ids=EVALUATED)
def test_arguments_of_evaluate(knobs, message):
    knobs = {"apply": APPLY[linear], "params": PARAMS, "masks": MASKS} | knobs
    parts = [knobs.pop(name) for name in ("apply", "params", "masks")]
    with pytest.raises(ValueError, match=message):
        train.evaluate(*parts, (X, Y), **knobs)


def test_numbers_of_numpy_are_numbers():
    state, _ = fit(batch_size=np.int64(10), epochs=np.int32(2))
    np.testing.assert_array_equal(state.params["w"], fit()[0].params["w"])


# ---- Meshes with explicit axes.

MESH = Path(__file__).parent / "meshes.py"


@pytest.fixture(scope="module")
def mesh_cases():
    """What a script found on two devices: one line a case."""
    count = "--xla_force_host_platform_device_count=2"
    run = subprocess.run(
        [sys.executable, "-W", "error", str(MESH)],
        env=os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {count}"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert not run.returncode, run.stderr[-3000:]
    return dict(line.split(": ", 1) for line in run.stdout.splitlines())


EXPLICIT = ["fit", "fit an odd batch", "fit stacked", "evaluate", "evaluate in parts"]
EXPLICIT += ["evaluate trees", "sweep", "sweep over sharded data"]
WITHIN = [f"{name}, within a mesh" for name in EXPLICIT]
OTHERS = ["data on automatic axes", "data elsewhere"]


@pytest.mark.parametrize("case", [*EXPLICIT, *WITHIN, *OTHERS])
def test_arrays_on_a_mesh_with_explicit_axes(mesh_cases, case):
    assert mesh_cases[case] == "ok"
