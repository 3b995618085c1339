"""Lottery tickets: what is removed, what is rewound, and that it repeats."""

import itertools as it

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax import models, prune, train
from sparsejax.masks import Masks

DATA = sj.data.circle(jax.random.key(0), 200)
BATCH, END = 32, 15  # six steps an epoch: the end lies inside one
ORDER = jax.random.key(7)
MODEL = models.mlp((8, 6), 2)
APPLY = sj.masked(MODEL.apply)
INIT = jax.jit(MODEL.init)
RATE = optax.piecewise_constant_schedule(0.2, {10: 0.1})
OPTIMIZER = optax.sgd(RATE, momentum=0.9)


def begin(seed=0):
    params = INIT(jax.random.key(seed), DATA.x)
    return train.init(params, OPTIMIZER, jax.random.key(100 + seed))


MASK = sj.masks.ones(MODEL.apply, begin().params, DATA.x).weights


def train_to(state, mask, stop):
    return train.fit(
        APPLY, state.params, Masks(mask, {}), DATA, optimizer=OPTIMIZER,
        batch_size=BATCH, key=state.key, data_key=ORDER, state=state,
        steps=END if stop is None else stop,
    )[0]  # fmt: skip


def run(state=None, mask=MASK, train=train_to, **knobs):
    state = begin() if state is None else state
    knobs = dict(rounds=3, fraction=0.3) | knobs
    return prune.lottery(train, state, mask, **knobs)


def stack(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def assert_equal(a, b):
    a, b = sj.trees.to_arrays(a), sj.trees.to_arrays(b)
    assert list(a) == list(b)
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], name)


def assert_removed(params, mask):
    for name, m in sj.masks.sizes(mask).items():
        leaf, m = sj.trees.by_path(params)[name], sj.trees.by_path(mask)[name]
        assert not np.asarray(leaf)[np.asarray(m) == 0].view("u4").any()


@pytest.mark.parametrize(
    "fraction, scope",
    [
        (0.3, "layer"),
        (0.3, "global"),
        (0.3, {"dense_2/kernel": 0.1, "dense_0/kernel": 0}),
        ([0.5, 0.1, 0.25], ["global", "layer", {"dense_1/kernel": 0.7}]),
    ],
    ids=["layer", "global", "dict", "each"],
)
@pytest.mark.defaults
def test_every_round_removes_the_lowest_in_exact_numbers(fraction, scope):
    tickets = run(fraction=fraction, scope=scope)
    assert [ticket.level for ticket in tickets] == [0, 1, 2, 3]
    assert tickets[0].mask is MASK

    def each(value):
        return value if isinstance(value, list) else [value] * 3

    for (old, new), part, where in zip(
        it.pairwise(tickets), each(fraction), each(scope), strict=True
    ):
        assert sj.masks.is_nested(new.mask, old.mask)
        before, after = sj.masks.counts(old.mask), sj.masks.counts(new.mask)
        if where == "global":
            left = prune.kept_count(sum(before.values()), part)
            assert sum(after.values()) == left
        else:
            of = where if isinstance(where, dict) else {}
            left = {k: prune.kept_count(n, of.get(k, part)) for k, n in before.items()}
            assert after == left
        found = prune.magnitude(old.trained.params)
        assert_equal(new.mask, prune.remove(found, old.mask, part, scope=where))


@pytest.mark.parametrize("rewind_to", [0, 4, 6])
def test_kept_weights_restart_from_the_rewind_point(rewind_to):
    tickets = run(rewind_to=rewind_to)
    point = train_to(begin(), MASK, rewind_to)
    assert_equal(tickets[0].start, point)
    assert_equal(tickets[0].trained, train_to(begin(), MASK, None))
    for ticket in tickets:
        weights, params = map(sj.trees.by_path, (point.params, ticket.start.params))
        for name, mask in sj.trees.by_path(ticket.mask).items():
            kept = np.broadcast_to(mask, weights[name].shape) == 1
            assert kept.all() == (name.endswith("bias") or ticket.level == 0)
            np.testing.assert_array_equal(params[name][kept], weights[name][kept])
        assert_removed(ticket.start.params, ticket.mask)
        assert_removed(ticket.trained.params, ticket.mask)
        assert_removed(ticket.trained.opt_state[0].trace, ticket.mask)


@pytest.mark.parametrize("rewind_to", [0, 4])
@pytest.mark.parametrize("schedule_from", ["rewind", "final"])
@pytest.mark.parametrize("weights_from", ["rewind", "trained"])
def test_every_mode_starts_from_what_it_says(weights_from, schedule_from, rewind_to):
    tickets = run(
        rewind_to=rewind_to, weights_from=weights_from, schedule_from=schedule_from
    )
    point, length = train_to(begin(), MASK, rewind_to), END - rewind_to
    for old, new in it.pairwise(tickets):
        weights = point if weights_from == "rewind" else old.trained
        schedule = point if schedule_from == "rewind" else old.trained
        params = sj.masks.zero(weights.params, new.mask)
        assert_equal(new.start.params, params)
        assert_equal(
            new.start._replace(params=params), schedule._replace(params=params)
        )
        first = rewind_to if schedule_from == "rewind" else END + length * old.level
        assert (new.start.step, new.trained.step) == (first, first + length)
        assert_equal(new.trained, train_to(new.start, new.mask, first + length))


