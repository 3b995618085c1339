"""Certificates agree with exact ranges of single traces, and with every subset."""

import ctypes
import itertools as it
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import _highs
from sparsejax.flowgraph import (
    _attack,
    _exact,
    _fixed,
    _search,
    certified_circuit,
    certify,
    trace,
)
from sparsejax.flowgraph import _evaluate as evaluate
from sparsejax.flowgraph import _structure as structure
from tests.flowgraph.test_linear_bounds import (
    SMOOTH,
    SWITCHING,
    random_graph,
    sparse_network,
)

UNITS = 5


def network(seed):
    """A small net, `fn(masks, x)`; the unit that is removed is 0."""
    rng = np.random.default_rng(seed)
    first, second, last = (
        jnp.asarray(rng.normal(size=shape) * scale, "f")
        for shape, scale in (((3, 3), 1.0), ((3, 2), 1.0), ((2, 2), 1.0))
    )
    bias = jnp.asarray(rng.normal(size=3) / 4, "f")

    def fn(masks, x):
        x = checkpoint_name(jax.nn.relu(x @ first + bias) * masks["a"], "a")
        return (jax.nn.relu(x @ second + 0.1) * masks["b"]) @ last

    return fn


ONES = {"a": jnp.ones(3), "b": jnp.ones(2)}
X, LOW, HIGH = jnp.full(3, 0.5), 0.2, 0.8


def masks_of(kept):
    kept = jnp.asarray(kept, "f")
    return {"a": kept[:3], "b": kept[3:]}


@pytest.fixture(scope="module")
def table():
    """A network, and the largest difference of every subset of its units.

    These are exact ranges of a graph in which masks are inputs, and nothing is folded.
    """
    fn, differences = network(3), {}
    graph = trace(lambda z: fn(ONES, z[:3]) - fn(masks_of(z[3:]), z[:3]), jnp.zeros(8))
    for kept in it.product([False, True], repeat=UNITS):
        low, high = (np.array([end] * 3 + [*kept]) for end in (LOW, HIGH))
        found = graph.bounds("exact", low=low, high=high)
        differences[kept] = float(
            max(np.abs(found.low).max(), np.abs(found.high).max())
        )
    return fn, differences


def near_no_difference(table, share):
    """A delta that is far from every difference, at a share of them."""
    values = np.unique(np.round([*table.values()], 4))
    at = int(share * (len(values) - 1))
    return float(values[at] + values[at + 1]) / 2


@pytest.mark.parametrize("share", [0.4, pytest.param(0.7, marks=pytest.mark.slow)])
def test_every_minimal_circuit_is_what_brute_force_says(table, share, monkeypatch):
    fn, differences = table
    delta = near_no_difference(differences, share)
    valid = {kept for kept, value in differences.items() if value <= delta}

    def check(found):
        kept = tuple(np.concatenate([*found.masks.values()]).astype(bool).tolist())
        assert kept in valid and found.size == sum(kept) and found.total == UNITS
        assert differences[kept] <= found.certificate.bound + 1e-5
        assert found.certificate.bound <= delta and found.certificate.proved
        single = [kept[:i] + (False,) + kept[i + 1 :] for i in np.flatnonzero(kept)]
        smaller = [s for s in valid if s != kept and np.all(np.array(s) <= kept)]
        return single, smaller

    def run(minimal):
        box = (X, LOW, HIGH)
        return certified_circuit(fn, ONES, *box, delta=delta, minimal=minimal)

    found = run("quasi")
    single, _ = check(found)
    assert found.minimal == "quasi" and len(found.decisions) <= 4
    assert any(s not in valid for s in single)
    found = run("local")
    single, _ = check(found)
    assert found.minimal == "local" and not valid.intersection(single)
    found = run("subset")
    assert found.minimal == "subset" and not check(found)[1]
    found = run("cardinal")
    check(found)
    assert found.minimal == "cardinal" and found.size == min(map(sum, valid))
    assert "5 units (cardinal minimal), proved within" in str(found)
    assert set(found.seconds) >= {"samples", "gradient", "graph", "interval"}
    monkeypatch.setattr(_search, "MOST", 1)
    found = run("cardinal")
    check(found)
    if found.minimal == "cardinal if monotone":
        assert found.size == min(map(sum, valid)) and not found.monotone
    else:
        assert found.minimal == "local" and found.monotone
    assert run("subset").minimal == "subset if monotone"


