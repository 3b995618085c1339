"""How many programs the first call of an analysis compiles.

An eager operation is a program for every shape: 10 to 30 ms each before the first
number. Bounds are what is compiled now and a few more; see benchmarks/first_number.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import interpret, relevance

_EVENT = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compiled() -> Iterator[list[str]]:
    """A list of what has been compiled since."""
    programs: list[str] = []

    def listen(event, duration, **_):
        if event == _EVENT:
            programs.append(event)

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield programs
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


net = sj.models.convnet((3, 3), 3)
image = np.random.default_rng(0).normal(size=(8, 8, 1)).astype(np.float32)
params = jax.tree.map(np.asarray, net.init(jax.random.key(0), image[None]))


def fn(params, x):
    return net.apply(params, x[None])[0]


def _bernoulli():
    tree = {"a": jnp.ones(3), "b": jnp.ones((2, 2)), "c": jnp.ones(())}
    return sj.masks.bernoulli(jax.random.key(0), tree, 0.5, (4,))


CALLS = {
    "masks.bernoulli": (_bernoulli, 8),
    "explain": (lambda: relevance.explain(fn, params, image, target=1), 8),
    "explain at": (
        lambda: relevance.explain(fn, params, image, target=1, at="hidden_0"),
        10,
    ),
    "gradient": (lambda: relevance.gradient(fn, params, image, target=1), 6),
    "grad_cam": (
        lambda: relevance.grad_cam(fn, params, image, "hidden_1", target=1),
        8,
    ),
    "integrated_gradients": (
        lambda: relevance.integrated_gradients(fn, params, image, target=1, steps=3),
        12,
    ),
    "occlusion": (
        lambda: relevance.occlusion(fn, params, image, target=1, window=4),
        26,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_first_calls_compile_few_programs(name):
    call, most = CALLS[name]
    with compiled() as programs:
        call()
    assert 0 < len(programs) <= most


def test_all_targets_share_a_program():
    first = relevance.explain(fn, params, image, target=0)
    relevance.gradient(fn, params, image, target=0)
    relevance.integrated_gradients(fn, params, image, target=0, steps=3)
    names = []

    def listen(event, duration, **_):
        if event == _EVENT:
            names.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        other = relevance.explain(fn, params, image, target=2)
        relevance.gradient(fn, params, image, target=np.int32(2))
        relevance.integrated_gradients(fn, params, image, target=-1, steps=3)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(names) <= 3  # at most that an index is put on the device
    assert first.output != other.output


def test_whole_gives_what_the_steps_give():
    def run(tree, power):
        return {"sum": (tree["x"] ** power).sum() + shift, "x": tree["x"]}

    shift = jnp.float32(3.0)
    result = interpret.whole(run, {"x": np.arange(3, dtype=np.float32)}, 2)
    assert result["sum"] == 8
    assert result["x"].tolist() == [0, 1, 2]


def test_whole_goes_step_by_step_where_numbers_are_looked_at():
    def run(x):
        return x * 2 if x.sum() > 0 else x

    assert interpret.whole(run, jnp.ones(2)).tolist() == [2, 2]
    looking = relevance.gradient(lambda w, x: (w * run(x)).sum(), 3.0, jnp.ones(2))
    assert looking.tolist() == [6, 6]


def test_errors_of_functions_that_look_at_numbers_are_their_own():
    def run(params, x):
        if x.sum() > 0:
            raise KeyError("mine")
        return x.sum()

    with pytest.raises(KeyError, match="mine") as error:
        relevance.gradient(run, params, jnp.ones(2))
    assert error.value.__context__ is None


@pytest.mark.parametrize("kind", [np.str_("relu"), np.array(["a", "b"])])
def test_whole_leaves_out_what_is_no_number(kind):
    tree = {"w": np.float32(3), "kind": kind}
    slope = relevance.gradient(lambda p, x: p["w"] * x.sum(), tree, jnp.ones(2))
    assert slope.tolist() == [3, 3]


def test_whole_is_traced_with_what_is_around_it():
    def slope(x):
        return jax.grad(lambda x: interpret.whole(lambda x: (x * x).sum(), x))(x)

    assert jax.jit(slope)(jnp.ones(2)).tolist() == [2, 2]


def test_an_index_out_of_range_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="target 7 is none of 3 outputs"):
        relevance.explain(fn, params, image, target=7)