def test_what_a_mask_removes_at_first_is_zero_from_the_start():
    mask = {k: dict(layer) for k, layer in MASK.items()}
    mask["dense_1"]["kernel"] = MASK["dense_1"]["kernel"].at[::2].set(0)
    tickets = run(mask=mask, rounds=1)
    assert sj.masks.counts(tickets[1].mask)["dense_1/kernel"] == 17
    for ticket in tickets:
        assert_removed(ticket.start.params, mask)
        assert_removed(ticket.trained.params, mask)


def test_any_score():
    random = jax.jit(lambda key, params: prune.random(jax.random.clone(key), params))

    def score(state):
        return random(state.key, state.params)

    tickets = run(score=score, rounds=2)
    for old, new in it.pairwise(tickets):
        assert_equal(new.mask, prune.remove(score(old.trained), old.mask, 0.3))

    def kernel(tickets):
        return tickets[1].mask["dense_1"]["kernel"]

    assert (kernel(tickets) != kernel(run(rounds=1))).any()


@pytest.mark.parametrize("done", [1, 2, 4])
def test_an_interrupted_run_goes_on_bit_for_bit(done):
    knobs = dict(rewind_to=4, schedule_from="final", fraction=[0.2, 0.4, 0.6])
    calls = []
    whole = run(on_round=calls.append, **knobs)
    assert [call.level for call in calls] == [0, 1, 2, 3]
    assert all(call is ticket for call, ticket in zip(calls, whole, strict=True))
    calls.clear()

    def file(part):
        return sj.trees.from_arrays(sj.trees.to_arrays(part), part)

    read = [prune.Ticket(ticket.level, *file(ticket[1:])) for ticket in whole[:done]]
    rest = run(tickets=read, on_round=calls.append, **knobs)
    assert [call.level for call in calls] == [*range(done, 4)]
    assert_equal(rest, whole)


def test_stacked_networks_are_pruned_each_by_itself():
    knobs = dict(rounds=2, scope=["layer", "global"], rewind_to=4)
    many = run(stack(begin(0), begin(1)), stack(MASK, MASK), **knobs)
    for seed in range(2):
        for one, both in zip(run(begin(seed), **knobs), many, strict=True):

            def row(tree, seed=seed):
                return jax.tree.map(lambda leaf: leaf[seed], tree)

            assert_equal(row(both.mask), one.mask)
            assert both.trained.step.tolist() == [END, END]

            def close(a, b):
                return np.testing.assert_allclose(a, b, atol=1e-5)

            jax.tree.map(close, row(both.start.params), one.start.params)
            jax.tree.map(close, row(both.trained.params), one.trained.params)
    masks = [ticket.mask["dense_1"]["kernel"] for ticket in many]
    assert (masks[2][0] != masks[2][1]).any()


def test_a_layer_that_would_lose_everything_is_named():
    with pytest.raises(ValueError, match="would empty 'dense_2/kernel': nothing"):
        run(fraction=0.96)
    with pytest.raises(ValueError, match="would empty 'dense_2/kernel': nothing"):
        run(stack(begin(0), begin(1)), stack(MASK, MASK), fraction=0.96)
    tickets = run(fraction=0.96, rounds=1, allow_empty=True)
    assert sj.masks.counts(tickets[1].mask)["dense_2/kernel"] == 0


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.BatchNorm(not train, momentum=0.9, name="norm")(x)
        return nn.Dense(2, name="dense")(x)


def test_statistics_of_normalisation_rewind_with_the_weights():
    model = models.linen(Normalized())
    apply = sj.masked(model.train_apply)
    params = jax.jit(model.init)(jax.random.key(0), DATA.x)
    mask = sj.masks.ones(model.apply, params, DATA.x).weights
    knobs = dict(optimizer=OPTIMIZER, trainable=models.is_trainable)
    state = train.init(params, key=jax.random.key(1), **knobs)

    def train_stateful(state, mask, stop):
        return train.fit(
            apply, state.params, Masks(mask, {}), DATA, batch_size=BATCH, key=state.key,
            data_key=ORDER, state=state, steps=END if stop is None else stop,
            stateful=True, **knobs,
        )[0]  # fmt: skip

    def statistics(state):
        return {k: state.params["norm"][k] for k in ("mean", "var")}

    for weights_from in ("rewind", "trained"):
        dense, ticket = run(
            state,
            mask,
            train_stateful,
            rounds=1,
            rewind_to=4,
            weights_from=weights_from,
        )
        source = dense.start if weights_from == "rewind" else dense.trained
        assert_equal(statistics(ticket.start), statistics(source))
    assert (dense.start.params["norm"]["mean"] != 0).all()
    assert (
        dense.start.params["norm"]["mean"] != dense.trained.params["norm"]["mean"]
    ).all()