def test_the_largest_difference_is_exact(table):
    fn, differences = table
    for kept in [(True,) * 4 + (False,), (False, True) * 2 + (True,)]:
        masks = masks_of(kept)
        found = certify(
            lambda x: fn(ONES, x), lambda x, m=masks: fn(m, x), X, LOW, HIGH
        )
        assert found.proved and abs(found.bound - differences[kept]) < 3e-5
        assert abs(found.reached - found.bound) < 3e-5
        witness = jnp.asarray(found.witness, jnp.float32)
        assert (found.witness >= LOW).all() and (found.witness <= HIGH).all()
        difference = np.abs(fn(ONES, witness) - fn(masks, witness)).max()
        np.testing.assert_allclose(difference, found.reached, atol=1e-6)


def hat(x, width):
    """A function that is 0 but in a small corner, where it rises to 1."""
    return jax.nn.relu(jnp.sum(x) - (len(x) - width)) / width


CASES = {
    "samples": (lambda x: x[:1], 0.5, False),
    "gradient": (lambda x: jnp.abs(x - 0.3).mean()[None] / 0.7, 0.97, False),
    "interval": (lambda x: x[:1], 1.5, True),
    "linear": (lambda x: jax.nn.relu(x[:1] + 1) - x[:1], 1.5, True),
    "exact": (lambda x: jax.nn.relu(x[:1]) - jax.nn.relu(x[:1] - 0.5) * 2, 0.6, True),
}


@pytest.mark.parametrize("by", CASES)
def test_each_step_settles_what_is_its_own(by):
    fn, delta, proved = CASES[by]
    found = certify(
        fn, lambda x: jnp.zeros(1), jnp.full(6, 0.5), -1 if proved else 0, 1,
        delta=delta, samples=4 if by == "gradient" else 64,
    )  # fmt: skip
    assert (found.proved, found.by) == (proved, by)
    if proved:
        assert found.reached <= found.bound <= delta
    else:
        value = float(jnp.abs(fn(jnp.asarray(found.witness, jnp.float32))).max())
        assert value == pytest.approx(found.reached, abs=1e-6) and value > delta


def test_programs_refute_what_attacks_miss(monkeypatch):
    """A flat start gives gradients nothing to climb."""

    def full(x):
        return jax.nn.relu(hat(x, 0.02) - 0.5)[None]

    def circuit(x):
        return jnp.zeros(1)

    x = jnp.full(8, 0.5)
    found = certify(full, circuit, x, 0.5, 0.99, delta=0.0001, samples=2)
    assert found.proved and found.bound < 0.0001  # below the hat
    at = {"low": np.full(8, 0.2), "high": np.array([1.0] * 4 + [0.999] * 4)}
    found = certify(full, circuit, x, **at, delta=0.2, samples=1)
    assert (found.proved, found.by) == (False, "exact") and found.reached > 0.2
    assert full(jnp.asarray(found.witness, jnp.float32))[0] > 0.2
    monkeypatch.setattr(_exact, "minimize", lambda *_, **__: (-np.inf, None))
    found = certify(full, circuit, x, **at, delta=0.2, samples=1)
    assert found.proved is None and found.by == "exact" and 0.2 < found.bound <= 0.5


