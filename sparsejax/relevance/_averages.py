"""Averages of gradients over places around an example.

Along the way from a baseline they account for the whole difference of outputs
(`integrated_gradients`; over many baselines `expected_gradients`), up to a gap that is
told; around the example they lose the noise of a single gradient (`smoothgrad`).

Everything is for one example: `jit` and `vmap` outside.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from sparsejax import checks, interpret, pages
from sparsejax.relevance import _batches as batches
from sparsejax.relevance import _starts as starts
from sparsejax.relevance import _targets as targets


class Attribution(NamedTuple):
    """Shares of a difference of outputs.

    Attributes:
        input: what each input is given, of x's shape.
        output: f(x) - f(baseline), or less the mean over baselines.
    """

    input: Float[Array, "..."]
    output: Float[Array, ""]

    @pages.display
    def _repr_html_(self) -> str:
        if self.output.ndim:
            return pages.output(f"Attributions of {self.output.size} outputs.")
        rows = [
            ("sum of the input's", float(self.input.sum())),
            ("difference of outputs", float(self.output)),
            ("gap", float(self.gap())),
        ]
        table = pages.listing(rows, ("", "attribution"))
        return pages.output(table, pages.signed(self.input, "attribution"))

    def gap(self) -> Float[Array, "..."]:
        """sum(input) - output: what too few steps or samples leave wrong."""
        axes = range(self.output.ndim, self.input.ndim)  # after those of a vmap
        return self.input.sum(axes) - self.output


def integrated_gradients(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    *,
    target: Any = None,
    at: str | None = None,
    baseline: Float[ArrayLike, "..."] | None = None,
    steps: int = 50,
    method: str = "gauss-legendre",
    batch_size: int | None = None,
) -> Attribution:
    """The gradient's mean on the straight way from the baseline, times x - baseline.

    (x - x0) int_0^1 grad f(x0 + t (x - x0)) dt

    Args:
        fn, params, x, target, at: as in `gradient`.
        baseline: x0, of x's shape; zero by default.
        steps: gradients on the way.
        method: "gauss-legendre", exact for polynomials of degree 2 steps; or
            "midpoint", the middles of equal pieces. Weights of both sum to 1, so that
            linear functions are explained exactly. ReLUs make the gradient jump, and
            then neither is much better than the other.
        batch_size: gradients at a time; by default all, or what is reasonable. On a
            CPU, and most of all with `vmap` over examples, 1 can be faster: it stays in
            the cache.

    Returns:
        An `Attribution`, whose `gap()` tells whether the steps were enough.

    Example:
        >>> fn = lambda params, x: x[0] ** 2 + x[0] * x[1]
        >>> found = integrated_gradients(fn, {}, jnp.array([1.0, 2.0]), steps=2)
        >>> found.input.round(4).tolist(), found.output.item()
        ([2.0, 1.0], 3.0)

    Reference: Sundararajan et al., "Axiomatic Attribution for Deep Networks", 2017
    (arXiv 1703.01365).
    """
    batches.check_count("steps", steps)
    if method not in _PLACES:
        raise ValueError(f"method is {method!r}; it can be {', '.join(_PLACES)}")
    fn, x = starts.begin(fn, params, x, at)
    start = jnp.zeros_like(x) if baseline is None else targets.baseline(x, baseline)
    times, weights = (jnp.asarray(v, x.dtype) for v in _PLACES[method](steps))
    run = targets.number(fn, target)
    gradient = interpret.canonical(jax.grad(run, 1))

    def slope(t):
        return gradient(params, start + t * (x - start))

    def attribution(x, start, slopes):
        shares = (x - start) * jnp.tensordot(weights, slopes, 1)
        return Attribution(shares, run(params, x) - run(params, start))

    slopes = batches.over(slope, times, size=x.size, batch_size=batch_size)
    result = interpret.whole(attribution, x, start, slopes)
    targets.check_finite({"x": x, **result._asdict()})
    return result


def expected_gradients(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    baseline: Float[ArrayLike, "..."],
    *,
    key: Key[Array, ""] | Any,
    target: Any = None,
    at: str | None = None,
    samples: int = 200,
    batch_size: int | None = None,
) -> Attribution:
    """Integrated gradients averaged over baselines, by samples of baseline and place.

    Baselines take turns and places are drawn one from each of `samples` equal pieces of
    the way, which leaves the mean as it is and the error smaller.

    Args:
        fn, params, x, target, at: as in `gradient`.
        baseline: several, shape (n, *x.shape), such as examples of the training set.
        key: a key.
        samples: gradients in all.
        batch_size: gradients at a time; by default all, or what is reasonable.

    Example:
        >>> fn, w = lambda w, x: x @ w, jnp.array([1.0, 2.0])
        >>> x, baselines = jnp.full(2, 3.0), jnp.array([[0.0, 0.0], [2.0, 2.0]])
        >>> shares = expected_gradients(
        ...     fn, w, x, baselines, key=jax.random.key(0), samples=4
        ... )
        >>> shares.input.tolist(), shares.output.item()
        ([2.0, 4.0], 6.0)

    Reference: Erion et al., "Improving performance of deep learning models with
    axiomatic attribution priors and expected gradients", 2021 (arXiv 1906.10670).
    """
    checks.one_key(key)
    batches.check_count("samples", samples)
    fn, x = starts.begin(fn, params, x, at)
    targets.one_array(baseline, "baseline")
    count, *shape = jnp.shape(baseline) or (0,)
    if not count or tuple(shape) != x.shape:
        raise ValueError(
            f"baseline has shape {jnp.shape(baseline)}, expected (n, "
            f"{', '.join(map(str, x.shape))}): examples like x, at least one"
        )
    baselines = jnp.asarray(baseline).astype(x.dtype)
    for_turn, for_place = jax.random.split(key)
    rounds = -(-samples // count)
    turn = jax.random.permutation(for_turn, rounds * count)[:samples] % count
    place = jax.random.uniform(for_place, (samples,), x.dtype)
    place = (jnp.arange(samples, dtype=x.dtype) + place) / samples
    run = targets.number(fn, target)
    gradient = interpret.canonical(jax.grad(run, 1))

    def share(sample):
        i, t = sample
        step = x - baselines[i]
        return step * gradient(params, baselines[i] + t * step)

    options = {"size": x.size, "batch_size": batch_size}
    shares = batches.over(share, (turn, place), **options).mean(0)
    before = batches.over(lambda start: run(params, start), baselines, **options).mean()
    result = Attribution(shares, interpret.whole(run, params, x) - before)
    targets.check_finite({"x": x, **result._asdict()})
    return result


def smoothgrad(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    *,
    key: Key[Array, ""] | Any,
    target: Any = None,
    at: str | None = None,
    noise: float | int = 0.15,
    samples: int = 50,
    batch_size: int | None = None,
    squared: bool = False,
) -> Float[Array, "..."]:
    """The mean of gradients at x with noise added.

    Args:
        fn, params, x, target, at: as in `gradient`.
        key: a key.
        noise: its standard deviation, as a share of max(x) - min(x).
        samples: gradients in all.
        batch_size: gradients at a time; by default all, or what is reasonable.
        squared: the mean of their squares instead.

    Example:
        >>> fn = lambda w, x: x @ w  # its gradient is the same everywhere
        >>> w, x = jnp.array([1.0, -2.0]), jnp.array([3.0, 1.0])
        >>> smoothgrad(fn, w, x, key=jax.random.key(0), samples=4).tolist()
        [1.0, -2.0]

    Reference: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017 (arXiv
    1706.03825); Hooker et al., "A Benchmark for Interpretability Methods in Deep Neural
    Networks", 2019 (arXiv 1806.10758; squared).
    """
    checks.one_key(key)
    batches.check_count("samples", samples)
    if not noise >= 0:
        raise ValueError(f"noise must be 0 or more, got {noise}")
    fn, x = starts.begin(fn, params, x, at)
    width = noise * (x.max() - x.min())
    places = x + width * jax.random.normal(key, (samples, *x.shape), x.dtype)
    slope = interpret.canonical(jax.value_and_grad(targets.number(fn, target), 1))
    values, slopes = batches.over(
        lambda place: slope(params, place), places, size=x.size, batch_size=batch_size
    )
    result = (slopes**2 if squared else slopes).mean(0)
    targets.check_finite({"x": x, "output": values, "input": result})
    return result


def _gauss_legendre(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in [0, 1] and their weights."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    return (places + 1) / 2, weights / 2


def _midpoint(steps: int) -> tuple[np.ndarray, np.ndarray]:
    return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)


_PLACES = {"gauss-legendre": _gauss_legendre, "midpoint": _midpoint}
