"""Averages of gradients against closed forms and sums term by term."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import relevance

pytestmark = pytest.mark.usefixtures("float64")

METHODS = ["gauss-legendre", "midpoint"]


def KEY():
    return jax.random.key(3)


def compiled(method):
    """The same in one compiled call."""

    def run(fn, params, x, *given, **options):
        def one(params, x, *given):
            return method(fn, params, x, *given, **options)

        return jax.jit(one)(params, x, *given)

    return run


integrated = compiled(relevance.integrated_gradients)
expected = compiled(relevance.expected_gradients)
smoothgrad = compiled(relevance.smoothgrad)


def quadratic(params, x):
    matrix, vector = params
    return x @ matrix @ x + vector @ x


def random_quadratic(rng, n=5):
    return rng.normal(size=(n, n)), rng.normal(size=n)


def relu_net(params, x):
    return jax.nn.relu(x @ params[0] + params[1]) @ params[2]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_linear_functions_are_explained_exactly(method, steps, rng):
    def fn(params, x):
        return params @ x + 3

    weights, x, start = rng.normal(size=(3, 6))
    found = integrated(fn, weights, x, baseline=start, steps=steps, method=method)
    np.testing.assert_allclose(found.input, weights * (x - start), rtol=1e-12)
    assert abs(found.gap()) < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_quadratic_functions_are_explained_exactly(method, rng):
    """The mean of a linear gradient is the gradient in the middle."""
    (matrix, vector), (x, start) = random_quadratic(rng), rng.normal(size=(2, 5))
    found = integrated(
        quadratic, (matrix, vector), x, baseline=start, steps=3, method=method
    )
    middle = (matrix + matrix.T) @ (x + start) / 2 + vector
    np.testing.assert_allclose(found.input, middle * (x - start), rtol=1e-10)
    assert abs(found.gap()) < 1e-12


def test_gauss_legendre_is_exact_to_degree_2n(rng):
    def fn(params, x):
        return jnp.prod(params * x)  # of degree 6, its gradient of 5

    weights, x = rng.normal(size=(2, 6))
    found = integrated(fn, weights, x, steps=3)
    np.testing.assert_allclose(found.input, np.prod(weights * x) / 6, rtol=1e-12)
    assert abs(found.gap()) < 1e-14


def test_integrated_gradients_of_a_maximum(rng):
    """A closed form: the share of the way on which each is the larger."""
    x, start = np.array([2.0, 1.5]), np.array([0.2, 1.0])
    found = integrated(
        lambda params, x: jnp.max(x), {}, x, baseline=start, steps=4000,
        method="midpoint",
    )  # fmt: skip
    crossing = 0.8 / (1.8 - 0.5)
    wanted = [1.8 * (1 - crossing), 0.5 * crossing]
    np.testing.assert_allclose(found.input, wanted, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.defaults
def test_integrated_gradients_by_a_loop(method, rng):
    params = rng.normal(size=(4, 9)), rng.normal(size=9), rng.normal(size=9)
    x, start, steps = rng.normal(size=4), rng.normal(size=4), 11
    places, weights = np.polynomial.legendre.leggauss(steps)
    times, weights = (places + 1) / 2, weights / 2
    if method == "midpoint":
        times, weights = (np.arange(steps) + 0.5) / steps, np.ones(steps) / steps
    wanted = np.zeros(4)
    for t, weight in zip(times, weights, strict=True):
        z = (start + t * (x - start)) @ params[0] + params[1]
        wanted += weight * (x - start) * (params[0] @ ((z > 0) * params[2]))
    run = ft.partial(
        integrated, relu_net, params, x, baseline=start, steps=steps, method=method
    )
    found = run()
    np.testing.assert_allclose(found.input, wanted, rtol=1e-12)
    np.testing.assert_allclose(run(batch_size=4).input, wanted, rtol=1e-12)
    np.testing.assert_allclose(run(batch_size=1).input, wanted, rtol=1e-12)
    gap = wanted.sum() - (relu_net(params, x) - relu_net(params, start))
    np.testing.assert_allclose(found.gap(), gap, atol=1e-12)


def test_more_steps_close_the_gap(rng):
    params = rng.normal(size=(4, 9)), rng.normal(size=9), rng.normal(size=9)

    def fn(params, x):
        return jnp.tanh(x @ params[0] + params[1]) @ params[2]

    def gap(steps):
        return abs(integrated(fn, params, rng_x, steps=steps).gap())

    rng_x = rng.normal(size=4)
    assert gap(4) > 1e3 * gap(40) and gap(40) < 1e-9


def test_expected_gradients_of_a_linear_function_are_exact(rng):
    """Where every baseline has as many turns, its mean is exact."""

    def fn(params, x):
        return params @ x

    weights, x, starts = rng.normal(size=4), rng.normal(size=4), rng.normal(size=(5, 4))
    found = expected(fn, weights, x, starts, key=KEY(), samples=15)
    np.testing.assert_allclose(found.input, weights * (x - starts.mean(0)), rtol=1e-12)
    assert abs(found.gap()) < 1e-12


def test_expected_gradients_near_their_limit(rng):
    params, x = random_quadratic(rng), rng.normal(size=5)
    starts = rng.normal(size=(7, 5))

    def one(start):
        return integrated(quadratic, params, x, baseline=start, steps=2)

    alone = jax.vmap(one)(starts)
    np.testing.assert_allclose(alone.gap(), np.zeros(7), atol=1e-12)

    def run(**given):
        return expected(quadratic, params, x, starts, key=KEY(), samples=7000, **given)

    found, batched = run(), run(batch_size=999)
    np.testing.assert_allclose(found.input, alone.input.mean(0), atol=0.1)
    np.testing.assert_allclose(found.output, alone.output.mean(), rtol=1e-12)
    np.testing.assert_allclose(batched.input, found.input, rtol=1e-10, atol=1e-12)


def test_expected_gradients_draw_from_all_baselines(rng):
    """With fewer samples than baselines too: means over keys are unbiased."""

    def fn(params, x):
        return jnp.sum(x**2)

    x, starts = rng.normal(size=3), rng.normal(size=(9, 3))

    def run(key):
        return expected(fn, {}, x, starts, key=key, samples=2)

    found = jax.vmap(run)(jax.random.split(KEY(), 4000)).input
    error = np.std(found, 0) / np.sqrt(4000)
    assert np.all(np.abs(np.mean(found, 0) - (x**2 - (starts**2).mean(0))) < 5 * error)


def test_smoothgrad_of_linear_and_quadratic_functions(rng):
    weights, x = rng.normal(size=(2, 6))

    def smooth(*given, **options):
        return smoothgrad(*given, key=KEY(), **options)

    found = smooth(lambda params, x: params @ x, weights, x)
    np.testing.assert_allclose(found, weights, rtol=1e-12)

    # The gradient of a square is 2 w (x + noise): its spread is that of the noise.
    def fn(params, x):
        return jnp.sum(params * x**2)

    noise = 0.1 * (x.max() - x.min())
    mean = smooth(fn, weights, x, noise=0.1, samples=20_000)
    square = smooth(fn, weights, x, noise=0.1, samples=20_000, squared=True)
    np.testing.assert_allclose(mean, 2 * weights * x, atol=0.02)
    np.testing.assert_allclose(
        square, 4 * weights**2 * (x**2 + noise**2), rtol=0.05, atol=0.01
    )


def test_smoothgrad_is_the_same_in_batches(rng):
    params = rng.normal(size=(4, 9)), rng.normal(size=9), rng.normal(size=9)
    x = rng.normal(size=4)

    def run(**given):
        return smoothgrad(relu_net, params, x, key=KEY(), **given)

    np.testing.assert_allclose(run(batch_size=7), run(), rtol=1e-10, atol=1e-12)
    still = run(noise=0, samples=3)
    np.testing.assert_allclose(still, relevance.gradient(relu_net, params, x))


X = np.ones(3)
eager = ft.partial(relevance.integrated_gradients, quadratic, (np.eye(3), X), X)


def averaged(*a, **k):
    return relevance.expected_gradients(
        quadratic, (np.eye(3), X), X, *a, key=KEY(), **k
    )


def smooth(**k):
    return relevance.smoothgrad(quadratic, (np.eye(3), X), X, key=KEY(), **k)


BAD = {
    "steps": (lambda: eager(steps=0), "steps must be at least 1, got 0"),
    "method": (lambda: eager(method="simpson"), "'simpson'; it can be gauss-leg"),
    "batches": (lambda: eager(batch_size=0), "batch_size must be at least 1"),
    "shape": (lambda: eager(baseline=X[:2]), r"baseline has shape \(2,\), but"),
    "NaN": (lambda: eager(baseline=X * np.nan), "not finite in"),
    "one": (lambda: averaged(X), r"baseline has shape \(3,\), expected \(n, 3\)"),
    "none": (lambda: averaged(np.ones((0, 3))), "at least one"),
    "samples": (lambda: averaged(X[None], samples=0), "samples must be at least 1"),
    "noise": (lambda: smooth(noise=-0.1), "noise must be 0 or more, got -0.1"),
    "draws": (lambda: smooth(samples=0), "samples must be at least 1"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_refused(bad):
    run, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        run()