def test_curves_are_bounded_but_not_exactly():
    def full(x):
        return jnp.tanh(2 * x)

    found = certify(full, lambda x: x, jnp.zeros(2), -1, 1)
    assert found.proved is None and found.by == "linear"
    largest = np.sqrt(0.5) - np.arccosh(np.sqrt(2)) / 2
    assert found.reached == pytest.approx(largest, abs=1e-3)
    assert largest < found.bound < 1.0
    assert certify(full, lambda x: 2 * x, jnp.zeros(2), -0.1, 0.1, delta=0.01).proved


def test_patched_units_take_values_of_another_input():
    fn = network(1)
    mask = np.array([1, 0, 1])

    def full(x):
        return fn(ONES, x)

    x, ends = jnp.full(3, 0.5), (np.array([0.2, 0.4, 0.5]), np.array([0.8, 0.4, 0.5]))
    found = certify(full, full, x, *ends, patched={"a": mask})
    axis = jnp.asarray(np.stack([np.linspace(*pair, 41) for pair in zip(*ends)]).T, "f")

    @jax.jit
    def pairs(x, other):
        values = checkpoint_free(other)
        return full_from(jnp.where(mask > 0, checkpoint_free(x), values))

    def checkpoint_free(x):
        return jax.nn.relu(x @ fn.__closure__[1].cell_contents
                           + fn.__closure__[0].cell_contents)  # fmt: skip

    def full_from(hidden):
        cells = {k: c.cell_contents for k, c in
                 zip(fn.__code__.co_freevars, fn.__closure__)}  # fmt: skip
        return jax.nn.relu(hidden @ cells["second"] + 0.1) @ cells["last"]

    cells = zip(fn.__code__.co_freevars, fn.__closure__, strict=True)
    assert [name for name, _ in cells][:2] == ["bias", "first"]
    values = jax.vmap(lambda x: jax.vmap(lambda o: pairs(x, o) - full(x))(axis))(axis)
    largest = float(np.abs(values).max())
    assert found.proved and largest - 1e-5 <= found.bound <= largest + 0.05
    assert found.witness.shape == (2, 3)
    first, second = jnp.asarray(found.witness, jnp.float32)
    difference = float(jnp.abs(pairs(first, second) - full(first)).max())
    assert difference == pytest.approx(found.reached, abs=1e-5)

    def patched(masks, x, other):
        kept = masks["a"] * checkpoint_free(x) + (1 - masks["a"]) * checkpoint_free(
            other
        )
        return full_from(kept)

    ones = {"a": jnp.ones(3)}
    circuit = certified_circuit(patched, ones, x, *ends, delta=largest, patched=True)
    assert circuit.certificate.bound <= largest and circuit.size < 3


def test_decisions_stay_or_are_refuted(table):
    fn, _ = table

    def full(x):
        return fn(ONES, x)

    outputs = full(X)
    chosen, gap = int(jnp.argmax(outputs)), float(jnp.abs(outputs[0] - outputs[1]))
    near = (X, np.asarray(X) - 1e-3, np.asarray(X) + 1e-3)
    assert certify(full, full, *near, same_decision=True).proved
    found = certify(full, full, *near, same_decision=True, margin=gap * 2)
    assert found.proved is False and found.reached > -gap * 2
    found = certified_circuit(
        fn, ONES, *near, same_decision=True, margin=gap / 2, order=range(5)
    )
    values = fn({name: jnp.asarray(m) for name, m in found.masks.items()}, X)
    assert values[chosen] - values[1 - chosen] >= gap / 2 - 1e-6
    with pytest.raises(ValueError, match="network does not keep its decision"):
        certified_circuit(fn, ONES, *near, same_decision=True, margin=gap * 2)


