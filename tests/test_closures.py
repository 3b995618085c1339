"""What a user's function closes over is an argument of whatever is compiled of it."""

import functools
import gc
import re
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax.interpret import Compiled, _compiled

UNITS = 6
PARAMS = {
    "a": np.linspace(-1, 1, 24, dtype="f4").reshape(4, UNITS),
    "b": np.linspace(1, 2, 12, dtype="f4").reshape(UNITS, 2),
    "c": np.zeros(2, "f4"),
}
TWO = jax.tree.map(lambda p: np.stack([p, p[::-1]]), PARAMS)
X = np.linspace(0, 1, 8, dtype="f4").reshape(2, 4)
RUN = {"progress": False}


def key():
    return jax.random.key(0)


def network(held):
    """A network that closes over an array larger than what is left a constant."""

    def fn(params, x):
        h = checkpoint_name(jax.nn.relu(x * held[0, :4] @ params["a"]), "h")
        return h @ params["b"] + params["c"]

    return fn


def loss(held):
    inner = jax.jit(lambda m: (m @ held[:UNITS]).sum())  # it holds the array itself
    return lambda m: jnp.tanh(inner(m)) + held.mean() * m[0]


def fit(held):
    def loss(z, y):
        return ((z - y) ** 2).mean() * held.mean()

    apply = sj.masked(network(held))
    masks, data = sj.masks.ones(network(held), PARAMS, X), (X, X[:, :2])
    state, history = sj.train.fit(
        apply, PARAMS, masks, data, optimizer=optax.adam(0.1), batch_size=2, epochs=2,
        key=key(), loss=loss,
    )  # fmt: skip
    return state.params, history


def evaluate(held):
    apply, masks = sj.masked(network(held)), sj.masks.ones(network(held), PARAMS, X)

    def error(z, y):
        return ((z - y) ** 2).mean() * held.mean()

    return sj.train.evaluate(
        apply, PARAMS, masks, (X, X[:, :2]), loss=error, metrics={}
    )


def dissect(held):
    labels = sj.data.Labels(("", "bright"), ("color",), np.array([-1, 0]))
    x = np.linspace(0, 1, 16, dtype="f4").reshape(1, 2, 2, 4)
    pixels = (x[:, None, ..., 0] > 0.5).astype(int)
    batches = [(x, pixels, np.zeros((1, 0), int))]
    return sj.dissect.dissect(
        network(held), PARAMS, "h", batches, labels, quantile=0.25, **RUN
    ).thresholds


def render(held):
    return sj.features.render(
        network(held), PARAMS, "h", [0, 1], key=key(), size=(4,), steps=2, redirect=0,
        transform=STILL, **RUN,
    ).images  # fmt: skip


STILL = sj.features.compose()


def lottery(held):
    state = sj.train.State(jnp.zeros(2, int), TWO, (), jax.random.split(key(), 2))

    def train(state, mask, stop):
        return state._replace(step=state.step + 1)

    def score(state):
        return jax.tree.map(lambda p: p * held.mean(), state.params)

    tickets = sj.prune.lottery(
        train, state, jax.tree.map(np.ones_like, TWO), rounds=1, fraction=0.5,
        score=score,
    )  # fmt: skip
    return tickets[1].mask


def circuit(held):
    nodes = {"h": jnp.ones(UNITS)}
    fn = network(held)
    values = sj.circuits.means(fn, PARAMS, X, nodes)
    loss = sj.circuits.task(fn, PARAMS, X, ablate=values)
    return nodes, lambda masks: loss(masks) + masks["h"] @ held[0, :UNITS]


def learned(held):
    nodes, loss = circuit(held)
    ranking = sj.circuits.hard_concrete(
        loss, nodes, key=key(), penalties=[0.1], repeats=1, steps=2
    )
    return ranking.runs.scores


def optimal(held):
    return sj.circuits.optimal(
        lambda v: ((v["h"] @ held[:UNITS]) ** 2).mean(), {"h": jnp.ones(UNITS)}, steps=2
    )


