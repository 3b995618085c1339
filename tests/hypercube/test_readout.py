"""The fast path against a forward pass in NumPy, in float64, of every mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import hypercube
from sparsejax.hypercube import _readout as readout


def brute_force(hidden, kernel, bias, labels):
    hidden, kernel, bias = (np.asarray(a, np.float64) for a in (hidden, kernel, bias))
    points, n = hidden.shape
    rows = []
    for mask in np.asarray(sj.masks.subsets(n), np.float64):
        logits = (hidden * mask) @ kernel + bias
        top = logits.max(1)
        norm = top + np.log(np.exp(logits - top[:, None]).sum(1))
        right = logits[np.arange(points), labels]
        # the label's logit less the others', without cancellation for small losses
        leads = logits - right[:, None]
        leads[np.arange(points), labels] = -np.inf
        worst = np.maximum(leads.max(1), 0)
        rest = np.exp(leads - worst[:, None]).sum(1) + np.expm1(-worst)
        loss = worst + np.log1p(rest)
        chance = np.exp(logits - norm[:, None])
        chance[np.arange(points), labels] = -np.exp(
            leads - norm[:, None] + right[:, None]
        ).sum(1)
        grad = (hidden * (chance @ kernel.T)).mean(0)
        rows.append((loss.mean(), (logits.argmax(1) == labels).mean(), grad))
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def network(n, points, classes, scale=1.0, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    hidden = np.maximum(rng.normal(size=(points, n)), 0)
    kernel = scale * rng.normal(size=(n, classes))
    bias = scale * 0.3 * rng.normal(size=classes)
    labels = rng.integers(0, classes, points)
    if shift:  # labels that the network finds obvious
        labels = np.zeros(points, int)
        bias[0] += shift
    narrow = [a.astype(np.float32) for a in (hidden, kernel, bias)]
    return *narrow, labels


CASES = {
    "two classes": network(7, 23, 2),
    "one node": network(1, 5, 2),
    "two nodes": network(2, 4, 3),
    "one point": network(5, 1, 2),
    "three classes": network(7, 30, 3),
    "ten classes": network(8, 17, 10),
    "large": network(7, 50, 2, 50.0),
    "large, four classes": network(7, 50, 4, 50.0),
    "some large": network(7, 50, 2, 12.0),
    "huge": network(6, 9, 3, 1e6),
    "almost right": network(6, 20, 2, 0.3, shift=14.0),
    "almost right, three classes": network(6, 20, 3, 0.3, shift=16.0),
    "tiny losses": network(6, 20, 2, 0.3, shift=40.0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.defaults
def test_every_entry_equals_a_forward_pass(case):
    losses, accuracies, gradients = brute_force(*case)
    found = hypercube.evaluate_readout(*case, gradients=True)
    assert all(np.isfinite(a).all() and a.dtype == np.float32 for a in found)
    # small losses keep their digits, too
    np.testing.assert_allclose(found.losses, losses, rtol=3e-6)
    np.testing.assert_allclose(found.accuracies, accuracies, atol=1e-6)
    scale = np.abs(gradients).max()
    np.testing.assert_allclose(found.gradients, gradients, atol=3e-6 * scale)
    values = hypercube.evaluate_readout(*case)
    assert values.gradients is None
    np.testing.assert_allclose(values.losses, found.losses, rtol=1e-6)


@pytest.mark.parametrize("name", ["two classes", "ten classes", "large", "tiny losses"])
def test_float64_is_exact_to_its_own_rounding(name):
    with jax.enable_x64(True):
        case = [a.astype(np.float64) for a in CASES[name][:3]]
        found = hypercube.evaluate_readout(*case, CASES[name][3], gradients=True)
    losses, accuracies, gradients = brute_force(*case, CASES[name][3])
    assert all(a.dtype == np.float64 for a in found)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-13)
    np.testing.assert_array_equal(found.accuracies.round(12), accuracies.round(12))
    scale = np.abs(gradients).max()
    np.testing.assert_allclose(found.gradients, gradients, atol=1e-13 * scale)


def test_ties_go_to_the_lowest_class_as_with_argmax():
    hidden = np.array([[1, 0, 2], [0, 0, 1], [1, 1, 0]], np.float32).repeat(3, axis=0)
    kernel = np.array([[1, 1, 0], [2, 0, 2], [0, 1, 1]], np.float32)
    case = hidden, kernel, np.zeros(3, np.float32), np.tile(np.arange(3), 3)
    found = hypercube.evaluate_readout(*case)
    np.testing.assert_allclose(found.accuracies, brute_force(*case)[1], atol=1e-7)
    assert found.accuracies[0] == pytest.approx(1 / 3)  # no node: all tie, class 0


def test_the_model_itself_agrees():
    model = sj.models.mlp((6,), 3)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 2)).astype(np.float32)
    y = rng.integers(0, 3, 40)
    params = model.init(jax.random.key(0), x)
    weights = sj.masks.ones(model.apply, params, x).weights
    apply = sj.masked(model.apply)

    def loss(nodes):
        logits = apply(params, sj.masks.Masks(weights, {"hidden_0": nodes}), x)
        return sj.train.cross_entropy(logits, jnp.asarray(y))

    values, grads = hypercube.evaluate(jax.value_and_grad(loss), 6, progress=False)
    _, acts = sj.activations(model.apply)(params, x)
    last = params["dense_1"]
    found = hypercube.evaluate_readout(
        acts["hidden_0"], last["kernel"], last["bias"], y, gradients=True
    )
    np.testing.assert_allclose(found.losses, values, rtol=2e-6)
    np.testing.assert_allclose(found.gradients, grads, atol=1e-6)


def test_halves_and_calls_do_not_show(monkeypatch):
    case = CASES["three classes"]
    whole = hypercube.evaluate_readout(*case, gradients=True)
    for low, call, table in ((3, 5, 1e6), (0, 20, 1e6), (6, 4, 500)):
        monkeypatch.setattr(readout, "_LOW", low)
        monkeypatch.setattr(readout, "_CALL", call)
        monkeypatch.setattr(readout, "_TABLE", table)
        other = hypercube.evaluate_readout(*case, gradients=True)
        for a, b in zip(whole, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_networks_of_one_shape_compile_once(monkeypatch):
    product, traced = readout._product, []

    def spy(*args):
        return traced.append(0) or product(*args)

    monkeypatch.setattr(readout, "_product", spy)
    for seed in range(4):
        hypercube.evaluate_readout(*network(7, 70, 2, 0.1, seed))
    assert len(traced) == 1


def test_only_points_that_could_overflow_leave_the_fast_path():
    hidden, kernel, bias, labels = CASES["some large"]
    leads = readout._leads(hidden, kernel, bias, labels)
    parts, groups = readout._split(leads)
    reach = (np.abs(leads.offsets) + np.abs(leads.slopes).sum(1)).max(0)
    assert len(groups) == 2 and groups[0] > 0 and groups[1] == 0
    assert parts[1].slopes.shape[-1] == (reach > 84).sum()
    _, small = readout._split(readout._leads(*CASES["two classes"]))
    assert small == (readout._LARGE,)


def test_what_overflows_in_large_groups_is_computed_again(monkeypatch):
    hidden, kernel, bias, labels = network(7, 64, 2, 8.0, 3)
    wanted = hypercube.evaluate_readout(hidden, kernel, bias, labels)
    losses, again = readout._losses, []
    monkeypatch.setattr(readout, "_is_calm", lambda *_: True)
    monkeypatch.setattr(readout, "_losses", lambda *a: (again.append(0), losses(*a))[1])
    found = hypercube.evaluate_readout(hidden, kernel, bias, labels)
    assert again
    np.testing.assert_allclose(found.losses, wanted.losses, rtol=2e-6)


def spoilt(array, at, value):
    array = array.copy()
    array[at] = value
    return array


NODE = CASES["three classes"]
# What is not finite (which input, where), and the nodes and the class that it concerns.
SPOILT = {
    "hidden -inf": (0, (slice(None), 2), -np.inf, [2], None),
    "hidden inf at a point": (0, (4, 0), np.inf, [0], None),
    "hidden nan of two": (0, (slice(None), [1, 6]), np.nan, [1, 6], None),
    "kernel -inf": (1, (3, 1), -np.inf, [3], None),
    "kernel nan": (1, 5, np.nan, [5], None),
    "bias -inf": (2, 1, -np.inf, [], 1),
}


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("case", SPOILT)
def test_subsets_that_drop_what_is_not_finite_are_right(case, gradients):
    which, at, value, nodes, class_ = SPOILT[case]
    whole = list(NODE)
    if class_ is not None:
        whole[3] = np.where(whole[3] == class_, 0, whole[3])
    given = [spoilt(a, at, value) if i == which else a for i, a in enumerate(whole)]
    found = hypercube.evaluate_readout(*given, gradients=gradients)
    whole = whole if class_ is None else [*whole[:2], given[2], whole[3]]
    losses, accuracies, slopes = brute_force(*whole)
    subsets = np.asarray(sj.masks.subsets(7))
    dropped = ~subsets[:, nodes].any(1)
    np.testing.assert_allclose(found.losses[dropped], losses[dropped], rtol=3e-6)
    np.testing.assert_allclose(found.accuracies[dropped], accuracies[dropped])
    assert np.isnan(found.losses[~dropped]).all()
    assert np.isnan(found.accuracies[~dropped]).all()
    if gradients:
        others = np.delete(np.arange(7), nodes)
        mine = found.gradients[dropped][:, others]
        np.testing.assert_allclose(mine, slopes[dropped][:, others], atol=3e-6)
        assert np.isnan(found.gradients[:, nodes]).all()


CASE = CASES["two classes"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({0: CASE[0][:, :3]}, r"must have the shapes .* got \(23, 3\), \(7, 2\)"),
        ({2: np.zeros(3)}, "must have the shapes"),
        ({3: CASE[3][:4]}, "must have the shapes"),
        ({3: CASE[3].astype(float)}, r"integers in \[0, 2\); got float64"),
        ({3: CASE[3] + 1}, r"integers in \[0, 2\); got int64 from 1 to 2"),
        ({1: CASE[1] * np.nan}, "kernel has entries that are not finite"),
        ({2: CASE[2] * np.nan}, "bias has entries that are not finite"),
        ({2: CASE[2] * 0 - np.inf}, "bias has entries that are not finite"),
        ({1: CASE[1] * np.float32(1e38)}, "logits may differ by .*; scale"),
        ({1: CASE[1][:, :1], 2: CASE[2][:1], 3: CASE[3] * 0}, "at least two classes"),
        ({0: CASE[0][:0], 3: CASE[3][:0]}, "at least one point"),
        ({0: np.ones((23, 31)), 1: np.ones((31, 2))}, "1 to 30 nodes"),
    ],
    ids=range(12),
)
def test_inputs_that_do_not_fit_are_refused(change, message):
    case = [change.get(i, CASE[i]) for i in range(4)]
    with pytest.raises(ValueError, match=message):
        hypercube.evaluate_readout(*case)