@pytest.mark.parametrize("ops", [SMOOTH, SWITCHING], ids=["smooth", "switching"])
def test_a_graph_of_fixed_inputs_is_the_same_function(ops, rng):
    for seed in range(20):
        graph = random_graph(seed, ops)
        low, high = graph.low.copy(), graph.high.copy()
        at = [[0, 2], [1]][seed % 2]
        low[at] = high[at] = rng.choice([0.0, 1.0, 0.25])
        small = _fixed.fixed(graph, low, high)
        assert not set(at) & set(small.inputs.tolist())
        x = rng.uniform(low, high, size=(50, 3))
        old, new = (evaluate.in_numpy(g, x)[:, g.outputs] for g in (graph, small))
        fine = np.isfinite(old)
        np.testing.assert_allclose(new[fine], old[fine], rtol=1e-9, atol=1e-9)


def test_equal_parts_become_one_when_masks_are_fixed():
    fn = network(0)
    graph = trace(lambda z: fn(ONES, z[:3]) - fn(masks_of(z[3:]), z[:3]),
                  jnp.zeros(8))  # fmt: skip
    for kept in (np.ones(5), np.array([1, 1, 1, 0, 1.0])):
        small = _fixed.fixed(graph, *(np.concatenate([[e] * 3, kept]) for e in (0, 1)))
        relus = small.ops.count("relu")
        assert relus == (0 if kept.all() else relus) and relus <= 4
    assert structure.nodes(small) and small.shape == (8,)


def planted(kept):
    """(0 and 1) or (2 and 3 and 4): monotone."""
    return bool(kept[[0, 1]].all() or kept[[2, 3, 4]].all())


def test_hitting_sets_find_a_smallest_set():
    def test(kept):
        tests.append(kept)
        return planted(kept)

    for seed in range(5):
        tests: list = []
        order = np.random.default_rng(seed).permutation(14)
        kept, sure = _search.cardinal(test, order, proofs=200)
        assert np.flatnonzero(kept).tolist() == [0, 1] and not sure
        assert not _search.contradictions([(k, planted(k)) for k in tests])
        assert planted(_search.quasi(planted, order))
        kept = _search.local(planted, np.ones(14, bool), order)
        assert kept.sum() in (2, 3) and planted(kept)
    assert _search.cardinal(planted, np.arange(14), proofs=3) == (None, False)


def test_contradictions_are_counted():
    def sets(*rows):
        return [(np.array(kept, bool), answer) for kept, answer in rows]

    assert _search.contradictions(sets(([1, 0], True), ([1, 1], False))) == 1
    assert _search.contradictions(sets(([1, 0], True), ([0, 1], False))) == 0
    assert _search.contradictions([]) == 0


def test_not_monotone_tests_are_searched_all_the_same():
    def odd(kept):
        return kept.sum() % 2 == 1

    kept, sure = _search.subset(odd, np.ones(5, bool), np.arange(5))
    assert kept.sum() == 1 and sure
    kept, sure = _search.cardinal(odd, np.arange(5), proofs=100)
    assert kept.sum() == 1 and sure


def test_a_stray_line_is_kept_from_standard_output(capfd):
    libc = ctypes.CDLL(None)
    with _highs.quiet(), _highs.quiet():
        libc.printf(b"HighsMipSolverData::transformNewIntegerFeasibleSolution tmp\n")
        libc.printf(b"another line\n")
        print("from Python")
        os.write(1, b"written\n")
    print("after")
    out = capfd.readouterr().out.splitlines()
    assert sorted(out) == ["after", "another line", "from Python", "written"]
    with pytest.raises(KeyError), _highs.quiet():
        raise KeyError
    os.write(1, b"restored\n")
    assert capfd.readouterr().out == "restored\n"


def two(x):
    return x[:2] * 2