def test_shuffle_moves_ones_within_their_leaf():
    mask = {
        "a": jnp.arange(12).reshape(3, 4) < 4,
        "b": jnp.ones(()),
        "c": jnp.arange(12) < 4,
    }
    mask = jax.tree.map(lambda m: m.astype(jnp.float32), mask)
    keys = jax.random.split(jax.random.key(0), 3000)
    shuffle = jax.jit(jax.vmap(prune.shuffle, (0, None)))
    many, again = (shuffle(jax.random.clone(keys), mask) for _ in range(2))
    assert_equal(many, again)
    many = jax.device_get(many)
    assert many["a"].shape == (3000, 3, 4) and (many["b"] == 1).all()
    a, c = many["a"].reshape(3000, 12), many["c"]
    for moved in (a, c):
        assert (moved.sum(axis=1) == 4).all() and set(np.unique(moved)) == {0, 1}
        assert np.abs(moved.mean(axis=0) - 1 / 3).max() < 5 * np.sqrt(2 / 9 / 3000)
    assert abs(np.corrcoef(a[:, 0], c[:, 0])[0, 1]) < 5 / np.sqrt(3000)


def test_the_barrier_of_a_quadratic_error(rng):
    a, b = (
        {
            "w": jnp.asarray(rng.normal(size=(3, 2)), "float32"),
            "v": jnp.float32(rng.normal()),
        }
        for _ in range(2)
    )

    def flat(tree):
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])

    p, q = flat(a).astype(np.float64), flat(b).astype(np.float64)
    for sign in (1, -1):

        def error(tree, sign=sign):
            return sign * (jnp.sum(tree["w"] ** 2) + tree["v"] ** 2)

        found = prune.barrier(error, a, b, points=5)
        t = np.linspace(0, 1, 5)[:, None]
        curve = sign * np.sum((p + t * (q - p)) ** 2, axis=1)
        np.testing.assert_allclose(found.curve, curve, rtol=1e-5)
        np.testing.assert_allclose(found.curve[0], error(a), rtol=1e-5)
        np.testing.assert_allclose(found.curve[-1], error(b), rtol=1e-5)
        # The excess over the straight line is -sign t (1 - t) |p - q|^2.
        height = 0 if sign > 0 else np.sum((p - q) ** 2) / 4
        np.testing.assert_allclose(found.height, height, rtol=1e-5, atol=1e-6)
    same = prune.barrier(error, a, a)
    assert same.height == 0 and same.curve.shape == (11,)
    np.testing.assert_allclose(same.curve, error(a), rtol=1e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match="weights_from must be .* got 'final'"):
        run(weights_from="final")
    with pytest.raises(ValueError, match="schedule_from must be .* got 'trained'"):
        run(schedule_from="trained")
    for wrong in (
        dict(fraction=[0.1, 0.2]),
        dict(scope=["layer"] * 4),
        dict(rounds=0, fraction=[0.1]),
    ):
        with pytest.raises(ValueError, match="as many fractions and scopes"):
            run(**wrong)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\), got 1.5"):
        run(fraction=1.5)
    with pytest.raises(ValueError, match="scope must be .* got 'row'"):
        run(scope="row")
    assert len(run(rounds=0)) == 1


def test_one_value_for_all_rounds_or_several_that_are_read_once():
    expected = run(rounds=2, fraction=[0.5, 0.25], scope=["global", "layer"])
    for several in (tuple, np.array, iter, lambda v: (x for x in v)):
        scope = several(["global", "layer"]) if several is not np.array else "global"
        found = run(rounds=2, fraction=several([0.5, 0.25]), scope=scope)
        if several is not np.array:
            assert_equal(found[2].mask, expected[2].mask)
        assert_equal(found[1].mask, expected[1].mask)
    one = run(rounds=1, fraction=0.5, scope={"dense_0/kernel": 0.25})
    assert sj.masks.counts(one[1].mask)["dense_1/kernel"] == round(
        0.5 * sj.masks.sizes(MASK)["dense_1/kernel"]
    )


ARGUMENTS = {
    "state": (dict(state={"w": 1}), "state must be a State, got a dict of 'w'"),
    "rounds": (dict(rounds=1.5), "rounds is 1.5; expected an integer"),
    "no rounds": (dict(rounds=-1), "rounds is -1; expected at least 0"),
    "rewind_to": (dict(rewind_to="4"), "rewind_to is '4'; expected an integer"),
    "rewind": (dict(rewind_to=-1), "rewind_to is -1; expected at least 0"),
    "fractions": (dict(rounds=2, fraction=iter([0.5])), "2 rounds need as many"),
}


@pytest.mark.parametrize("knobs, message", ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_of_another_kind(knobs, message):
    with pytest.raises(ValueError, match=message):
        run(**knobs)


@pytest.mark.parametrize("key", [0, np.zeros(2, np.uint32)])
def test_shuffle_takes_keys(key):
    with pytest.raises(ValueError, match="key must come from jax.random.key"):
        prune.shuffle(key, MASK)
