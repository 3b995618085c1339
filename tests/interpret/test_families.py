"""Laws of the table of primitives: every member does what its family says."""

import itertools as it
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core
from jax.extend.core import primitives

from sparsejax.interpret import primitives as families

pytestmark = pytest.mark.usefixtures("float64")
# 0.12 has no `closed_call` any more; before it `log2` was a quotient.
VERSIONS = {"closed_call", "log2"}
# Made by transformations and within other functions alone.
UNREACHED = {"add_any", "closed_call", "eq_to", "lt_to", "le_to"}
ONE = jax.sharding.Mesh(jax.devices()[:1], ("d",))
SPEC = jax.sharding.NamedSharding(ONE, jax.sharding.PartitionSpec())
X = np.arange(1.0, 13.0).reshape(3, 4) / 8
Y = X[::-1] + 0.25
INDEX = np.array([2, 0])


def pooled(operation, start):
    return lambda x: lax.reduce_window(x, start, operation, (2, 1), (1, 1), "VALID")


def conv(x, y):
    return lax.conv(x[None, None], y[None, None, :2, :2], (1, 1), "VALID")


# Functions of the arrays X and Y, or of X alone, with that primitive in them.
IDENTITIES = {
    "copy": jnp.copy,
    "name": lambda x: checkpoint_name(x, "h"),
    "stop_gradient": lax.stop_gradient,
    "optimization_barrier": lax.optimization_barrier,
    "device_put": jax.device_put,
    "sharding_constraint": lambda x: lax.with_sharding_constraint(x, SPEC),
}
RESHAPES = {
    "reshape": lambda x: x.reshape(2, 6),
    "transpose": lambda x: x.T,
    "squeeze": lambda x: jnp.squeeze(x[None]),
    "rev": lambda x: lax.rev(x, (0,)),
}
PLACED = {
    "gather": lambda x: x[INDEX],
    "scatter": lambda x, y: x.at[INDEX].set(y[:2]),
    "dynamic_slice": lambda x: lax.dynamic_slice(x, (jnp.asarray(1), 0), (2, 3)),
    "dynamic_update_slice": lambda x, y: lax.dynamic_update_slice(
        x, y[:2], (jnp.asarray(1), 0)
    ),
}
MOVES = {
    **IDENTITIES,
    **RESHAPES,
    **PLACED,
    "broadcast_in_dim": lambda x: jnp.broadcast_to(x, (2, 3, 4)),
    "slice": lambda x: lax.slice(x, (0, 1), (3, 4)),
    "pad": lambda x: lax.pad(x, 0.0, [(1, 0, 1), (0, -1, 0)]),
    "concatenate": lambda x, y: jnp.concatenate([x, y]),
    "split": lambda x: jnp.split(x, 2, 1),
    "stack": lambda x, y: jnp.stack([x, y]),
    "unstack": lambda x: jnp.unstack(x),
    "tile": lambda x: jnp.tile(x, (1, 2)),
}
LINEAR = {
    **MOVES,
    "reduce_sum": lambda x: x.sum(0),
    "cumsum": lambda x: jnp.cumsum(x, 0),
    "reduce_window_sum": pooled(lax.add, 0.0),
    "convert_element_type": lambda x: x.astype(np.float32),
    "reduce_precision": lambda x: lax.reduce_precision(x, 8, 23),
    "select_n": lambda x, y: jnp.where(X > 0.7, x, y),
    "scatter-add": lambda x, y: x.at[INDEX].add(y[:2]),
}
ADDITIONS = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "neg": lambda x: -x,
}
SCALINGS = {"mul": lambda x, y: x * y, "div": lambda x, y: x / y}
PRODUCTS = {
    "dot_general": lambda x, y: x @ y.T,
    "conv_general_dilated": conv,
    "ragged_dot_general": lambda x, y: lax.ragged_dot(
        x, jnp.stack([y.T, 2 * y.T]), np.array([1, 2], np.int32)
    ),
}
REDUCTIONS = {
    "reduce_sum": lambda x: x.sum(0),
    "reduce_prod": lambda x: x.prod(0),
    "reduce_max": lambda x: x.max(0),
    "reduce_min": lambda x: x.min(0),
    "reduce_and": lambda x: (x > 0.5).all(0),
    "reduce_or": lambda x: (x > 0.5).any(0),
    "reduce_xor": lambda x: lax.reduce_xor(x > 0.5, axes=(0,)),
}
MAXIMA = {
    "reduce_max": lambda x: x.max(0),
    "reduce_min": lambda x: x.min(0),
    "reduce_window_max": pooled(lax.max, -jnp.inf),
    "reduce_window_min": pooled(lax.min, jnp.inf),
}
BOUNDS = {
    "max": lambda x, y: jnp.maximum(x, y),
    "min": lambda x, y: jnp.minimum(x, y),
    "clamp": lambda x, y: lax.clamp(y, x, y + 1),
}
SLOPED = {name: getattr(lax, name) for name in families.BOUNDED_SLOPE}
STEEP = {
    "pow": lambda x, y: x**y,
    "integer_pow": lambda x: x**3,
    "atan2": lambda x, y: jnp.arctan2(x, y),
    "rem": lambda x, y: lax.rem(x, y),
    "acosh": lambda x: lax.acosh(x + 1),
    "log2": jnp.log2,
}
STEEP |= {name: getattr(lax, name) for name in families.STEEP - STEEP.keys()}