BAD = {
    "low is above high at 3 places, first at (0,): 1.0 > 0.0": {"low": 1, "high": 0},
    "low is not finite": {"low": -np.inf},
    "high has shape (2,); expected a number, or x's (3,)": {"high": np.ones(2)},
    "x is empty": {"x": jnp.zeros(0)},
    "x must be of real numbers": {"x": np.zeros(3, int)},
    "delta is -1; expected a number from 0 on": {"delta": -1},
    "delta is nan": {"delta": float("nan")},
    "delta is 'a'": {"delta": "a"},
    "two claims; make one": {"same_decision": True},
    "margin is of decisions": {"margin": 0.5},
    "margin is -1": {"delta": None, "same_decision": True, "margin": -1},
    "lies outside of the box": {"delta": None, "same_decision": True, "low": 0.7},
    "full returns shape (2,), circuit (3,)": {"circuit": lambda x: x},
    "full returns a tuple of 2; expected one array": {"full": lambda x: (x, x)},
    "circuit cannot be traced": {"circuit": lambda x: x[0] if x[0] > 0 else x[1]},
    "full returns one": {"delta": None, "same_decision": True, "full": jnp.sum,
                         "circuit": jnp.sum},
    "'sort'": {"full": lambda x: jnp.sort(x)[:2], "delta": 9},
    "(div) has no limits": {"full": lambda x: 1 / (x[:2] - 0.3), "delta": 1e30},
    "samples is 0": {"samples": 0},
    "patched is": {"patched": ["a"]},
    "values other than 0 and 1": {"patched": {"a": np.full(3, 0.5)}},
    "fn names no activations": {"patched": {"a": np.ones(3)}},
}  # fmt: skip


@pytest.mark.parametrize("words", BAD)
def test_bad_input_is_said_in_one_line(words):
    usual = {"full": two, "circuit": two, "x": X, "low": 0.0, "high": 1.0, "delta": 1}
    with pytest.raises(ValueError) as error:
        certify(**{**usual, **BAD[words]})
    assert (
        words in str(error.value) and "\n" not in str(error.value).split("add one")[0]
    )


def test_bad_circuits_are_said_in_one_line():
    fn, box = network(0), (X, 0.0, 1.0)

    def refused(words, masks=ONES, **options):
        with pytest.raises(ValueError, match=words):
            certified_circuit(fn, masks, *box, **{"delta": 1.0, **options})

    refused("unknown minimal 'global'; there are 'quasi'", minimal="global")
    refused("pass delta=, or same_decision=True", delta=None)
    refused("masks are a list of 1; expected {name: array of ones}", masks=[1])
    refused("values other than 0 and 1: 0.5", masks={"a": np.full(3, 0.5)})
    refused("masks are all 0", masks={"a": np.zeros(3), "b": np.zeros(2)})
    refused("order has 2 units; expected each of 5 once", order=[0, 1])
    refused("no units .9.", order=[9])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_certificates_of_larger_nets_survive_many_attacks(seed, monkeypatch):
    """300 weights, one image: 10,000 samples and 20 climbs find nothing."""
    fn = sparse_network(seed)
    ones = {"units": jnp.ones(32)}
    x = np.random.default_rng(seed).uniform(size=64).astype("f")
    low, high = np.clip(x - 0.03, 0, 1), np.clip(x + 0.03, 0, 1)
    found = certified_circuit(fn, ones, x, low, high, delta=0.5)
    masks = {"units": jnp.asarray(found.masks["units"])}
    monkeypatch.setattr(_attack, "STARTS", 20)
    attack = _attack.Attack(
        lambda x, _: jnp.abs(fn(ones, x) - fn(masks, x)), low, high,
        samples=10_000, seed=seed, dtype=np.float32,
    )  # fmt: skip
    assert found.size < 32 and found.certificate.proved
    assert attack.sample().value <= found.certificate.bound + 1e-5
    assert attack.climb().value <= found.certificate.bound + 1e-5
    for unit in np.flatnonzero(found.masks["units"]):
        smaller = {"units": masks["units"].at[unit].set(0.0)}
        graph = trace(lambda x, m=smaller: fn(ones, x) - fn(m, x), x)
        exact = graph.bounds("exact", low=low, high=high)
        assert max(exact.high.max(), -exact.low.min()) > 0.5 - 1e-5
