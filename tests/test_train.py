"""Masked training against a plain loop in NumPy, seeds alone against seeds together."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax import interpret, models, train
from sparsejax.train import _examples as examples
from sparsejax.train import _groups as groups
from sparsejax.train import _steps as compiled

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 50).astype(np.int32)
BATCH, PER_EPOCH = 8, 6  # two examples are left over in every epoch
MODEL = models.mlp((8,), 3)
APPLY = sj.masked(MODEL.apply)
ORDER = jax.random.key(42)


def network(seed):
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.asarray(X))

    def normal(s):
        return jnp.asarray(rng.normal(size=s.shape), "float32")

    params = jax.tree.map(normal, shapes)
    ones = sj.masks.ones(MODEL.apply, params, X)

    def draw(m):
        return jnp.asarray(rng.integers(0, 2, m.shape), m.dtype) if m.ndim else m

    return params, ones._replace(weights=jax.tree.map(draw, ones.weights))


PARAMS, MASKS = network(1)


def fit(optimizer, params=PARAMS, masks=MASKS, *, key=None, **knobs):
    key = jax.random.key(0) if key is None else key
    knobs = {"batch_size": BATCH, "data_key": ORDER, **knobs}
    return train.fit(
        APPLY, params, masks, (X, Y), optimizer=optimizer, key=key, **knobs
    )


def assert_equal(a, b):
    """Bit for bit, keys included."""
    a, b = sj.trees.to_arrays(a), sj.trees.to_arrays(b)
    assert list(a) == list(b)
    for name, array in a.items():
        np.testing.assert_array_equal(array.view("u4"), b[name].view("u4"), name)


def assert_close(a, b, atol=1e-5):
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=0, atol=atol), a, b)


def assert_removed(state, weights):
    """Positive zeros in parameters and in whatever else is named like them."""
    names, seen = sj.trees.by_path(weights), 0
    for path, leaf in sj.trees.to_arrays(state).items():
        for name in names:
            if path.endswith(name) and np.ndim(names[name]):
                assert not leaf[names[name] == 0].view("u4").any(), path
                seen += 1
    return seen // len(sj.masks.sizes(weights))


# ---- The oracle: gradients by hand, optimizers from their papers, on one flat vector.


def gradient(params, x, y):
    """Loss and its gradient for relu(x w0 + b0) w1 + b1."""
    one, two = params["dense_0"], params["dense_1"]
    h = np.maximum(x @ one["kernel"] + one["bias"], 0)
    logits = h @ two["kernel"] + two["bias"]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    d = (p - np.eye(p.shape[1])[y]) / len(y)
    dh = d @ two["kernel"].T * (h > 0)
    return loss, {
        "dense_0": {"bias": dh.sum(axis=0), "kernel": x.T @ dh},
        "dense_1": {"bias": d.sum(axis=0), "kernel": h.T @ d},
    }


def sgd(t, g, w, s):
    return -0.3 * g


def momentum(t, g, w, s):
    s["m"] = g + 0.9 * s.get("m", 0)
    return -0.1 * s["m"]


def adam(t, g, w, s):
    s["m"] = 0.1 * g + 0.9 * s.get("m", 0)
    s["v"] = 0.001 * g**2 + 0.999 * s.get("v", 0)
    return -0.01 * (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


def adamw(t, g, w, s):
    return adam(t, g, w, s) - 0.01 * 0.5 * w


def clipped(t, g, w, s):
    return momentum(t, g * min(1, 0.2 / np.linalg.norm(g)), w, s)


def scheduled(t, g, w, s):
    s["m"] = g + 0.9 * s.get("m", 0)
    step = s["m"] * min(1, 0.5 / np.linalg.norm(s["m"]))
    return -(0.1 if t <= 5 else 0.01) * step


def shifted(t, g, w, s):
    return momentum(t, g + 0.1, w, s)


RATE = optax.piecewise_constant_schedule(0.1, {5: 0.1})
CLIPPED = optax.chain(optax.clip_by_global_norm(0.2), optax.sgd(0.1, momentum=0.9))
# An update that does not vanish with the gradient.
SHIFT = optax.stateless(lambda g, params: jax.tree.map(lambda g: g + 0.1, g))
OPTIMIZERS = {
    sgd: (optax.sgd(0.3), 0),
    momentum: (optax.sgd(0.1, momentum=0.9), 1),
    adam: (optax.adam(0.01), 2),
    adamw: (optax.adamw(0.01, weight_decay=0.5), 2),
    clipped: (CLIPPED, 1),
    shifted: (optax.chain(SHIFT, optax.sgd(0.1, momentum=0.9)), 1),
    scheduled: (
        optax.chain(
            optax.trace(0.9),
            optax.clip_by_global_norm(0.5),
            optax.scale_by_learning_rate(RATE),
        ),
        1,
    ),
}
MOMENTUM, ADAM, SCHEDULED = (OPTIMIZERS[f][0] for f in (momentum, adam, scheduled))


def by_hand(update, steps, moving=1.0):
    """What training should give, and the loss of every step."""
    flat, unflatten = jax.flatten_util.ravel_pytree(PARAMS)
    full = jax.tree.map(np.broadcast_to, MASKS.weights, jax.tree.map(np.shape, PARAMS))
    kept = np.concatenate([m.reshape(-1) for m in jax.tree.leaves(full)])

    def tree(w):
        return jax.tree.map(np.asarray, unflatten(jnp.asarray(w, jnp.float32)))

    w, memory, losses = np.asarray(flat, np.float64) * kept, {}, []
    for t in range(steps):
        epoch, at = divmod(t, PER_EPOCH)
        rows = examples.order(ORDER, epoch, len(X))[at * BATCH : (at + 1) * BATCH]
        loss, grads = gradient(tree(w), X[rows], Y[rows])
        g = np.concatenate([g.reshape(-1) for g in jax.tree.leaves(grads)]) * kept
        w = (w + moving * update(t + 1, g, w, memory)) * kept
        losses.append(loss)
    return tree(w), np.array(losses)


@pytest.mark.parametrize("update", OPTIMIZERS, ids=lambda f: f.__name__)
@pytest.mark.defaults
def test_equals_a_plain_loop_and_removed_weights_stay_zero(update):
    optimizer, buffers = OPTIMIZERS[update]
    state, metrics = fit(optimizer, epochs=3)
    params, losses = by_hand(update, 3 * PER_EPOCH)
    assert_close(state.params, params)
    of_epochs = losses.reshape(3, PER_EPOCH).mean(axis=1)
    np.testing.assert_allclose(metrics["loss"], of_epochs, rtol=1e-5)
    assert state.step == 3 * PER_EPOCH and state.key == jax.random.key(0)
    assert assert_removed(state, MASKS.weights) == 1 + buffers


@pytest.mark.parametrize("update", [adam, scheduled], ids=lambda f: f.__name__)
def test_what_the_optimizer_remembers_of_removed_weights_is_forgotten(update):
    # As when a mask shrinks: the clipped norm would feel old momentum otherwise.
    optimizer, buffers = OPTIMIZERS[update]
    dense = MASKS._replace(weights=jax.tree.map(jnp.ones_like, MASKS.weights))
    old, _ = fit(optimizer, masks=dense, steps=9)
    names = sj.trees.by_path(MASKS.weights)

    def forget(path, leaf):
        mask = next((m for name, m in names.items() if path.endswith(name)), 1)
        return leaf * mask

    clean = sj.trees.map_with_path(forget, old._replace(key=jnp.zeros(())))
    clean = clean._replace(step=old.step, key=old.key)
    for steps in (9, 10, 15):  # none, one and more, cut inside an epoch
        new, _ = fit(optimizer, state=old, steps=steps)
        assert_equal(new, fit(optimizer, state=clean, steps=steps)[0])
        assert assert_removed(new, MASKS.weights) == 1 + buffers


def test_global_norms_are_those_of_the_thin_network():
    kept = np.array([0, 2, 5])
    of_inputs = jnp.zeros((6, 8)).at[kept].set(1)
    weights = jax.tree.map(jnp.ones_like, MASKS.weights)
    weights["dense_0"]["kernel"] = of_inputs
    wide, _ = fit(CLIPPED, masks=MASKS._replace(weights=weights), epochs=2)

    def cut(params):
        return {
            **params,
            "dense_0": {
                **params["dense_0"],
                "kernel": params["dense_0"]["kernel"][kept],
            },
        }

    ones = MASKS._replace(weights=jax.tree.map(jnp.ones_like, cut(MASKS.weights)))
    thin, _ = train.fit(
        APPLY, cut(PARAMS), ones, (X[:, kept], Y), optimizer=CLIPPED, epochs=2,
        batch_size=BATCH, key=jax.random.key(0), data_key=ORDER,
    )  # fmt: skip
    assert_close(cut(wide.params), thin.params)


def test_frozen_leaves_stay_and_are_not_in_the_optimizer():
    frozen = "dense_0/bias"
    knobs = dict(epochs=2, trainable=lambda path, leaf: path != frozen)
    state, _ = fit(MOMENTUM, **knobs)
    parts = [np.full(8, 0.0), np.ones(48), np.ones(3), np.ones(24)]
    params, _ = by_hand(momentum, 2 * PER_EPOCH, np.concatenate(parts))
    assert_equal(state.params["dense_0"]["bias"], PARAMS["dense_0"]["bias"])
    assert_close(state.params, params)
    held = sj.trees.by_path(state.opt_state)
    assert any(name.endswith("dense_1/bias") for name in held)
    assert not any(name.endswith(frozen) for name in held)
    assert assert_removed(state, MASKS.weights) == 2


def test_same_keys_same_network():
    one, _ = fit(ADAM, epochs=2)
    assert_equal(one, fit(ADAM, epochs=2)[0])
    other, _ = fit(ADAM, epochs=2, data_key=jax.random.key(43))
    assert (one.params["dense_0"]["bias"] != other.params["dense_0"]["bias"]).any()
    # By default the order of the data comes from the network's own key.
    own = [
        fit(ADAM, key=jax.random.key(i), data_key=None, steps=3)[0] for i in (5, 5, 6)
    ]
    assert_equal(own[0], own[1])
    assert (own[0].params["dense_0"]["bias"] != own[2].params["dense_0"]["bias"]).any()


class Read:
    """What is no array, and remembers the most that was read at once."""

    def __init__(self):
        self.most = 0

    def __len__(self):
        return len(X)

    def __getitem__(self, rows):
        self.most = max(self.most, len(rows))
        return X[rows]


@pytest.mark.parametrize("batches", [1, 4, 100])
def test_examples_read_in_blocks_give_the_same_network(monkeypatch, batches):
    monkeypatch.setattr(examples, "_BLOCK_BYTES", batches * BATCH * X[0].nbytes)
    whole, expected = fit(SCHEDULED, steps=15)
    read = Read()
    one = {"batch_size": BATCH, "data_key": ORDER, "optimizer": SCHEDULED}
    start = PARAMS, MASKS, (read, Y)
    state, metrics = train.fit(APPLY, *start, steps=15, key=jax.random.key(0), **one)
    assert_equal(state, whole)
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-6)
    assert read.most == min(batches, PER_EPOCH) * BATCH
    one |= {"data_key": jax.random.split(jax.random.key(7), 2)}
    keys = jax.random.split(jax.random.key(0), 2)
    stacked = jax.tree.map(lambda *leaf: jnp.stack(leaf), PARAMS, PARAMS)
    both = jax.tree.map(lambda *leaf: jnp.stack(leaf), MASKS, MASKS)
    with pytest.raises(ValueError, match="in one order only"):
        train.fit(APPLY, stacked, both, (read, Y), steps=1, key=keys, **one)


@pytest.mark.parametrize("data_key", [ORDER, None], ids=["given", "own"])
def test_training_in_parts_is_training_at_once(data_key):
    knobs = dict(data_key=data_key)
    whole, metrics = fit(SCHEDULED, epochs=3, **knobs)
    state, _ = fit(SCHEDULED, steps=4, **knobs)
    assert state.step == 4
    for stop in (6, 11, 11, 18):
        state, parts = fit(SCHEDULED, None, state=state, steps=stop, **knobs)
        assert state.step == stop
    assert_equal(state, whole)
    np.testing.assert_array_equal(parts["loss"][-1], metrics["loss"][-1])
    done, nothing = fit(SCHEDULED, state=state, epochs=2, **knobs)
    assert_equal(done, whole)
    assert nothing["loss"].shape == (0,)


@pytest.mark.parametrize("orders", ["shared", "each", "default"])
@pytest.mark.defaults
def test_every_seed_is_as_if_trained_alone(orders):
    seeds = [network(seed) for seed in range(3)]
    params, masks = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
    keys = [jax.random.key(seed) for seed in range(3)]
    of_data = [jax.random.key(10 + seed) for seed in range(3)]
    data_key = {"shared": ORDER, "each": jnp.stack(of_data), "default": None}[orders]
    knobs = dict(epochs=2, data_key=data_key)
    many, metrics = fit(MOMENTUM, params, masks, key=jnp.stack(keys), **knobs)
    assert metrics["loss"].shape == (2, 3) and many.step.tolist() == [12] * 3
    many = many._replace(key=jax.random.clone(many.key))
    for i, (params, masks) in enumerate(seeds):
        if orders == "each":
            knobs["data_key"] = of_data[i]
        alone, losses = fit(MOMENTUM, params, masks, key=keys[i], **knobs)
        row = jax.tree.map(lambda leaf, i=i: leaf[i], many)
        assert_close(row.params, alone.params)
        assert_close(row.opt_state, alone.opt_state)
        assert row.key == alone.key
        assert assert_removed(row, masks.weights) == 2
        np.testing.assert_allclose(metrics["loss"][:, i], losses["loss"], rtol=1e-5)


@pytest.mark.parametrize("own", [False, True])
def test_seeds_in_groups_are_as_together(own, monkeypatch):
    seeds = [network(seed) for seed in range(5)]
    params, masks = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
    keys = jax.random.split(jax.random.key(3), 5)
    knobs = dict(
        epochs=2, data_key=jax.random.split(jax.random.key(7), 5) if own else ORDER
    )
    whole, losses = fit(MOMENTUM, params, masks, key=keys, **knobs)
    for at_once in (2, 1):
        monkeypatch.setattr(groups, "size", lambda count, each, n=at_once: n)
        monkeypatch.setattr(compiled, "epoch", compiled_again())
        parted, metrics = fit(
            MOMENTUM, params, masks, key=jax.random.clone(keys), **knobs
        )
        assert_close(parted.params, whole.params)
        assert_close(parted.opt_state, whole.opt_state)
        assert (parted.key == jax.random.clone(whole.key)).all()
        np.testing.assert_allclose(metrics["loss"], losses["loss"], rtol=1e-5)


def compiled_again():
    """`epoch`, with nothing compiled yet."""
    return interpret.Compiled(compiled.epoch._plain.__wrapped__, (0, 1))


def test_groups_fit_in_the_cache(monkeypatch):
    each = []

    def size(count, touched):
        each.append(touched)
        return count

    seeds = [network(seed) for seed in range(2)]
    params, masks = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
    monkeypatch.setattr(groups, "size", size)
    monkeypatch.setattr(compiled, "epoch", compiled_again())
    keys = jax.random.split(jax.random.key(3), 2)
    fit(MOMENTUM, params, masks, key=keys, epochs=1, data_key=ORDER)
    state = groups.num_bytes((params, params, masks)) // 2
    assert state < each[0] < 6 * state


def test_orders_are_permutations_of_key_and_epoch():
    keys = jax.random.split(ORDER, 2)
    both = examples.order(keys, 3, 50)
    assert both.shape == (2, 50) and both.dtype == np.int32
    orders = [*both, examples.order(ORDER, 3, 50), examples.order(ORDER, 4, 50)]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert len(set(map(tuple, orders))) == 4
    np.testing.assert_array_equal(both[1], examples.order(keys[1], 3, 50))


def test_a_removed_unit_does_not_learn():
    start = sj.masks.zero(PARAMS, MASKS.weights)
    nodes = {"hidden_0": jnp.array([1.0, 0, 1, 1, 1, 1, 0, 1])}
    state, _ = fit(MOMENTUM, masks=MASKS._replace(nodes=nodes), epochs=2)
    one, two = state.params["dense_0"], state.params["dense_1"]
    off = np.array([1, 6])
    on = np.setdiff1d(np.arange(8), off)
    assert_equal(one["kernel"][:, off], start["dense_0"]["kernel"][:, off])
    assert_equal(one["bias"][off], start["dense_0"]["bias"][off])
    assert_equal(two["kernel"][off], start["dense_1"]["kernel"][off])
    assert (one["bias"][on] != start["dense_0"]["bias"][on]).any()
    # The others learn as if it were not there.
    masks = jax.tree.map(lambda m: m, MASKS)
    masks.weights["dense_1"]["kernel"] = (
        MASKS.weights["dense_1"]["kernel"].at[off].set(0)
    )
    without, _ = fit(MOMENTUM, masks=masks, epochs=2)
    assert_close(one["kernel"][:, on], without.params["dense_0"]["kernel"][:, on])


def test_callback_gets_every_epoch():
    seen = []
    state, metrics = fit(
        MOMENTUM,
        steps=15,
        callback=lambda state, metrics: seen.append((state, metrics)),
    )
    assert [int(state.step) for state, _ in seen] == [6, 12, 15]
    assert_equal(seen[-1][0], state)
    losses = [float(metrics["loss"]) for _, metrics in seen]
    np.testing.assert_array_equal(metrics["loss"], np.float32(losses))
    parts = np.split(by_hand(momentum, 15)[1], [6, 12])
    np.testing.assert_allclose(losses, [part.mean() for part in parts], rtol=1e-5)


def test_a_learning_rate_of_nan_stops():
    with pytest.raises(train.NotFinite, match="not finite at step 2: lower"):
        fit(optax.sgd(jnp.nan), epochs=2)


def test_a_loss_of_ones_own():
    def square(y, target):
        return jnp.mean(jnp.square(y[:, 0] - target))

    knobs = dict(
        optimizer=optax.sgd(0.1), batch_size=50, key=jax.random.key(0), steps=1
    )
    target = X[:, 0]
    _, metrics = train.fit(APPLY, PARAMS, MASKS, (X, target), loss=square, **knobs)
    out = APPLY(PARAMS, MASKS, X)
    expected = np.mean(np.square(out[:, 0] - target))
    np.testing.assert_allclose(metrics["loss"], [expected], rtol=1e-5)


class Noisy(nn.Module):
    """Statistics of the inputs themselves, which NumPy can follow; then dropout."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.BatchNorm(not train, momentum=0.9, name="norm")(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(3, name="dense")(x)