def whole(f):
    """A function of integers, in steps along the real numbers."""
    return lambda *arrays: f(*(jnp.floor(8 * a).astype(int) for a in arrays))


FLAT = {
    name: whole(getattr(lax, name))
    for name in ("shift_left", "shift_right_logical", "shift_right_arithmetic")
}
FLAT |= {name: whole(getattr(lax, name)) for name in ("population_count", "clz")}
FLAT |= {
    "and": whole(lambda x, y: x & y),
    "or": whole(lambda x, y: x | y),
    "xor": whole(lambda x, y: x ^ y),
    "not": whole(lambda x: ~x),
    "nextafter": lambda x, y: lax.nextafter(x, y),
}
FLAT |= {name: getattr(lax, name) for name in ("sign", "floor", "ceil", "round")}
FLAT |= {
    name: getattr(lax, name) for name in ("is_finite", "eq", "ne", "lt", "le", "gt")
}
FLAT["ge"] = lax.ge
ELEMENTWISE = {**ADDITIONS, **SCALINGS, **BOUNDS, **SLOPED, **STEEP, **FLAT}
ELEMENTWISE |= {name: LINEAR[name] for name in (*families.CASTS, "copy")}
ELEMENTWISE["select_n"] = lambda x, y: jnp.where(x > 0.7, x, y)
CALLS = {
    "jit": jax.jit(lambda x: x + 1),
    "remat2": jax.checkpoint(lambda x: x + 1),
    "custom_jvp_call": jax.nn.relu,
    "custom_vjp_call": jax.custom_vjp(lambda x: x + 1),
}
CALLS["custom_vjp_call"].defvjp(lambda x: (x + 1, ()), lambda _, q: (q,))
LOOPS = {
    "scan": lambda x: lax.scan(lambda s, row: (s + row, row), x[0], x),
    "while": lambda x: lax.while_loop(lambda s: s.sum() < 9, lambda s: 2 * s, x),
    "cond": lambda x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
}
TABLE = {name: getattr(families, name) for name in families.__all__}
CASES = {
    "IDENTITIES": IDENTITIES, "RESHAPES": RESHAPES, "PLACED": PLACED, "MOVES": MOVES,
    "LINEAR": LINEAR, "ADDITIONS": ADDITIONS, "SCALINGS": SCALINGS,
    "PRODUCTS": PRODUCTS, "REDUCTIONS": REDUCTIONS, "MAXIMA": MAXIMA,
    "BOUNDS": BOUNDS, "BOUNDED_SLOPE": SLOPED, "STEEP": STEEP, "FLAT": FLAT,
    "ELEMENTWISE": ELEMENTWISE, "CALLS": CALLS, "LOOPS": LOOPS,
}  # fmt: skip


def of(cases):
    names = sorted(cases)  # every worker of a run must see the same order
    return pytest.mark.parametrize("f", [cases[name] for name in names], ids=names)


def arguments(f):
    """X, and Y if the function takes it."""
    try:
        jax.eval_shape(f, X)
    except TypeError:
        return X, Y
    return (X,)


def run(f, *arrays):
    return [np.asarray(out) for out in jax.tree.leaves(f(*map(jnp.asarray, arrays)))]


def names(jaxpr):
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
                yield from names(getattr(value, "jaxpr", value))


def test_names_without_a_case_are_primitives():
    known = {p.name for p in vars(primitives).values() if isinstance(p, core.Primitive)}
    assert UNREACHED - known <= VERSIONS
    parts = CASES.keys() | {"SUMS", "CASTS", "FUNCTIONS", "NONLINEAR"}
    assert parts | {"PLAIN_CALLS", "REMATS"} == TABLE.keys()


@pytest.mark.parametrize("family", CASES)
def test_every_member_is_a_primitive_that_some_function_uses(family):
    assert TABLE[family] - UNREACHED == CASES[family].keys()
    for name, f in CASES[family].items():
        jaxpr = jax.make_jaxpr(f)(*arguments(f)).jaxpr
        assert name in {*names(jaxpr)} or name in VERSIONS, name


