"""Closed forms against the networks that they are of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import flowgraph, models
from sparsejax.experiments.cartpole import policy

LOW, HIGH = np.array([-2.4, -3.0, -0.2, -3.0]), np.array([2.4, 3.0, 0.2, 3.0])


def _graph(fn):
    return flowgraph.trace(fn, np.zeros(4, np.float32), domain=(LOW, HIGH))


def _random(getkey, widths, outputs=2):
    model = models.mlp(widths, outputs)
    params = model.init(getkey(), jnp.zeros(4))
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * jax.random.normal(getkey(), leaf.shape), params
    )
    return lambda x: model.apply(params, x)


def _states(rng, count=10_000):
    return rng.uniform(LOW, HIGH, (count, 4)).astype(np.float32)


@pytest.mark.parametrize("widths, outputs", [((3,), 2), ((3, 3), 2), ((4,), 3)])
def test_decides_as_the_network(widths, outputs, getkey, rng):
    fn = _random(getkey, widths, outputs)
    form = policy.closed_form(_graph(fn))
    x = _states(rng)
    values = np.asarray(jax.vmap(fn)(x))
    top = np.sort(values, axis=1)
    sure = top[:, -1] - top[:, -2] > 1e-4
    assert sure.mean() > 0.98
    expected = values.argmax(1)
    np.testing.assert_array_equal(policy.decide(form, x)[sure], expected[sure])


@pytest.mark.slow
def test_pieces_hold_the_values_of_the_network(getkey, rng):
    fn = _random(getkey, (4, 3))
    form = policy.closed_form(_graph(fn))
    x = _states(rng, 2000)
    ones = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    count = np.zeros(len(x), int)
    for piece in form.pieces:
        inside = (ones @ piece.sides.T >= 0).all(axis=1)
        count += inside
        found = ones[inside] @ piece.values.T
        np.testing.assert_allclose(found, jax.vmap(fn)(x[inside]), atol=1e-4)
    assert len(form.pieces) > 3
    assert (count >= 1).all() and (count == 1).mean() > 0.99


def test_every_piece_is_needed(getkey, rng):
    """A piece that the linear programs let pass has points of its own."""
    form = policy.closed_form(_graph(_random(getkey, (3,))))
    patterns = {tuple(piece.values.ravel()) for piece in form.pieces}
    assert 1 < len(patterns) == len(form.pieces) <= 8


def _lean(x):
    """Two relus that make one line."""
    push = 0.1 * x[0] + 0.25 * x[1] + 2 * x[2] + x[3] + 0.05
    return jnp.stack([jax.nn.relu(-push), jax.nn.relu(push)])


def test_one_rule_is_found_and_said():
    form = policy.closed_form(_graph(_lean))
    assert len(form.pieces) == 2
    rule = policy.one_rule(form)
    assert rule is not None
    np.testing.assert_allclose(rule / rule[2], [0.05, 0.125, 1, 0.5, 0.025], rtol=1e-5)
    (line,) = policy.text(form, ("x", "v", "angle", "spin"), ("left", "right"))
    assert line == (
        "right where 0.05 x + 0.125 v + 1 angle + 0.5 spin > −0.025, else left"
    )


def test_one_rule_is_not_found_where_there_are_two():
    def fn(x):
        return jnp.stack([jax.nn.relu(x[0]), jax.nn.relu(x[1])])

    form = policy.closed_form(_graph(fn))
    assert policy.one_rule(form) is None
    lines = policy.text(form, ("x", "v", "angle", "spin"), ("left", "right"))
    assert len(lines) == 4
    assert any("right where 1 v" in line or "1 v > " in line for line in lines)
    assert all(line.startswith("if ") for line in lines)


def test_rounding_changes_few_decisions(getkey, rng):
    form = policy.closed_form(_graph(_random(getkey, (3,))))
    x = _states(rng)
    same = policy.decide(form, x) == policy.decide(policy.rounded(form), x)
    assert 0.98 < same.mean() <= 1
    coarse = policy.decide(form, x) == policy.decide(policy.rounded(form, 1), x)
    assert coarse.mean() < same.mean()


def test_what_has_no_closed_form_is_named(getkey):
    with pytest.raises(ValueError, match="tanh"):
        policy.closed_form(_graph(jnp.tanh))
    with pytest.raises(ValueError, match="more than 3 linear pieces"):
        policy.closed_form(_graph(_random(getkey, (5,))), most=3)
    graph = flowgraph.trace(
        jax.nn.relu, np.zeros(4, np.float32), domain=(-np.inf, np.inf)
    )
    with pytest.raises(ValueError, match="bounded"):
        policy.closed_form(graph)