NOISY = models.linen(Noisy())
NOISY_APPLY = sj.masked(NOISY.train_apply)


def fit_noisy(key, **knobs):
    params = NOISY.init(jax.random.key(1), jnp.asarray(X))
    masks = sj.masks.ones(NOISY.apply, params, X)
    masks.weights["dense"]["kernel"] = jnp.tile(jnp.array([[0.0], [1.0]]), (3, 3))
    knobs = dict(optimizer=ADAM, batch_size=BATCH, epochs=2, data_key=ORDER) | knobs
    return masks, train.fit(
        NOISY_APPLY, params, masks, (X, Y), key=jax.random.key(key),
        trainable=models.is_trainable, stateful=True, **knobs,
    )[0]  # fmt: skip


def test_statistics_are_followed_and_not_optimized():
    masks, state = fit_noisy(0)
    mean, var = np.zeros(6), np.ones(6)
    for t in range(2 * PER_EPOCH):
        epoch, at = divmod(t, PER_EPOCH)
        batch = X[examples.order(ORDER, epoch, 50)[at * BATCH : (at + 1) * BATCH]]
        mean = 0.9 * mean + 0.1 * batch.mean(axis=0)
        var = 0.9 * var + 0.1 * batch.var(axis=0)
    np.testing.assert_allclose(state.params["norm"]["mean"], mean, atol=1e-5)
    np.testing.assert_allclose(state.params["norm"]["var"], var, atol=1e-5)
    held = {name[-9:] for name in sj.trees.by_path(state.opt_state)}
    assert "norm/bias" in held and not held & {"norm/mean", "/norm/var"}
    assert assert_removed(state, masks.weights) == 3


