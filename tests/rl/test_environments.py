"""What is said about environments that do not fit."""

import jax
import jax.numpy as jnp
import pytest

from sparsejax.rl import environments

CART = environments.load("CartPole-v1")


def test_names():
    for name, limit in (("CartPole-v0", 200), ("CartPole-v1", 500)):
        env = environments.load(name)
        environments.check(env)
        assert (env.limit, env.target) == (limit, limit)


def test_unknown_names_say_what_there_is_and_how_to_bring_one():
    with pytest.raises(ValueError, match=r"'Pong'.*CartPole-v0.*step\(state, action\)"):
        environments.load("Pong")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"units": ("m",)}, "units must have 4"),
        ({"limit": 0}, "positive limit"),
        ({"actions": ("stay",)}, "two actions"),
        ({"observe": lambda state: state.position}, r"shape \(4,\).*float32\(\)"),
        ({"observe": lambda state: jnp.zeros((2, 2))}, r"float32\(2, 2\)"),
        ({"step": lambda state, action: state}, "must return"),
        ({"step": lambda s, a: (s, jnp.ones(2), s.angle > 0)}, "reward"),
        ({"step": lambda s, a: (s, s.angle, s.angle)}, "terminated must be one bool"),
        ({"step": lambda s, a: (s.angle, s.angle, s.angle > 0)}, "like that of reset"),
        ({"step": lambda s, a: int(a)}, "step cannot be traced"),
        ({"reset": lambda: 0}, "reset cannot be traced"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        environments.check(CART._replace(**change))


def test_checks_cost_no_computing():
    def step(state, action):
        jax.debug.callback(lambda: pytest.fail("ran"))
        return state, jnp.ones(()), state.angle > 0

    environments.check(CART._replace(step=step))