CASES = {
    "eliminate": lambda a: sj.circuits.eliminate(*circuit(a)[::-1]).losses,
    "integrated": lambda a: sj.circuits.integrated(*circuit(a)[::-1], steps=2).scores,
    "acdc": lambda a: sj.circuits.acdc(*circuit(a)[::-1]).losses,
    "learned": learned,
    "optimal": optimal,
    "sweep": lambda a: sj.sweep.evaluate(loss(a), np.eye(UNITS, dtype="f4"), **RUN),
    "gradients": lambda a: sj.sweep.evaluate(
        jax.value_and_grad(loss(a)), np.eye(UNITS, dtype="f4"), batch_size=4, **RUN
    ),
    "made masks": lambda a: sj.sweep.evaluate(jnp.sum, lambda i: a[i], count=5, **RUN),
    "hypercube": lambda a: sj.hypercube.evaluate(loss(a), UNITS, **RUN),
    "shapley": lambda a: (
        sj.hypercube.estimate_shapley(
            loss(a), UNITS, key=key(), permutations=4, **RUN
        ).values
    ),
    "fit": fit,
    "evaluate": evaluate,
    "dissect": dissect,
    "render": render,
    "expand": lambda a: sj.weights.expand(network(a), PARAMS, None, "h", size=4)[0],
    "weights": lambda a: sj.weights.gradients(network(a), PARAMS, X, None, "h")[0],
    "hessians": lambda a: [
        layer.state.products
        for layer in sj.prune.layer_hessians(network(a), PARAMS, jnp.asarray(X))
    ],
    "remove_nodes": lambda a: sj.prune.remove_nodes(
        network(a), PARAMS, {"h": np.array([1, 0, 1, 1, 0, 1], "f4")}, X
    ),
    "compact": lambda a: (
        sj.prune.compact(
            network(a), PARAMS, sj.masks.ones(network(a), PARAMS, X), X
        ).params
    ),
    "lottery": lottery,
    "heat_maps": lambda a: sj.removal.heat_maps(
        lambda m, p: (m @ a[:UNITS]).sum() * p.sum(), np.ones(UNITS, "f4"), size=3
    ),
    "check": lambda a: graph().check(lambda x: x * a[0, :4], X),
}


@functools.cache
def graph():
    return sj.flowgraph.trace(lambda x: x * 2, np.ones(4, "f4"))


def held(seed):
    return jnp.asarray(np.random.default_rng(seed).uniform(0.5, 1, (40, 10)), "f4")


@pytest.fixture
def programs(tmp_path):
    """A function to the texts of the programs compiled since it was called last."""
    seen = set()

    def new():
        files = {*tmp_path.glob("*compile*")} - seen
        seen.update(files)
        return [file.read_text() for file in files]

    jax.config.update("jax_dump_ir_to", str(tmp_path))
    yield new
    jax.config.update("jax_dump_ir_to", None)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_closed_over_is_an_argument(case, programs, monkeypatch):
    arrays = [held(seed) for seed in range(2)]
    programs()
    case(arrays[0])
    texts = programs()
    assert texts and not [text for text in texts if constants(text) > 100]
    found = case(arrays[1])  # everything made anew, of another array
    assert not programs()
    monkeypatch.setattr(_compiled, "_together", lambda _: False)  # jax.jit, as it is
    expected = case(arrays[1])
    assert max(map(constants, programs())) >= 4
    jax.tree.map(assert_close, found, expected)


def assert_close(a, b):
    np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


def constants(text):
    """The size of the largest constant of a program, in numbers."""
    longest = 0
    for value, shape in re.findall(r"constant dense<(.*)> : tensor<([\dx]*)", text):
        if value.startswith(('"', "[")):  # else it is one number, repeated
            sizes = [int(size) for size in shape.split("x") if size]
            longest = max(longest, int(np.prod(sizes)))
    return longest


# ---- Functions of all kinds.


