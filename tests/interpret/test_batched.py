"""Batches in parts: the same results, by calls of one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import interpret, relevance
from sparsejax.interpret import Batched


def heavy(x):
    """Two thousand numbers of each one."""
    h = jnp.sort(jnp.sin(x * jnp.arange(2000.0)))
    return jnp.sort(jnp.cos(h) * h).sum(), x


@pytest.fixture
def small_budget(monkeypatch):
    """Parts of a few examples, on a machine of any kind."""
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr("sparsejax.interpret._batched._BUDGET", 1 << 17)


@pytest.mark.parametrize("count", [1, 7, 32, 33, 61])
def test_parts_are_the_batch(count, rng, small_budget):
    x = jnp.asarray(rng.normal(size=count).astype("f4"))
    wanted, found = jax.jit(jax.vmap(heavy))(x), Batched(heavy)(x)
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_one_program_runs_all_parts(rng, small_budget, monkeypatch):
    sizes = []
    call = interpret.Compiled.__call__

    def counted(self, *args):
        sizes.append(len(args[1]))
        return call(self, *args)

    monkeypatch.setattr(interpret.Compiled, "__call__", counted)
    x = rng.normal(size=50).astype("f4")
    run = Batched(lambda scale, x: heavy(scale * x), (None, 0))
    run(2.0, x)
    assert len(sizes) > 2 and len(set(sizes)) == 1 and max(sizes) < 32


def test_sizes_are_chosen_by_what_a_program_needs(small_budget):
    class Lowered:
        def __init__(self, size, bytes_):
            self.temp_size_in_bytes = size * bytes_

        def compile(self):
            return self

        def memory_analysis(self):
            return self

    def size(bytes_, count, most=None):
        return interpret.fitting(lambda n: Lowered(n, bytes_), count, most)

    assert size(2**12, 256) == 32  # just what the budget allows
    assert size(2**11, 256) == 32  # no other program for a factor of 2
    assert size(2**13, 256) == 16
    assert size(1, 256) == 256 and size(1, 256, 32) == 32
    assert size(2**11, 33) == 17  # rather than 31 of 33 twice
    assert size(2**20, 5) == 1


def test_a_size_may_be_given(rng):
    run = Batched(lambda tree: {"sum": tree["a"] + tree["b"]}, batch_size=3)
    tree = {"a": np.arange(10), "b": rng.integers(0, 9, 10)}
    np.testing.assert_array_equal(run(tree)["sum"], tree["a"] + tree["b"])


def test_axes_may_be_a_list(rng):
    run = Batched(lambda scale, x: scale * x, [None, 0], batch_size=2)
    np.testing.assert_array_equal(run(2.0, np.arange(5.0)), 2 * np.arange(5.0))


def test_batches_are_whole_where_something_is_traced(rng, small_budget):
    x = rng.normal(size=50).astype("f4")

    def run(x):
        return Batched(heavy)(x)[0].sum()

    def around(scale):
        return Batched(lambda x: heavy(scale * x))(x)[0].sum()

    np.testing.assert_allclose(jax.jit(run)(x), run(x), rtol=1e-4)
    np.testing.assert_allclose(jax.grad(run)(x), jax.jit(jax.grad(run))(x), rtol=1e-3)
    np.testing.assert_allclose(jax.jit(around)(1.0), run(x), rtol=1e-4)
    assert not Batched(heavy).can_split(jnp.float32(1.0))


def test_keys_have_parts(small_budget):
    keys = jax.random.split(jax.random.key(0), 50)

    def draw(key):
        return heavy(jax.random.normal(key))[0]

    wanted = jax.jit(jax.vmap(draw))(jax.random.clone(keys))
    np.testing.assert_allclose(Batched(draw)(keys), wanted, rtol=1e-4)


def test_many_points_of_an_average_are_calls_of_one_program(rng):
    w, x = jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=4))

    def fn(w, x):
        return jnp.tanh(x @ w).sum()

    def run(**more):
        return relevance.integrated_gradients(fn, w, x, steps=50, **more).input

    inside = jax.jit(lambda: run(batch_size=7))()
    np.testing.assert_allclose(run(batch_size=7), run(), rtol=1e-5)
    np.testing.assert_allclose(inside, run(), rtol=1e-5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"in_axes": 1}, "in_axes can be 0 and None"),
        ({"in_axes": (None, None)}, "not all None"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_choices_that_are_none(more, message):
    with pytest.raises(ValueError, match=message):
        Batched(heavy, **more)


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="inconsistent sizes"):
        Batched(lambda x, y: x + y)(np.zeros(3), np.zeros(4))
