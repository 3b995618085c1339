"""Derivatives of convolutions and maxima that are fast on CPUs, against XLA's."""

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import sparsejax as sj
from sparsejax import circuits, interpret, models, relevance, sweep, train
from sparsejax.interpret import _convolution, _derivable
from sparsejax.models import convolve

NUMBERS = "NHWC", "HWIO", "NHWC"


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 2, 1), (7, 2, 3), (1, 2, 0)]
)
def test_convolutions_are_xlas(size, stride, padding, rng):
    x, kernel = rng.normal(size=(2, 9, 8, 3)), rng.normal(size=(size, size, 3, 4))
    x, kernel = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    want = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2,
        dimension_numbers=NUMBERS,
    )  # fmt: skip
    found = convolve(x, kernel, stride, padding)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(convolve(x[0], kernel, stride, padding), found[0])


@pytest.mark.parametrize(
    ("shape", "size", "units", "stride"),
    [
        ((2, 9, 8, 3), (3, 3), 6, 1), ((7, 11, 1), (3, 5), 12, 1),
        ((2, 1, 4, 3, 2), (4, 2), 6, 1), ((2, 9, 8, 5), (3, 3), 9, 1),
        ((7, 11, 6), (2, 7), 12, 1), ((2, 1, 4, 3, 6), (4, 2), 9, 1),
        ((2, 9, 8, 3), (3, 3), 6, 2), ((2, 9, 8, 3), (1, 1), 4, 1),
    ],
)  # fmt: skip
def test_derivatives_are_those_of_xla(shape, size, units, stride, rng):
    def ours(x, kernel):
        return convolve(x, kernel, stride)

    def xla(x, kernel):
        images = x.reshape(-1, *x.shape[-3:])
        y = _convolution._by_xla(images, kernel, stride)
        return y.reshape(*x.shape[:-3], *y.shape[1:])

    x, kernel = rng.normal(size=shape), rng.normal(size=(*size, shape[-1], units))
    pair = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    moves = jax.tree.map(jnp.cos, pair)
    want, slope = jax.jvp(xla, pair, moves)
    y, forward = jax.jvp(ours, pair, moves)
    y_back, back = jax.vjp(ours, *pair)
    close = {"rtol": 1e-4, "atol": 1e-4}
    for value in (ours(*pair), y, y_back):
        np.testing.assert_allclose(value, want, **close)
    np.testing.assert_allclose(forward, slope, **close)
    for found, theirs in zip(back(y), jax.vjp(xla, *pair)[1](y), strict=True):
        np.testing.assert_allclose(found, theirs, **close)


@pytest.mark.parametrize(
    ("channels", "units", "matrix"),
    [
        (2, 6, "36,24"),  # 3 rows of a window of 6; 4 places of 6 units
        (3, 9, "54,36"),
        (9, 10, "27,30"),  # 3 columns of 9 channels; 3 rows of 10 units
    ],
)
def test_the_product_that_derives(channels, units, matrix):
    x, kernel = jnp.ones((1, 6, 10, channels)), jnp.ones((3, 3, channels, units))
    program = jax.make_jaxpr(jax.jacfwd(convolve, argnums=1))(x, kernel)
    assert f",{matrix}]" in str(program) or f"[{matrix}]" in str(program)


@pytest.mark.parametrize(("channels", "units"), [(3, 6), (10, 9)])
@pytest.mark.parametrize("stride", [1, 2])
def test_images_on_explicit_meshes(channels, units, stride):
    mesh = jax.make_mesh((1,), ("images",), axis_types=(AxisType.Explicit,))
    x, kernel = jnp.ones((2, 6, 7, channels)), jnp.ones((3, 3, channels, units))

    def total(x, kernel):
        return nn.max_pool(plain(x, kernel, stride), (2, 2)).sum()

    slopes = jax.grad(interpret.derivable(total), (0, 1))
    want = slopes(x, kernel)
    with jax.set_mesh(mesh):
        found = slopes(jax.device_put(x, P("images")), jax.device_put(kernel, P()))
    assert [g.sharding.spec[0] for g in found] == ["images", None]
    jax.tree.map(np.testing.assert_array_equal, found, want)


def test_images_smaller_than_the_kernel_have_no_results():
    pair = jnp.ones((1, 2, 4, 2)), jnp.ones((3, 3, 2, 10))
    derived = interpret.derivable(lambda *pair: plain(*pair, padding="VALID"))
    assert derived(*pair).shape == (1, 0, 2, 10)
    for slope in jax.grad(lambda *pair: derived(*pair).sum(), (0, 1))(*pair):
        assert not slope.any()


def test_a_nan_takes_the_slope_of_its_window():
    x = jnp.array([[1.0, jnp.nan, 2.0, 3.0], [4.0, 0.0, 1.0, 3.0]])[None, ..., None]
    pool = interpret.derivable(lambda x: nn.max_pool(x, (2, 2), (2, 2)))
    slope = jax.grad(lambda x: pool(x).sum())(x)[0, ..., 0]
    assert slope.tolist() == [[0, 1, 0, 1], [0, 0, 0, 0]]


