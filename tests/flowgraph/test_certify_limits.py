"""Certificates say nothing of what is undefined, rounded, or not asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.flowgraph import (
    _attack,
    _domain,
    _ops,
    _search,
    certified_circuit,
    certify,
)
from sparsejax.flowgraph._forms import PARTIAL


def none(x):
    return 0 * x


def same(x):
    return x


UNDEFINED = {
    "dead logarithm": (lambda x: jnp.log(x + 0.5) * 0 + x, same),
    "root": (jnp.sqrt, none),
    "hidden logarithm": (lambda x: jax.nn.relu(jnp.log(x)), none),
    "reciprocal root": (lambda x: jnp.minimum(jax.lax.rsqrt(x), 1), none),
    "power": (lambda x: jnp.minimum(jnp.abs(x**-0.5), 1), none),
    "cancelled": (lambda x: jnp.log(x) + x, lambda x: jnp.log(x) + x),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_what_is_not_a_number_refutes(name):
    full, circuit = UNDEFINED[name]
    found = certify(full, circuit, jnp.zeros(1), -1.0, 1.0, delta=5.0)
    assert found.proved is False and np.isnan(found.reached)
    assert not np.isfinite(full(jnp.asarray(found.witness, "f"))).all()


@pytest.mark.parametrize("name", UNDEFINED)
def test_what_may_not_be_a_number_is_not_proved(name, monkeypatch):
    monkeypatch.setattr(_attack.Found, "exceeds", lambda found, limit: False)
    full, circuit = UNDEFINED[name]
    try:
        found = certify(full, circuit, jnp.ones(1), -1.0, 1.0, delta=5.0)
    except ValueError as error:
        assert "no limits on this box" in str(error)
    else:
        assert found.proved is None and found.bound == np.inf
    proved = certify(full, circuit, jnp.ones(1), 0.5, 1.0, delta=5.0)
    assert proved.proved and proved.bound <= 5


def test_a_division_by_what_may_be_0_is_not_proved():
    def full(x):
        return jnp.sin(1 / (x - 0.3)) * 0 + x

    found = certify(full, same, jnp.zeros(1), 0.0, 2.0, delta=5.0)
    assert found.proved is None and found.bound == np.inf
    with pytest.raises(ValueError, match=r"inf at \(0\), so that it has no largest"):
        certify(lambda x: 1 / x, none, jnp.zeros(1), 0.0, 2.0)


def test_lines_show_that_an_operand_is_inside_of_the_domain():
    def full(x):
        relu = jax.nn.relu(x)
        return jnp.sqrt(1.1 + relu - relu * 0.5 - x * 0.5)

    for circuit in (full, none):
        found = certify(full, circuit, jnp.zeros(1), -1.0, 1.0, delta=1.5)
        assert found.proved


@pytest.mark.parametrize("op", sorted(PARTIAL))
def test_domains_are_where_operations_are_finite(op, rng):
    entry = _ops.OPS[op]
    for _ in range(200):
        ends = np.sort(rng.choice([-2, -1, -0.5, 0, 0.5, 1, 2], (entry.arity, 2)))
        inside = _domain.defined(op, list(ends))
        x = rng.uniform(ends[:, :1], ends[:, 1:], (entry.arity, 50))
        x[:, :2], x[0, 2], x[-1, 2] = ends, ends[0, 0], ends[-1, 1]
        x[:, 3] = np.clip(0, *ends.T)
        with np.errstate(all="ignore"):
            fine = np.isfinite(entry.numpy(*x)).all()
        assert fine or not inside
        if entry.arity == 1:
            assert bool(inside) == fine


def test_rounding_alone_refutes_nothing():
    x = jnp.zeros(1)
    for end in (0.1, 0.3, 0.7):
        found = certify(same, none, x, 0.0, end, delta=end)
        assert found.proved and found.reached <= found.bound
        assert 0 <= found.witness[0] <= end
    for size in (1, 1000):
        shifted = certify(lambda x: x, lambda x: x + 0.1, x, 0, size, delta=0.1)
        assert shifted.proved is not False
    found = certify(same, lambda x: x + 0.101, x, 0.0, 1.0, delta=0.1)
    assert found.proved is False


def test_ends_are_rounded_inwards():
    low, high = np.array([0.1, 0.7, 0.1]), np.array([0.2, 0.9, 0.1])
    ends = _attack._inwards(low, high, np.float32)
    assert (ends[0][:2] >= low[:2]).all() and (ends[1][:2] <= high[:2]).all()
    np.testing.assert_allclose(ends, (low, high), rtol=1e-6)
    assert ends[0][2] == ends[1][2] == np.float32(0.1)


def test_a_network_that_is_not_a_number_has_no_circuit():
    ones, box = {"h": jnp.ones(2)}, (jnp.ones(2), -1.0, 1.0)
    with pytest.raises(ValueError, match="whole network is not finite in this box"):
        certified_circuit(lambda m, x: jnp.sqrt(x) * m["h"], ones, *box, delta=2.0)
    with pytest.raises(ValueError, match="not proved .* whole network .*by interval"):
        certified_circuit(
            lambda m, x: (jnp.sin(1 / (x - 0.3)) * 0 + x) * m["h"], ones,
            jnp.zeros(2), 0.0, 2.0, delta=5.0,
        )  # fmt: skip


def loop(x):
    return jax.lax.while_loop(lambda c: c[0] < 1.0, lambda c: c + 0.1, x)


def called(x):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((3,), np.float32), x)


BAD = {
    "x is of float16, whose rounding": {"x": jnp.zeros(3, jnp.float16)},
    "x is of bfloat16, whose rounding": {"x": jnp.zeros(3, jnp.bfloat16)},
    "rounds to fewer than 32 bits": {
        "full": lambda x: x.astype(jnp.float16).astype(x.dtype) + x
    },
    "full returns float16;": {"full": lambda x: x.astype(jnp.float16)},
    "full returns int32; certificates are of": {"full": lambda x: x.astype("int32")},
    "full returns bool;": {"full": lambda x: x > 0},
    "full returns complex64;": {"full": lambda x: jax.lax.complex(x, x)},
    "'while' at": {"full": loop},
    "'pure_callback' at": {"full": called},
    "shape (2, 3), several rows of classes": {
        "full": lambda x: jnp.stack([x, x]), "circuit": lambda x: jnp.stack([x, x]),
        "delta": None, "same_decision": True,
    },
    "full is not a number at x": {
        "full": lambda x: jnp.log(x - 1), "delta": None, "same_decision": True
    },
    "low is a list": {"low": [0.0, [1.0]]},
    "delta is Array([1.], dtype=float32)": {"delta": jnp.ones(1)},
    "time_limit is nan": {"time_limit": np.nan},
    "delta is inf": {"delta": np.inf},
}  # fmt: skip


@pytest.mark.parametrize("words", BAD)
def test_what_has_no_certificate_is_said_in_one_line(words):
    usual = {"full": same, "circuit": same, "x": jnp.zeros(3), "low": 0.0, "high": 1.0,
             "delta": 1.0}  # fmt: skip
    with pytest.raises(ValueError) as error:
        certify(**{**usual, **BAD[words]})
    line = str(error.value)
    assert words in line and "\n" not in line and "rules=" not in line


def test_numbers_are_taken_as_arrays_and_ends_as_lists():
    half = jnp.float32(0.5), np.array(0.5), jnp.array(0.5), 0.5
    for delta in half:
        found = certify(
            same, lambda x: jax.nn.relu(x) - 0.2, jnp.zeros(2), [-0.1, -0.1], (0.3, 1),
            delta=delta, time_limit=np.inf,
        )  # fmt: skip
        assert found.proved and found.bound <= 0.5
    found = certify(same, same, jnp.zeros(2), 0, 1, time_limit=np.inf)
    assert str(found.bound) == "0.0" and found.proved
    found = certify(lambda x: jax.nn.relu(x) * 2 - jax.nn.relu(x - 0.5) * 3, none,
                    jnp.zeros(1), -1, 1, time_limit=np.inf)  # fmt: skip
    assert found.proved and found.by == "exact"


def test_small_weights_are_numbers_like_others():
    weights = jnp.full(3, 0.1, jnp.float16)

    def full(x):
        return x * weights.astype(x.dtype)

    assert certify(full, none, jnp.zeros(3), 0.0, 1.0, delta=0.1).proved


def halves(masks, x):
    """The first unit adds nothing, which no proof shows."""
    first = masks["h"][0] * (jax.nn.softmax(x).sum() - 1)
    return (first + masks["h"][1] * x[0])[None]


@pytest.mark.parametrize("minimal", ["local", "cardinal"])
def test_what_is_minimal_is_so_as_far_as_proved(minimal):
    found = certified_circuit(
        halves, {"h": jnp.ones(2)}, jnp.zeros(3), -1.0, 1.0, delta=0.05,
        minimal=minimal,
    )  # fmt: skip
    assert found.left_open == sum(d.proved is None for d in found.decisions) > 0
    assert found.minimal == f"{minimal} as far as proved"
    sets = "1 set was" if found.left_open == 1 else f"{found.left_open} sets were"
    assert f"({minimal} minimal as far as proved: {sets} left open), " in str(found)
    sure = certified_circuit(
        halves, {"h": jnp.ones(2)}, jnp.zeros(3), -1.0, 1.0, delta=30.0, minimal=minimal
    )
    assert sure.left_open == 0 and sure.minimal == minimal and sure.size == 0


def test_as_many_different_sets_are_tested_as_may_be(monkeypatch):
    def test(kept):
        tested.append(kept.tobytes())
        return kept.sum() >= 4

    for most, sure in ((1, False), (64, True)):
        monkeypatch.setattr(_search, "MOST", most)
        tested: list = []
        kept, known = _search.cardinal(test, np.arange(6), 2000)
        assert kept is not None and kept.sum() == 4 and known == sure
        different = len(set(tested))
        tested.clear()
        kept, _ = _search.cardinal(test, np.arange(6), different)
        assert kept is not None and kept.sum() == 4
        tested.clear()
        assert _search.cardinal(test, np.arange(6), different - 1) == (None, False)
        assert len(set(tested)) == different - 1
    ones, box = {"h": jnp.ones(2)}, (jnp.zeros(3), -1.0, 1.0)
    for number in ("a", 0, 2.5):
        with pytest.raises(ValueError, match="max_proofs is"):
            certified_circuit(halves, ones, *box, delta=30.0, max_proofs=number)