def test_dropout_comes_from_the_key_of_the_state():
    (_, one), (_, again), (_, other) = map(fit_noisy, (0, 0, 1))
    assert_equal(one, again)
    assert_equal(one.params["norm"]["mean"], other.params["norm"]["mean"])
    assert (one.params["dense"]["bias"] != other.params["dense"]["bias"]).any()
    _, half = fit_noisy(0, epochs=None, steps=7)
    assert_equal(fit_noisy(5, state=half)[1], one)


def noting(params, masks, x, *, key):
    """Notes what it draws."""
    seen = jnp.roll(params["seen"], 1).at[0].set(jax.random.uniform(key))
    return x @ params["w"], {"seen": seen, "w": params["w"]}


def test_every_step_has_its_own_randomness():
    params = {"seen": jnp.zeros(9), "w": jnp.ones((6, 3))}
    masks = sj.masks.Masks({"seen": jnp.ones(()), "w": jnp.ones(())}, {})

    def go(seed, steps, **knobs):
        return train.fit(
            noting, params, masks, (X, Y), key=jax.random.key(seed), steps=steps,
            optimizer=MOMENTUM, batch_size=BATCH, data_key=ORDER, stateful=True,
            trainable=lambda path, leaf: path == "w", **knobs,
        )[0]  # fmt: skip

    one, other = go(0, 9), go(1, 9)
    drawn = np.concatenate([one.params["seen"], other.params["seen"]])
    assert len(set(drawn.tolist())) == 18
    assert_equal(go(0, 9, state=go(0, 4)), one)