def test_few_units_of_no_images(rng):
    x, kernel = jnp.ones((0, 5, 5, 2)), jnp.ones((3, 2, 2, 6))
    _, back = jax.vjp(convolve, x, kernel)
    shapes = [g.shape for g in back(jnp.ones((0, 3, 4, 6)))]
    assert (
        shapes == [x.shape, kernel.shape] and not back(jnp.ones((0, 3, 4, 6)))[1].any()
    )


@pytest.mark.parametrize(("size", "widths"), [(6, (6,)), (7, (6,)), (7, (10, 9))])
def test_values_beside_derivatives_are_known_as_convolutions(size, widths, rng):
    """Of a value with a gradient; the bias too, whether tiles are whole or cut."""
    model = models.convnet(widths, 3)
    x = jnp.asarray(rng.random((size, size, 1)), jnp.float32)
    params = model.init(jax.random.key(0), x[None])
    params["conv_0"]["bias"] = jnp.linspace(-0.2, 0.2, widths[0])
    rules = relevance.Rules(kinds={"conv": relevance.gamma()})

    def value(params, x):
        return model.apply(params, x[None])[0, :1]

    def beside_a_gradient(params, x):
        return jax.value_and_grad(lambda x: value(params, x)[0])(x)[0][None]

    @jax.jit
    def shares():
        return [
            relevance.explain(
                f, params, x, target=0, baseline="zero", rules=rules
            ).input
            for f in (value, beside_a_gradient)
        ]

    want, found = shares()
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)


def plain(x, kernel, stride=1, padding="SAME", **knobs):
    """A convolution as libraries of layers write it."""
    strides = stride if isinstance(stride, tuple) else (stride, stride)
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=NUMBERS, **knobs
    )


def in_a_scan(x, kernel):
    return jax.lax.scan(lambda x, _: (plain(x, kernel), x.sum()), x, None, length=2)


def still(x, kernel):
    return jax.lax.while_loop(lambda x: x.sum() < 0, lambda x: plain(x, kernel), x)


@jax.custom_jvp
def own_rule(x, kernel):
    return plain(x, kernel)


own_rule.defjvp(lambda primals, tangents: (plain(*primals), 2 * plain(*primals)))

CHANGED = {
    "same": plain,
    "strided": lambda x, kernel: plain(x, kernel, 2, [(0, 1), (2, 0)]),
    "jit": jax.jit(plain),
    "remat": jax.checkpoint(plain),
    "nested": jax.jit(
        jax.checkpoint(
            lambda x, kernel: jax.vmap(plain, (0, None))(jnp.stack([x, -x]), kernel)
        )
    ),
    "scan": in_a_scan,
    "flax": lambda x, kernel: nn.Conv(4, (3, 3)).apply(
        {"params": {"kernel": kernel, "bias": jnp.arange(4.0)}}, x
    ),
}
KEPT = {
    "groups": lambda x, kernel: plain(x, kernel[:, :, :2], feature_group_count=2),
    "dilated": lambda x, kernel: plain(x, kernel, rhs_dilation=(2, 1)),
    "unequal": lambda x, kernel: plain(x, kernel, (1, 2)),
    "less": lambda x, kernel: plain(x, kernel, 1, [(-1, 0), (0, 0)]),
    "precise": lambda x, kernel: plain(x, kernel, precision="highest"),
    "another dtype": lambda x, kernel: plain(
        x.astype("bfloat16"),
        kernel.astype("bfloat16"),
        preferred_element_type="float32",
    ),
    "integers": lambda x, kernel: plain(
        *(a.astype("int32") for a in (x, kernel))
    ).astype(x.dtype),
    "channels first": lambda x, kernel: jax.lax.conv(
        x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1), (1, 1), "SAME"
    ),
    "own rule": own_rule,
    "while": lambda *pair: still(*map(jax.lax.stop_gradient, pair)),
    "none": lambda x, kernel: x * kernel.sum(),
}


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 6, 5, 4)), rng.normal(size=(3, 3, 4, 4)) / 6
    return jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)


def total(fn, *args):
    return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(fn(*args)))


@pytest.mark.parametrize("name", CHANGED)
def test_functions_and_gradients_stay_what_they_are(name, pair):
    def slopes(fn):
        return jax.jit(jax.value_and_grad(functools.partial(total, fn), (0, 1)))(*pair)

    changed = interpret.derivable(CHANGED[name])
    assert jax.eval_shape(changed, *pair) == jax.eval_shape(CHANGED[name], *pair)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, slopes(changed), slopes(CHANGED[name]))
    assert "_on_cpus" in str(jax.make_jaxpr(changed)(*pair))


@pytest.mark.parametrize("name", KEPT)
def test_other_steps_stay(name, pair):
    want, found = map(jax.make_jaxpr, (KEPT[name], interpret.derivable(KEPT[name])))
    primitives = [[e.primitive for e in f(*pair).jaxpr.eqns] for f in (want, found)]
    assert primitives[0] == primitives[1] and "_on_cpus" not in str(found(*pair))


