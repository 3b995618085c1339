"""The source's table: which rules of matrices and nonlinearities go together."""

import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.relevance import Rules, explain

pytestmark = pytest.mark.usefixtures("float64")

ALPHA, A, WEIGHT = -1.7, 0.6, 2.3

# Scaling b = alpha a, as a 1x1 matrix and as a function of each element, must be alike.
CONSISTENT = [("gradient", rule) for rule in ("gradient", "slope", "repeat")]
CONSISTENT += [("normalized", "ignore")]
ALL = [(m, n) for m in ("gradient", "normalized")
       for n in ("gradient", "slope", "repeat", "ignore")]  # fmt: skip


def scaled(kind, matrix, nonlinear):
    """R(a) for the scaling, before a matrix of one weight, whose R is known."""

    def fn(params, x):
        if kind == "matrix":
            b = x @ params["alpha"]
        else:  # the same function, but not as a product
            b = jnp.where(x > 0, ALPHA * x, ALPHA * x)
        return (b @ params["weight"])[0]

    params = {"alpha": jnp.array([[ALPHA]]), "weight": jnp.array([[WEIGHT]])}
    rules = Rules(matrix=matrix, nonlinear=nonlinear)
    found = explain(fn, params, jnp.array([A]), baseline="zero", rules=rules)
    return float(found.input[0]), float(found.residual())


@pytest.mark.parametrize("matrix, nonlinear", ALL)
def test_a_scaling_is_a_scaling(matrix, nonlinear):
    (by_matrix, _), (by_function, residual) = (
        scaled(kind, matrix, nonlinear) for kind in ("matrix", "function")
    )
    same = np.isclose(by_matrix, by_function, rtol=1e-12)
    assert same == ((matrix, nonlinear) in CONSISTENT)
    if same:
        np.testing.assert_allclose(by_matrix, A * ALPHA * WEIGHT)
        assert abs(residual) < 1e-12
    else:
        assert abs(residual) > 0.1  # told, not hidden


@pytest.mark.parametrize(
    "f, derivative",
    [
        (jnp.tanh, lambda a: 1 - np.tanh(a) ** 2),
        (lambda a: jnp.maximum(a, 0), lambda a: (a > 0) * 1.0),
        (lambda a: a**3, lambda a: 3 * a**2),
    ],
)
@pytest.mark.parametrize("matrix, nonlinear", ALL)
def test_every_pair_by_its_formula(matrix, nonlinear, f, derivative):
    a, weights = np.array([0.6, -1.1, 2.0]), np.array([2.3, 1.5, -0.4])

    def fn(params, x):
        return f(x) @ params

    rules = Rules(matrix=matrix, nonlinear=nonlinear)
    found = explain(
        fn, jnp.asarray(weights), jnp.asarray(a), baseline="zero", rules=rules
    )
    b = np.asarray(f(jnp.asarray(a)))
    q, r = weights, weights * b
    on = q if matrix == "gradient" else r
    passed = {
        "gradient": derivative(a) * on,
        "slope": b / a * on,  # f(0) = 0 for all of these
        "ignore": on,
        "repeat": np.asarray(f(jnp.asarray(on))),
    }[nonlinear]
    expected = passed * a if matrix == "gradient" else passed
    np.testing.assert_allclose(found.input, expected, atol=1e-12)


def test_near_the_reference_the_slope_is_the_derivative():
    for value in (0.0, 1e-12, -1e-12):
        found = explain(lambda _, x: jnp.tanh(x).sum(), {}, jnp.array([value]),
                        baseline="zero")  # fmt: skip
        np.testing.assert_allclose(found.multiplier, 1.0)
        against = explain(lambda _, x: jnp.exp(x).sum(), {}, jnp.array([1 + value]),
                          baseline=jnp.array([1.0]))  # fmt: skip
        np.testing.assert_allclose(against.multiplier, np.e, rtol=1e-9)


def test_guided_backprop_and_deconvnet_gate_relus_as_published():
    a, weights = np.array([0.6, -1.1, 2.0, -0.3]), np.array([2.3, 1.5, -0.4, -1.0])

    def fn(params, x):
        return jnp.maximum(x, 0) @ params

    def gate(rule):
        return explain(
            fn, jnp.asarray(weights), jnp.asarray(a), rules=Rules(nonlinear=rule)
        ).multiplier

    np.testing.assert_allclose(gate("gradient"), weights * (a > 0))
    np.testing.assert_allclose(gate("repeat"), np.maximum(weights, 0))
    np.testing.assert_allclose(gate("guided"), np.maximum(weights, 0) * (a > 0))
