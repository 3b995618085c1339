"""Which parameters are kernels, and where names are, for functions of many shapes."""

import jax
import jax.numpy as jnp
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import interpret


def kernels(fn, params, *args):
    program = interpret.trace(fn, params, *args)
    chosen = interpret.kernels(program, jax.tree.leaves(params))
    return {k for k, keep in zip(params, chosen, strict=True) if keep}


x = jnp.ones((5, 4))
w = jnp.ones((4, 4))
v = jnp.ones(4)


@pytest.mark.parametrize(
    "fn, params, expected",
    [
        (lambda p, x: x @ p["k"] + p["b"], {"b": v, "k": w}, {"k"}),
        (lambda p, x: x @ p["v"], {"v": v}, {"v"}),
        (lambda p, x: x @ (p["k"] * p["s"]), {"k": w, "s": v}, {"k"}),
        (lambda p, x: x @ (p["k"] + p["u"] @ p["v"]), dict(k=w, u=w, v=w), set("kuv")),
        (lambda p, x: x @ p["k"].reshape(4, 4).T, {"k": jnp.ones(16)}, {"k"}),
        (lambda p, x: (x * p["s"]) @ p["k"], {"k": w, "s": v}, {"k"}),
        (lambda p, x: jax.nn.relu(x + p["e"]) @ x.T, {"e": w[0]}, set()),
        (
            lambda p, x: jax.lax.scan(lambda h, k: (jnp.tanh(h @ k), None), x, p["ks"])[
                0
            ],
            {"ks": jnp.ones((3, 4, 4))},
            {"ks"},
        ),
        (
            lambda p, x: jax.lax.cond(
                x.sum() > 0, lambda k: x @ k, lambda k: x @ k.T, p["k"]
            ),
            {"k": w},
            {"k"},
        ),
        (jax.checkpoint(lambda p, x: jax.jit(jnp.dot)(x, p["k"])), {"k": w}, {"k"}),
        (
            lambda p, x: jax.lax.conv(x[None, None], p["k"], (1, 1), "VALID") + p["b"],
            {"b": jnp.ones(()), "k": jnp.ones((1, 1, 2, 2))},
            {"k"},
        ),
        # a sum over the batch times a parameter is no kernel of anything
        (lambda p, x: x * p["b"], {"b": v}, set()),
    ],
)
def test_kernels(fn, params, expected):
    assert kernels(fn, params, x) == expected


def test_sites_tell_name_shape_and_loop():
    def fn(x):
        h = checkpoint_name(x, "a")
        h = jax.jit(lambda h: checkpoint_name(h[:, :2], "b"))(h)
        return jax.lax.map(lambda row: checkpoint_name(row, "c"), h)

    found = interpret.sites(interpret.trace(fn, x))
    assert [(s.name, s.shape, s.loops, s.inside) for s in found] == [
        ("a", (5, 4), (), ""),
        ("b", (5, 2), (), ""),
        ("c", (2,), (5,), ""),
    ]


def test_evaluate_without_names_is_the_function():
    def fn(x, *, scale):
        return {"y": jax.nn.softmax(x * scale), "n": 3}

    program = interpret.trace(fn, x, scale=jnp.float32(2))
    out, seen = interpret.evaluate(program, {}, lambda n, v, operand: (v, None))
    assert seen == {}
    assert jnp.array_equal(out["y"], jax.nn.softmax(2 * x))
    assert out["n"] == 3


def test_kernels_prepared_beside_data_and_states_of_loops():
    prepare = jax.jit(lambda k, x: (k * 2, x + 1))

    def prepared(p, x):
        k, x = prepare(p["k"], x)
        return x @ k

    assert kernels(prepared, {"k": w}, x) == {"k"}

    def recurrent(p, x):
        def step(h, row):
            return (jnp.tanh(h @ p["k"] + row), None)

        return jax.lax.scan(step, p["start"], x)[0]

    assert kernels(recurrent, {"k": w, "start": w[0]}, x) == {"k"}


def test_what_is_no_array_is_passed_on_as_it_is():
    def fn(p, x, mode, *, train=False, axis=0):
        assert mode == "sum" and isinstance(axis, int)
        return checkpoint_name(x @ p, "h").sum(axis) if train else x

    program = interpret.trace(fn, w, x, "sum", train=True, axis=1)
    out, _ = interpret.evaluate(program, {"h": None}, lambda n, v, operand: (v, None))
    assert out.shape == (5,)
    assert interpret.kernels(program, [w]) == [True]


def test_walking_with_arrays_runs_the_function():
    def fn(x):
        h = jax.jit(lambda x: checkpoint_name(jnp.tanh(x @ w), "h"))(x)
        return jax.nn.relu(h).sum(axis=0)

    program = interpret.trace(fn, x)
    for enter in (False, True):
        seen = []

        def rule(step, arguments, enter=enter, seen=seen):
            seen.append(step)
            if enter and step.enter:
                return step.enter(arguments, rule)
            return step.run(*arguments)

        (out,) = interpret.walk(program, [x], rule)
        assert jnp.allclose(out, fn(x))
        names = [step.name for step in seen]
        assert ("tanh" in names) == enter
        assert all(step.place.startswith(__file__) for step in seen)
        labels = [step.label for step in seen if step.label]
        assert labels == ["<lambda>", "relu"][: 1 + enter]
        assert seen[0].inner == {"dot_general", "tanh", "name"}
        assert seen[0].shape == (5, 4)


def test_steps_know_their_modules_through_calls():
    @jax.jit
    def inner(x):
        with jax.named_scope("dense"):
            return x @ w

    def fn(x):
        with jax.named_scope("net"):
            return inner(x) + 1.0

    seen = {}

    def rule(step, arguments):
        seen[step.name] = step.scope
        return step.enter(arguments, rule) if step.enter else step.run(*arguments)

    interpret.walk(interpret.trace(fn, x), [x], rule)
    assert seen["dot_general"] == "net/dense"
    assert seen["add"] == "net"


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_a_function_of_batches_says_so(wrap):
    fn = wrap(lambda p, x: x.reshape(x.shape[0], -1) @ p)
    given = jnp.ones((20, 3)), jnp.ones((5, 4))
    with pytest.raises(
        ValueError, match=r"takes batches, .* of shape \(5, 4\); pass l"
    ):
        interpret.trace(fn, *given)
    interpret.trace(lambda p, x: fn(p, x[None])[0], *given)
    with pytest.raises(TypeError, match="dot_general"):  # of neither
        interpret.trace(fn, jnp.ones((7, 3)), given[1])