APART = [
    "MOVES SUMS CASTS ADDITIONS SCALINGS PRODUCTS MAXIMA BOUNDS BOUNDED_SLOPE STEEP "
    "FLAT PLAIN_CALLS REMATS LOOPS",
    "IDENTITIES RESHAPES PLACED",
    "LINEAR ADDITIONS SCALINGS PRODUCTS MAXIMA NONLINEAR FLAT CALLS",
]


@pytest.mark.parametrize("apart", APART)
def test_families_that_share_nothing(apart):
    counts = Counter(it.chain.from_iterable(TABLE[name] for name in apart.split()))
    assert [name for name, count in counts.items() if count > 1] == []


@of(IDENTITIES)
def test_identities(f):
    np.testing.assert_array_equal(run(f, X), [X])


@of(RESHAPES)
def test_reshapes_have_every_element_once(f):
    (out,) = run(f, X)
    np.testing.assert_array_equal(np.sort(out.ravel()), np.sort(X.ravel()))


@of(MOVES)
def test_moves_make_no_new_values(f):
    """Apart from what is between and around, which is zero here."""
    given = arguments(f)
    outs = run(f, *given)
    assert outs and not set(np.concatenate([*map(np.ravel, outs)]).tolist()) - {
        0.0, *np.concatenate([*map(np.ravel, given)]).tolist(),
    }  # fmt: skip


@of(LINEAR | ADDITIONS)
def test_linear_in_all_operands(f):
    given = arguments(f)
    other = [a[:, ::-1] * 2 for a in given]
    both = run(f, *(a + b for a, b in zip(given, other, strict=True)))
    for total, a, b in zip(both, run(f, *given), run(f, *other), strict=True):
        np.testing.assert_array_equal(total, a + b)


@of(SCALINGS | PRODUCTS)
def test_products_are_linear_in_the_first_operand(f):
    both, a, b = run(f, X + Y, Y), run(f, X, Y), run(f, Y, Y)
    np.testing.assert_allclose(both[0], a[0] + b[0], rtol=1e-14)


@of({k: f for k, f in (SCALINGS | PRODUCTS).items() if k != "div"})
def test_products_but_div_are_linear_in_the_second(f):
    both, a, b = run(f, X, X + Y), run(f, X, X), run(f, X, Y)
    np.testing.assert_allclose(both[0], a[0] + b[0], rtol=1e-14)


@of(MAXIMA)
def test_maxima_are_one_of_their_elements(f):
    assert set(run(f, X)[0].ravel().tolist()) <= {*X.ravel().tolist()}
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(run(f, X - Y)[0], run(f, X)[0] - run(f, Y)[0])


@of(REDUCTIONS)
def test_reductions_say_their_axes(f):
    (step,) = [e for e in jax.make_jaxpr(f)(X).jaxpr.eqns
               if e.primitive.name in families.REDUCTIONS]  # fmt: skip
    assert tuple(step.params["axes"]) == (0,) and step.outvars[0].aval.shape == (4,)


@of(ELEMENTWISE)
def test_elementwise_is_the_same_one_by_one(f):
    """And of operands of the same shape has that shape."""
    given = arguments(f)
    (out,) = run(f, *given)
    single = [run(f, *one)[0] for one in zip(*map(np.ravel, given), strict=True)]
    assert out.shape == X.shape
    np.testing.assert_allclose(out.ravel(), single, rtol=1e-14)


def slopes(f, *given):
    """Derivatives along each operand, one by one."""
    for i in range(len(given)):
        tangents = [np.ones_like(a) * (i == k) for k, a in enumerate(given)]
        yield np.asarray(jax.jvp(f, given, tuple(tangents))[1])


@of({k: f for k, f in FLAT.items() if k != "nextafter"})
def test_flat_has_no_slope(f):
    """JAX gives `nextafter` no derivative at all."""
    for slope in slopes(f, *arguments(f)):
        assert slope.dtype == jax.dtypes.float0 or not slope.any()


FINITE = SLOPED | BOUNDS | ADDITIONS
EDGES = np.array([-3e300, -2.0, -1.0, -0.0, 0.0, 1.0, 2.0, 3e300])


@of(FINITE)
def test_slopes_that_are_bounded(f):
    edges = np.meshgrid(*[EDGES] * len(arguments(f)))
    for slope in slopes(f, *edges):
        assert np.isfinite(slope).all() and abs(slope).max() <= 2


@of({k: f for k, f in (STEEP | SCALINGS).items() if k != "rem"})
def test_slopes_that_are_not(f):
    edges = np.meshgrid(*[np.append(EDGES, [800.0, np.pi / 2])] * len(arguments(f)))
    found = [*slopes(f, *edges)]
    assert max(np.nan_to_num(abs(s), nan=np.inf).max() for s in found) > 1e15