@pytest.mark.parametrize("batch_size", [7, 50, 2000])
def test_evaluate_does_not_depend_on_batches(batch_size):
    params = by_hand(sgd, 0)[0]
    loss, _ = gradient(params, X, Y)
    out = APPLY(PARAMS, MASKS, X)
    got = train.evaluate(APPLY, PARAMS, MASKS, (X, Y), batch_size=batch_size)
    np.testing.assert_allclose(got["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(got["accuracy"], np.mean(out.argmax(1) == Y), rtol=1e-6)
    assert got["loss"].shape == got["accuracy"].shape == ()


def test_evaluate_stacked():
    seeds = [network(seed) for seed in range(3)]
    params, masks = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
    knobs = dict(batch_size=7)
    many = train.evaluate(APPLY, params, masks, (X, Y), stacked=True, **knobs)
    for i, seed in enumerate(seeds):
        one = train.evaluate(APPLY, *seed, (X, Y), **knobs)
        for name in ("loss", "accuracy"):
            np.testing.assert_allclose(many[name][i], one[name], rtol=1e-5)


def test_cross_entropy_in_nats():
    logits, labels = jnp.log(jnp.array([[0.5, 0.5], [0.1, 0.9]])), jnp.array([1, 0])
    expected = -(np.log(0.5) + np.log(0.1)) / 2
    np.testing.assert_allclose(train.cross_entropy(logits, labels), expected, rtol=1e-6)


def test_bad_arguments():
    for both in ({}, {"steps": 1, "epochs": 1}):
        with pytest.raises(ValueError, match="one of steps= and epochs="):
            fit(MOMENTUM, **both)
    for size in (0, 51):
        with pytest.raises(ValueError, match=f"batches of {size} from 50 examples"):
            fit(MOMENTUM, epochs=1, batch_size=size)
    with pytest.raises(ValueError, match="axes are {'x': 50, 'y': 49}"):
        train.fit(
            APPLY, PARAMS, MASKS, (X, Y[1:]), optimizer=MOMENTUM, epochs=1,
            batch_size=BATCH, key=jax.random.key(0),
        )  # fmt: skip
    turned = jax.tree.map(lambda m: m.T, MASKS.weights)
    with pytest.raises(ValueError, match=r"'dense_0/kernel' has shape \(8, 6\)"):
        fit(MOMENTUM, masks=MASKS._replace(weights=turned), epochs=1)
    with pytest.raises(ValueError, match="missing: 'dense_0/bias'"):
        fit(MOMENTUM, masks=MASKS._replace(weights={}), epochs=1)
    with pytest.raises(ValueError, match=r"nodes\['hidden_0'\] has shape \(7,\)"):
        fit(MOMENTUM, masks=MASKS._replace(nodes={"hidden_0": jnp.ones(7)}), epochs=1)


def test_float64_and_factored_states():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, y = (
            jnp.asarray(rng.normal(size=(40, 5))),
            jnp.asarray(rng.integers(0, 3, 40)),
        )
        params = {"w": jnp.asarray(rng.normal(size=(5, 3)))}

        def fn(params, x):
            return x @ params["w"]

        weights = {"w": jnp.asarray(rng.integers(0, 2, (5, 3)), jnp.float64)}
        masks = sj.masks.Masks(weights, {})
        apply = sj.masked(fn)
        for optimizer in (
            optax.sgd(0.1),
            optax.adafactor(0.1, min_dim_size_to_factor=2),
            optax.novograd(0.1),
        ):
            state, _ = train.fit(
                apply, params, masks, (x, y), optimizer=optimizer,
                batch_size=10, epochs=2, key=jax.random.key(0),
            )  # fmt: skip
            assert state.params["w"].dtype == jnp.float64
            assert (np.asarray(state.params["w"])[weights["w"] == 0] == 0).all()
        metrics = train.evaluate(apply, state.params, masks, (x, y.astype(jnp.int32)))
        assert metrics["loss"].dtype == jnp.float64


def test_statistics_without_trainable_are_refused():
    with pytest.raises(ValueError, match="stateful=True needs trainable="):
        train.fit(
            lambda *a, key: None, {}, sj.masks.Masks({}, {}),
            (jnp.ones(4), jnp.ones(4)),
            optimizer=optax.sgd(0.1), batch_size=2, epochs=1,
            key=jax.random.key(0), stateful=True,
        )  # fmt: skip
