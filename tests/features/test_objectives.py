"""Objectives against sums written out, and their gradients against differences."""

import jax
import numpy as np
import pytest

from sparsejax import features

pytestmark = pytest.mark.usefixtures("float64")

PICTURES, UNITS = 3, 5


@pytest.fixture
def acts(rng):
    return {
        "conv": rng.normal(size=(PICTURES, 4, 3, UNITS)),
        "dense": rng.normal(size=(PICTURES, UNITS)),
        "": rng.normal(size=(PICTURES, 7)),
    }


def by_direction(acts, v, power):
    total = np.zeros(PICTURES)
    for i, y, x in np.ndindex(PICTURES, 4, 3):
        a = acts["conv"][i, y, x]
        cosine = a @ v / np.linalg.norm(a) / np.linalg.norm(v)
        total[i] += a @ v * max(0.1, cosine) ** power / 12
    return total


def by_diversity(acts):
    found = []
    for a in acts["conv"]:
        gram = sum(np.outer(v, v) for v in a.reshape(-1, UNITS))
        found.append(gram / np.linalg.norm(gram))
    pairs = np.array([[(a * b).sum() for a in found] for b in found])
    return -(pairs - np.diag(np.diag(pairs))).sum(1)


VECTORS = np.random.default_rng(5).normal(size=(2, UNITS))
CASES = {
    "channel": (
        features.channel("conv"),
        lambda a, u: a["conv"].mean((1, 2))[:, u],
    ),
    "fixed": (features.channel("conv", 4), lambda a, u: a["conv"].mean((1, 2))[:, 4]),
    "dense": (features.channel("dense"), lambda a, u: a["dense"][:, u]),
    "neuron": (features.neuron("conv"), lambda a, u: a["conv"][:, 2, 1, u]),
    "place": (
        features.neuron("conv", place=(3, 0)),
        lambda a, u: a["conv"][:, 3, 0, u],
    ),
    "logit": (features.logit(), lambda a, u: a[""][:, u]),
    "direction": (
        features.direction("conv", VECTORS[0]),
        lambda a, u: by_direction(a, VECTORS[0], 0),
    ),
    "directions": (
        features.direction("conv", VECTORS, power=2),
        lambda a, u: by_direction(a, VECTORS[u], 2),
    ),
    "diversity": (features.diversity("conv"), lambda a, u: by_diversity(a)),
    "algebra": (
        2 * features.channel("conv") - features.logit(6) * 0.5 + features.logit(),
        lambda a, u: 2 * a["conv"].mean((1, 2))[:, u] - 0.5 * a[""][:, 6] + a[""][:, u],
    ),
    "sum": (
        sum([features.logit(1), features.logit()]) / 2,
        lambda a, u: (a[""][:, 1] + a[""][:, u]) / 2,
    ),
    "minus": (-features.logit(1), lambda a, u: -a[""][:, 1]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.defaults
def test_values(name, acts):
    objective, wanted = CASES[name]
    for unit in (0, 1):
        found = objective.value(jax.tree.map(jax.numpy.asarray, acts), unit)
        np.testing.assert_allclose(found, wanted(acts, unit), atol=1e-9)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.defaults
def test_gradients(name, acts, rng):
    objective, wanted = CASES[name]

    def total(acts):
        return objective.value(acts, 1).sum()

    slopes = jax.grad(total)(jax.tree.map(jax.numpy.asarray, acts))
    for node, a in acts.items():
        for index in rng.integers(a.size, size=6):
            step = np.zeros(a.size)
            step[index] = 1e-6
            step = step.reshape(a.shape)
            up = wanted({**acts, node: a + step}, 1).sum()
            down = wanted({**acts, node: a - step}, 1).sum()
            found = slopes[node].reshape(-1)[index]
            assert abs(found - (up - down) / 2e-6) < 1e-7


@pytest.mark.parametrize("name", ["directions", "diversity"])
def test_dead_layers_have_a_gradient(name):
    zeros = {"conv": jax.numpy.zeros((PICTURES, 4, 3, UNITS))}
    slopes = jax.grad(lambda acts: CASES[name][0].value(acts, 1).sum())(zeros)
    assert np.isfinite(slopes["conv"]).all()


def test_how_many_units_there_are(acts):
    counts = {name: objective.units(acts) for name, (objective, _) in CASES.items()}
    assert counts == {
        "channel": 5, "fixed": None, "dense": 5, "neuron": 5, "place": 5, "logit": 7,
        "direction": None, "directions": 2, "diversity": None, "algebra": 5,
        "minus": None, "sum": 7,
    }  # fmt: skip
    assert CASES["algebra"][0].nodes == ("conv", "")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: features.channel("conv", 5), "no unit 5 in activation 'conv'"),
        (lambda: features.logit(-1), "no unit -1 in the output, which has 7"),
        (lambda: features.neuron("conv", place=(4, 0)), r"\(4, 0\) is not a position"),
        (lambda: features.neuron("conv", place=(1,)), r"positions are \(4, 3\)"),
        (lambda: features.direction("conv", np.ones(3)), "3 entries.*has 5 units"),
        (lambda: features.direction("conv", np.zeros(5)), "no vector of zeros"),
    ],
)
def test_what_does_not_fit(make, message, acts):
    with pytest.raises(ValueError, match=message):
        make().value(jax.tree.map(jax.numpy.asarray, acts), 0)


def test_objectives_are_no_factors():
    with pytest.raises(TypeError):
        features.logit(0) * features.logit(1)
    with pytest.raises(TypeError):
        features.logit(0) + 1.0