@pytest.mark.parametrize(
    ("size", "strides", "padding", "is_small"),
    [
        ((2, 2), (2, 2), "VALID", True), ((3, 2), (2, 1), "SAME", True),
        ((3, 3), (1, 2), [(2, 0), (1, 1)], True), ((5, 4), (1, 1), "VALID", False),
    ],
)  # fmt: skip
def test_slopes_of_maxima_are_those_of_xla(size, strides, padding, is_small, pair):
    def fn(x, kernel):
        tied = jax.nn.relu(jnp.round(4 * x))  # many windows have several maxima
        x = x + jax.lax.stop_gradient(tied - x)
        return nn.max_pool(x, size, strides, padding) * kernel.sum()

    slope = jax.grad(functools.partial(total, fn), (0, 1))
    derived = jax.grad(functools.partial(total, interpret.derivable(fn)), (0, 1))
    programs = [str(jax.make_jaxpr(f)(*pair)) for f in (derived, jax.jacfwd(fn))]
    assert ("select_and_" in programs[0]) != is_small and "select_and_" in programs[1]
    for found in (derived, interpret.canonical(slope)):
        for ours, want in zip(jax.jit(found)(*pair), slope(*pair), strict=True):
            np.testing.assert_allclose(ours, want, rtol=1e-5, atol=1e-5)
    forward = [jax.jvp(f, pair, pair) for f in (fn, interpret.derivable(fn))]
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), *forward)


@pytest.mark.parametrize("name", [*CHANGED, "channels first", "none"])
def test_gradients_have_their_axes_as_xla_likes_them(name, pair):
    slope = jax.grad(functools.partial(total, (CHANGED | KEPT)[name]), (0, 1))
    changed = interpret.canonical(slope)
    for ours, want in zip(jax.jit(changed)(*pair), jax.jit(slope)(*pair), strict=True):
        np.testing.assert_allclose(ours, want, rtol=1e-4, atol=1e-4)
    for fn, count in (slope, 1), (changed, 0):
        text = str(jax.make_jaxpr(fn)(*pair))
        specs = set(re.findall(r"lhs_spec=\((.+?)\), rhs_spec=\((.+?)\)", text))
        others = specs - {("0, 3, 1, 2", "3, 2, 0, 1")}
        assert bool(others) == bool(count and name != "none")


def test_other_devices_have_convolutions_of_their_own(pair, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "another")
    assert "_on_cpus" not in str(jax.make_jaxpr(interpret.derivable(plain))(*pair))


class Net(nn.Module):
    """As a user writes it."""

    @nn.compact
    def __call__(self, x):
        h = checkpoint_name(nn.relu(nn.Conv(4, (3, 3))(x)), "hidden")
        return nn.Conv(4, (3, 3))(h).mean((1, 2))


def in_loops():
    """Analyses that take gradients of a user's function inside of a loop."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(4, 5, 5, 3)), jnp.float32)
    y = np.array([0, 1, 2, 3])
    params = Net().init(jax.random.key(0), x[:1])
    apply, ones = sj.masked(Net().apply), sj.masks.ones(Net().apply, params, x)
    key, target = jax.random.key(1), lambda y: y[:, 0].sum()

    def loss(nodes):
        return train.cross_entropy(apply(params, ones._replace(nodes=nodes), x), y)

    def fit():
        return train.fit(
            apply, params, ones, (x, y), optimizer=optax.sgd(0.1), batch_size=2,
            epochs=1, key=key,
        )  # fmt: skip

    given = Net().apply, params, x
    rows = jnp.ones((2, 4)).at[0, 1].set(0)
    return {
        "fit": fit,
        "integrated": lambda: relevance.integrated_gradients(*given, target=target),
        "smoothgrad": lambda: relevance.smoothgrad(
            *given, key=key, target=target, samples=2
        ),
        "expected": lambda: relevance.expected_gradients(
            *given, x[None], key=key, target=target, samples=2
        ),
        "sweep": lambda: sweep.evaluate(
            jax.value_and_grad(loss), {"hidden": rows}, progress=False
        ),
        "circuits": lambda: circuits.integrated(loss, ones.nodes, steps=2),
        "inputs": lambda: circuits.integrated_inputs(
            loss, ones.nodes, *given, x + 1, of=target, steps=2
        ),
        "optimal": lambda: circuits.optimal(
            lambda h: target(Net().apply(params, x + h)), jnp.zeros(()), steps=2
        ),
    }


@pytest.mark.parametrize("name", in_loops())
def test_gradients_in_loops_have_fast_convolutions(name, monkeypatch):
    made = []

    def product(x, kernel):
        made.append(x.shape)
        return _convolution._by_patches(x, kernel)

    def transposed(equation):
        found = swapped(equation)
        made.extend([equation] * (found is not None))
        return found

    swapped = _derivable._transposed
    monkeypatch.setattr(_convolution, "_by_tiles", product)
    monkeypatch.setattr(_derivable, "_transposed", transposed)
    in_loops()[name]()
    assert made