def looped(held):
    """Loops, branches and rules of derivatives around a function that holds arrays."""
    inner = jax.jit(lambda m: (m[:10] * held).sum())
    ruled = jax.custom_vjp(inner)
    ruled.defvjp(lambda m: (inner(m), m), lambda m, g: (g * 2 * m,))
    again = jax.checkpoint(lambda m: jnp.sin(inner(jnp.sin(m))))

    def fn(m):
        def step(total, i):
            draw = jax.random.uniform(jax.random.fold_in(jax.random.key(1), i))
            return total + inner(m) * draw, total

        total, steps = jax.lax.scan(step, inner(m), jnp.arange(3), reverse=True)
        total = jax.lax.while_loop(lambda t: t < inner(m) + 9, lambda t: t + 1, total)
        branch = jax.lax.cond(m[0] > 0.5, inner, ruled, m)
        grads = jax.grad(lambda m: again(m) + ruled(m))(m)
        return total + branch + steps.sum() + grads

    return jax.vmap(fn)


def test_arrays_are_found_in_loops_branches_and_calls(programs):
    m = jnp.linspace(0, 1, 40).reshape(4, 10)
    expected = [jax.jit(looped(held(seed)))(m) for seed in range(2)]
    programs()
    found = [Compiled(looped(held(seed)))(m) for seed in range(2)]
    (text,) = programs()
    assert constants(text) <= 4  # those of random bits
    jax.tree.map(assert_close, found, expected)


def test_what_differs_is_another_program():
    x = jnp.ones(3)

    def values(*fns):
        return [Compiled(fn)(x).tolist() for fn in fns]

    def called(factor):
        return lambda x: jax.pure_callback(lambda x: np.asarray(x * factor), x, x)

    assert values(called(2), called(3)) == [[2.0] * 3, [3.0] * 3]
    rows = np.array([0, 1, 2])
    assert values(lambda x: (x * rows.astype("f4"))[rows]) == [[0.0, 1.0, 2.0]]
    rows = np.array([2, 1, 0])
    assert values(lambda x: (x * rows.astype("f4"))[rows]) == [[0.0, 1.0, 2.0]]
    assert values(lambda x: x * 0.0, lambda x: x * -0.0) == [[0.0] * 3, [-0.0] * 3]
    signs = [np.signbit(Compiled(lambda x, z=z: x * z)(x)).all() for z in (0.0, -0.0)]
    assert signs == [False, True]
    assert Compiled(lambda x: {"a": x, "b": None})(x)["b"] is None


def test_what_numpy_holds_is_read_once():
    array = np.ones((40, 10), "f4")
    fn = Compiled(lambda x: (x * array).sum())
    before = fn(1.0)
    array[:] = 0
    assert fn(1.0) == before == 400


def test_keys_are_not_used_up():
    secret = jax.random.key(5)
    fn = Compiled(lambda x: x * jax.random.uniform(secret))
    assert fn(1.0) == fn(1.0) == jax.random.uniform(jax.random.key(5))


def test_references_are_written_to():
    total = jax.new_ref(jnp.zeros(3))

    def add(x):
        total[...] += x
        return total[...].sum()

    fn = Compiled(add)
    assert [fn(jnp.ones(3)), fn(jnp.ones(3))] == [3.0, 6.0]


def test_transformations_and_eager_mode():
    def scaled(y):
        return Compiled(lambda x: (x * y).sum())(jnp.ones(3))

    assert jax.vmap(scaled)(jnp.arange(2.0)).tolist() == [0.0, 3.0]
    assert jax.grad(scaled)(2.0) == jax.jit(scaled)(1.0) == 3.0
    assert jax.grad(Compiled(lambda x: x**2))(3.0) == 6.0
    with jax.disable_jit():
        assert Compiled(lambda x: x * float(x))(3.0) == 9.0


def test_arrays_go_when_nothing_needs_them():
    array = jnp.ones((40, 10))
    there = weakref.ref(array)
    Compiled(lambda x, array=array: (x * array).sum())(1.0)
    del array
    gc.collect()
    assert there() is None
