"""A traced graph computes what its function computes."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from sparsejax import flowgraph, models
from sparsejax.flowgraph import _evaluate as evaluate

KEY = jax.random.key(0)
SQUARE = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)


def assert_same(fn, shape, atol=2e-6, low=0.0, high=1.0, **options):
    """The graph equals the function on random inputs, batched and in float64 NumPy."""
    graph = flowgraph.trace(fn, np.zeros(shape, "f4"), **options)
    x = np.random.default_rng(1).uniform(low, high, (20, *shape)).astype("f4")
    both = jax.jit(lambda x: (jax.vmap(fn)(x).reshape(20, -1), graph(x)))
    expected, found = map(np.asarray, both(x))
    np.testing.assert_allclose(found, expected, atol=atol, rtol=1e-5)
    slow = evaluate.in_numpy(graph, x)[:, graph.outputs]
    np.testing.assert_allclose(slow, expected, atol=atol, rtol=1e-5)
    assert len(set(graph.keys)) == len(graph)
    return graph


# ---- Networks


class Convolutions(nn.Module):
    """Stride, dilation, groups, padding, both poolings, batch norm, a residual add."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), strides=2, padding="SAME")(x)
        x = nn.BatchNorm(use_running_average=True)(x)
        x = nn.relu(x)
        y = nn.Conv(4, (3, 3), kernel_dilation=2, feature_group_count=2)(x)
        x = nn.relu(x + y)
        x = nn.max_pool(x, (2, 2), strides=(2, 2), padding="SAME")
        x = nn.avg_pool(x, (2, 2), padding="SAME")
        return nn.Dense(3)(x.reshape(x.shape[0], -1))


class Transposed(nn.Module):
    """A convolution whose input is dilated."""

    @nn.compact
    def __call__(self, x):
        x = nn.ConvTranspose(2, (3, 3), strides=(2, 2))(x)
        return nn.Dense(2)(nn.relu(x).mean((1, 2)))


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.gelu(nn.LayerNorm()(nn.Dense(4)(x)))
        return nn.softmax(nn.Dense(3)(x))


@pytest.mark.parametrize(
    "module, shape",
    [
        (Convolutions(), (9, 8, 2)),
        (Transposed(), (4, 3, 1)),
        (Normalized(), (5,)),
        (nn.Sequential([nn.Conv(2, (3,), padding=1), nn.relu]), (6, 1)),
    ],
    ids=["convolutions", "transposed", "normalized", "one-dimensional"],
)
@pytest.mark.defaults
def test_linen_modules(module, shape):
    with jax.numpy_dtype_promotion("standard"):
        params = jax.jit(module.init)(KEY, np.zeros((1, *shape), "f4"))

    def wave(leaf):
        return 0.1 * np.cos(np.arange(leaf.size, dtype="f4"))

    def scale(leaf):
        return np.asarray(leaf) + wave(leaf).reshape(leaf.shape)

    params = jax.tree.map(scale, params)  # statistics that are not 0 and 1
    with jax.numpy_dtype_promotion("standard"):  # Flax divides floats by integers
        assert_same(lambda x: module.apply(params, x[None])[0], shape)


def test_nnx_modules():
    rngs = nnx.Rngs(0)
    network = nnx.Sequential(nnx.Linear(4, 6, rngs=rngs), nnx.relu,
                             nnx.Linear(6, 2, rngs=rngs))  # fmt: skip
    assert_same(lambda x: network(x), (4,))


def test_equinox_modules():
    keys = jax.random.split(jax.random.key(0), 3)
    assert_same(eqx.nn.MLP(4, 2, 8, 2, key=keys[0]), (4,))
    network = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 3, 3, key=keys[1]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Linear(12, 3, key=keys[2]),
        ]
    )
    assert_same(lambda x: network(x), (1, 6, 6))


@pytest.mark.parametrize("model, shape", [
    (models.mlp((6, 5), 3), (7,)), (models.convnet((3, 2), 4), (7, 7, 1)),
])  # fmt: skip
def test_shipped_models(model, shape):
    params = jax.jit(model.init)(KEY, np.zeros(shape, "f4"))
    graph = assert_same(lambda x: model.apply(params, x), shape)
    assert any(key.startswith("hidden_0[") for key in graph.keys)
    assert any(key.startswith("hidden_0.in[") for key in graph.keys)


ACTIVATIONS = (
    "relu relu6 elu selu celu leaky_relu softplus silu gelu sigmoid hard_tanh tanh "
    "hard_sigmoid hard_silu log_sigmoid soft_sign squareplus mish sparse_plus "
    "sparse_sigmoid softmax log_softmax standardize glu identity logsumexp"
).split()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_jax(name):
    activation = getattr(jax.nn, name)
    graph = assert_same(lambda x: activation(3 * x @ SQUARE), (4,), low=-1.0, atol=1e-5)
    if name in flowgraph.BOXES | {"relu", "sigmoid", "tanh", "gelu"}:
        assert len(graph) == 12  # input, sum and one box for each unit


@pytest.mark.parametrize(
    "fn",
    {
        "where": lambda x: jnp.where(x > 0.5, x**3, jnp.sin(x)),
        "clip": lambda x: jnp.clip(x, 0.2, 0.7) + jnp.clip(x, x[0], 0.5),
        "maximum": lambda x: jnp.maximum(x, x[::-1]) - jnp.minimum(x, 0.3),
        "division": lambda x: x / (1 + jnp.abs(x[::-1])) + 2 / (x + 1) + x / 3,
        "powers": lambda x: (x + 1) ** -2 + (x + 1) ** 0.5 + x**4 + 2.0**x + x**2.0,
        "cumsum": lambda x: (
            jnp.cumsum(x @ SQUARE)[::2] + lax.cumsum(x, reverse=True)[1:3]
        ),
        "scatter": lambda x: x.at[1].set(3.0) + x.at[jnp.array([0, 2])].get()[0],
        "padding": lambda x: jnp.pad(jnp.roll(x, 1), (1, 2), constant_values=2.0),
        "cropping": lambda x: lax.pad(x, 0.5, [(-1, 2, 1)]),
        "products": lambda x: x * x.sum() + jnp.sum(jnp.tanh(x) * x),
        "scores": lambda x: jax.nn.softmax(jnp.outer(x, x @ SQUARE)) @ x,
        "logic": lambda x: ((x > 0.3) & ~(x > 0.6) | (x == 0.1)).astype(x.dtype),
        "extremes": lambda x: jnp.stack([x.max(), x.min(), x[:2].max(), x.mean()]),
        "remat": jax.checkpoint(lambda x: jnp.tanh(x @ SQUARE)),
        "einsum": lambda x: jnp.einsum("ij,kj,i->k", SQUARE, SQUARE, x),
        "dynamic slice": lambda x: lax.dynamic_slice(x, (jnp.int32(1),), (2,)),
        "masked attention": lambda x: jax.nn.softmax(
            jnp.where(jnp.tri(2, dtype=bool), x.reshape(2, 2), -jnp.inf)
        ),
        "float16": lambda x: (x.astype(jnp.bfloat16) * 0).astype(jnp.float32) + x,
        "nothing": lambda x: x,
        "constant": lambda x: jnp.arange(3.0) + 0 * x[0],
    }.items(),
    ids=lambda pair: pair[0],
)
def test_functions(fn):
    assert_same(fn[1], (4,))


def test_a_vmap_inside_and_shapes_of_any_rank():
    graph = assert_same(jax.vmap(lambda x: jnp.tanh(x @ SQUARE)), (2, 4))
    assert graph.output_names[:2] == ("output_0_0", "output_0_1")
    assert assert_same(lambda x: x.sum(), (3, 1)).output_names == ("output",)
    assert_same(lambda x: x**2, ())


def test_float64_to_the_last_digit():
    with jax.enable_x64(True):
        kernel = np.random.default_rng(0).normal(size=(5, 3))

        def fn(x):
            return jnp.tanh(x @ kernel) @ kernel.T

        graph = flowgraph.trace(fn, np.zeros(5))
        x = np.random.default_rng(1).uniform(size=(9, 5))
        np.testing.assert_allclose(graph(x), jax.vmap(fn)(x), atol=1e-14)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(1, 3))
def test_random_sparse_networks(seed, density, depth):
    rng = np.random.default_rng(seed)
    widths = rng.integers(1, 6, depth + 1)
    layers = [
        (
            (rng.normal(size=(a, b)) * (rng.random((a, b)) < density)).astype("f4"),
            (rng.normal(size=b) * (rng.random(b) < 0.5)).astype("f4"),
        )
        for a, b in zip(widths[:-1], widths[1:], strict=True)
    ]

    def fn(x):
        for kernel, bias in layers[:-1]:
            x = jax.nn.relu(x @ kernel + bias)
        return x @ layers[-1][0] + layers[-1][1]

    graph = flowgraph.trace(fn, np.zeros(widths[0], "f4"))
    x = rng.normal(size=(7, widths[0])).astype("f4")
    found = evaluate.in_numpy(graph, x)[:, graph.outputs]
    np.testing.assert_allclose(found, jax.jit(jax.vmap(fn))(x), atol=1e-4)


# ---- What is not in a graph


def test_zeros_are_gone_constants_folded_dead_nodes_removed_equal_ones_shared():
    first = jnp.array([[1.0, 2.0, 0.0, 1.0], [0.0, 3.0, 0.0, 0.0], [5.0, 0, 0, 5.0]])
    bias = jnp.array([0.5, 1.0, 2.0, 0.5])  # unit 2 is constant, 3 equals 0
    second = jnp.array([[1.0], [0.0], [2.0], [4.0]])  # unit 1 is dead

    def fn(x):
        return jax.nn.relu(x @ first + bias) @ second

    graph = assert_same(fn, (3,))
    assert graph.ops == ("input", "input", "affine", "relu", "affine")
    assert graph.inputs.tolist() == [0, 2]
    assert graph.consts.tolist() == [0, 0, 0.5, 0, 4.0]
    args, coefs = graph.operands(4)
    assert (args.tolist(), coefs.tolist()) == ([3], [5.0])


def test_a_linear_chain_is_one_dot_product():
    graph = assert_same(lambda x: ((x @ SQUARE) * 2 + 1) @ SQUARE - x[0], (4,))
    assert graph.ops == ("input",) * 4 + ("affine",) * 4


def test_a_linear_bottleneck_is_not_multiplied_out():
    wide, narrow = jnp.ones((20, 2)), jnp.ones((2, 20))
    graph = assert_same(lambda x: (x @ wide) @ narrow, (20,), atol=1e-4)
    # two equal units of 20 weights each are one, and so are its twenty readers
    assert (graph.num_vertices, graph.num_edges) == (22, 21)


def test_a_sum_that_two_read_is_computed_once():
    for relu in (jax.nn.relu, lambda h: jnp.sin(h) - jnp.cos(h)):

        def fn(x, relu=relu):
            return (lambda h: relu(h) + h)(x @ SQUARE)

        graph = assert_same(fn, (4,))
        assert (np.diff(graph.starts) == 4).sum() == 4


def test_fully_pruned_outputs_are_constants():
    kernel = jnp.array([[1.0, 0.0], [2.0, 0.0]])
    graph = assert_same(lambda x: x @ kernel + jnp.array([0.0, 7.0]), (2,))
    assert graph.ops[graph.outputs[1]] == "const"
    assert graph.keys[graph.outputs[1]] == "output[1]"
    empty = assert_same(lambda x: x @ (0 * kernel), (2,))
    assert (len(empty.inputs), empty.num_edges) == (0, 0)


# ---- Names


def test_keys_do_not_depend_on_the_weights():
    def keys(kernel):
        def fn(x):
            return jnp.tanh(jax.nn.relu(x @ kernel) @ SQUARE)

        return set(flowgraph.trace(fn, jnp.zeros(4)).keys)

    dense = keys(SQUARE)
    layers = ("x", "relu_0", "relu_0.in", "tanh_0", "tanh_0.in")
    assert dense == {f"{layer}[{i}]" for i in range(4) for layer in layers}
    assert keys(jnp.where(jnp.eye(4) > 0, SQUARE, 0)) == dense
    assert keys(jnp.zeros((4, 4)).at[1, 2].set(2.0)) < dense


def test_named_activations_name_their_nodes():
    def fn(x):
        h = checkpoint_name(jax.nn.relu(x @ SQUARE), "first")
        return checkpoint_name(h @ SQUARE, "sums") * 2

    keys = flowgraph.trace(fn, jnp.zeros(4)).keys
    assert {"first[2]", "first.in[2]", "sums[0]", "output[0]"} <= set(keys)


def test_names_of_inputs_and_outputs():
    def names(shape, **options):
        return flowgraph.trace(
            lambda x: x.sum(), jnp.zeros(shape), **options
        ).input_names

    assert names((4,)) == ("x[0]", "x[1]", "x[2]", "x[3]")
    assert names((4,), image=(2, 2))[3] == "x[1,1]"
    assert names((4,), image=(2, 2), names="px{i}: {r}/{c}")[3] == "px3: 1/1"
    assert names((1, 2, 2), names="{r}{c}{ch}")[1] == "001"
    assert names((2,), names=["cart", "pole"]) == ("cart", "pole")
    labeled = flowgraph.trace(lambda x: x, jnp.zeros(2), output_names=["a", "b"])
    assert labeled.output_names == ("a", "b")


def test_the_same_box_is_one_function():
    def slope(s):
        return lambda x: jax.nn.leaky_relu(x, s)

    def fn(x):
        return slope(0.1)(slope(0.2)(slope(0.1)(x) @ SQUARE) @ SQUARE)

    graph = assert_same(fn, (4,), low=-1.0)
    assert list(graph.functions) == ["leaky_relu", "leaky_relu_2"]
    assert graph.ops.count("leaky_relu") == 8


@pytest.mark.parametrize("approximate", [True, False])
def test_gelu_is_recognised_though_jax_writes_it_out(approximate):
    def fn(x):
        return jax.nn.gelu(x @ SQUARE, approximate=approximate)

    graph = assert_same(fn, (4,), low=-2.0)
    assert len(graph) == 12 and len(graph.functions) == 1
    assert graph.keys[-1] == f"{graph.ops[-1]}_0[3]"
    low, high = graph.bounds("interval")[1:3]
    assert -0.18 < low[graph.outputs].min() < 0 < high[graph.outputs].max()


def test_what_only_looks_like_gelu_is_left_alone():
    def fn(x):
        return 0.5 * x * (1 + jnp.tanh(0.8 * (x + 0.05 * x**3)))

    assert not assert_same(fn, (4,)).functions

    def two(x):
        return x * jax.scipy.special.erf(x[::-1])

    assert not assert_same(two, (4,)).functions


def test_calls_can_be_made_boxes():
    @jax.jit
    def wiggle(x):
        return x * jnp.sin(x)

    def fn(x):
        return wiggle(x @ SQUARE)

    assert assert_same(fn, (4,)).ops.count("mul") == 4
    named = flowgraph.BOXES | {"wiggle"}
    graph = assert_same(fn, (4,), boxes=named)
    assert graph.ops[-4:] == ("wiggle",) * 4


def test_a_box_may_hold_what_is_computed_again():
    @jax.jit
    def silu(x):
        return x * jax.checkpoint(jax.nn.sigmoid)(x)

    assert assert_same(lambda x: silu(x), (4,)).ops[-4:] == ("silu",) * 4


def test_a_call_that_mixes_elements_is_no_box():
    @jax.jit
    def softplus(x):
        return x + x.sum()

    assert not assert_same(lambda x: softplus(x), (4,)).functions


def test_rules_can_be_added():
    def sort_two(tracer, step, arguments):
        (x,) = arguments
        groups = np.arange(2)[None]
        pair = [tracer.gather(step, op, x, groups) for op in ("min", "max")]
        return [flowgraph.RULES["concatenate"](tracer, _two(step), pair)[0]]

    def _two(step):
        return step._replace(run=lambda *parts: [np.concatenate(parts)])

    graph = assert_same(lambda x: jnp.sort(x), (2,), rules={"sort": sort_two})
    assert set(graph.ops) == {"input", "min", "max"}


def test_keys_stay_when_a_factor_becomes_constant():
    def keys(mask):
        def fn(x):
            h = (x @ (SQUARE * mask) + 1) * jax.nn.sigmoid(x @ SQUARE)
            return (h * jnp.tanh(h)) @ SQUARE

        graph = flowgraph.trace(fn, jnp.zeros(4))
        return {k for k, op in zip(graph.keys, graph.ops, strict=True) if op == "mul"}

    assert {f"mul_1[{i}]" for i in range(4)} <= keys(0.0) < keys(1.0)


def test_keys_stay_when_a_shared_sum_keeps_one_weight():
    def fn(kernel):
        return lambda x: (lambda h: jnp.sin(h) * jnp.cos(h))(x @ kernel)

    one = flowgraph.trace(fn(jnp.eye(4) * SQUARE), jnp.zeros(4))
    assert set(one.keys) == set(flowgraph.trace(fn(SQUARE), jnp.zeros(4)).keys)


def test_a_name_used_twice_counts_its_uses():
    def fn(kernel):
        def run(x):
            h = checkpoint_name(jax.nn.relu(x @ kernel), "h")
            return checkpoint_name(jax.nn.relu(h @ SQUARE), "h")

        return flowgraph.trace(run, jnp.zeros(4)).keys

    assert {"h[3]", "h#2[3]"} <= set(fn(SQUARE))
    assert {k for k in fn(0.0 * SQUARE) if k.startswith("h[")} == set()


# ---- Integers, truths, indices


@pytest.mark.parametrize(
    "fn",
    {
        "concatenate": lambda x: jnp.concatenate(
            [(x > 0).astype(jnp.int32), jnp.array([3], jnp.int32)]
        ),
        "pad truths": lambda x: jnp.pad(x > 0, 1).astype(x.dtype),
        "set a truth": lambda x: (x > 0).at[0].set(True).astype(x.dtype),
        "fill": lambda x: x.at[jnp.array([1, 9])].get(mode="fill", fill_value=7.0),
        "to truth": lambda x: x.astype(bool).astype(x.dtype),
        "tiled": lambda x: jnp.tile((x > 0).astype(jnp.int32), 2).astype(x.dtype),
        "pooled": lambda x: lax.reduce_window(
            (x > 0).astype(jnp.int32), np.int32(-(2**31)), lax.max, (2,), (2,), "VALID"
        ).astype(x.dtype),
        "binary logarithm": lambda x: jnp.log2(x + 2.0),
        "opposite": lambda x: (~(x > 0.2)).astype(jnp.int32).astype(x.dtype),
        "count": lambda x: jnp.sum((x > 0).astype(jnp.int32)).astype(x.dtype) / 2,
        "all": lambda x: jnp.all(x > -0.5).astype(x.dtype) + jnp.any(x > 0.9),
        "product": lambda x: jnp.prod(x) + jnp.prod(x.reshape(2, 2), axis=0),
        "away from zero": lambda x: lax.round(4 * x),
        "to even": lambda x: jnp.round(4 * x),
        "not a number": lambda x: jnp.where(jnp.isnan(jnp.sqrt(x)), -1.0, x),
        "finite": lambda x: jnp.where(jnp.isfinite(jnp.log(jnp.abs(x) - 0.5)), 1.0, x),
        "log of sum": lambda x: jax.nn.logsumexp(x / jnp.sqrt(1 + x.sum() ** 2)),
        "barrier": lambda x: sum(lax.optimization_barrier((x, x * 2))),
        "print": lambda x: (jax.debug.print("{}", x[0]), x)[1],
    }.items(),
    ids=lambda pair: pair[0],
)
def test_truths_integers_and_places(fn, capsys):
    with jax.numpy_dtype_promotion("standard"):
        assert_same(fn[1], (4,), low=-1.0)


@pytest.mark.parametrize(
    "case",
    {
        "index": (lambda x: jnp.ones(5)[(x > 0).astype(int)], "depends on the input"),
        "slice": (
            lambda x: lax.dynamic_slice(x, ((x[0] > 0).astype(int),), (2,)),
            "'dynamic_slice' at .* depends on the input",
        ),
        "half": (lambda x: jnp.sum(x > 0) // 2, "computes in int32"),
        "bits": (lambda x: (x > 0).astype(int) & 1, "'and' .* computes in int32"),
        "wrap": (lambda x: (x > 0).astype(jnp.int8) * jnp.int8(9), "computes in int8"),
        "truncate": (lambda x: ((x > 0) * 2.7).astype(int), "turns numbers into int32"),
        "quantise": (lambda x: x.astype(jnp.float8_e4m3fn), "into float8"),
        "outside": (
            lambda x: x.at[jnp.array([9])].get(mode="fill"), "reads outside"
        ),
        "finite": (lambda x: jnp.nan_to_num(jnp.sqrt(x)), "operand is inf"),
        "zero": (lambda x: x / jnp.array([0.0, 1, 2, 3]), "divides by a constant"),
        "infinite": (lambda x: jnp.where(x > 0, x, -jnp.inf).max(), "operand is -inf"),
        "text": (lambda x: "a", "cannot be traced"),
        "wide": (lambda x: jnp.broadcast_to(x[:, None], (4, 10**6)) * 1, "elements"),
        "long": (lambda x: jnp.cumsum(jnp.tile(x, 1000)), "edges or elements.*at "),
    }.items(),
    ids=lambda pair: pair[0],
)  # fmt: skip
def test_what_reals_cannot_do_is_refused(case):
    _, (fn, message) = case
    with jax.numpy_dtype_promotion("standard"):
        with pytest.raises(ValueError, match=message):
            flowgraph.trace(fn, jnp.zeros(4))


def test_half_precision_inputs_are_evaluated_in_single():
    def fn(x):
        return x.astype(jnp.float32) * 1000.7

    graph = flowgraph.trace(fn, jnp.zeros(3, jnp.float16))
    x = jnp.full(3, 100.0, jnp.float16)
    assert graph(x).tolist() == pytest.approx([100070.0] * 3)


def test_a_box_has_one_result():
    @jax.jit
    def swish(x):
        return x * jnp.exp(x), x * 2

    assert not assert_same(lambda x: swish(x)[0] + swish(x)[1], (4,)).functions


KEPT = np.array([1.0, 0.0], "f4")
BROKEN = np.array([[1.0, np.nan], [2.0, np.inf]], "f4")


@pytest.mark.parametrize("fn, expected", [
    (lambda x: x @ jnp.where(KEPT == 0, 0, BROKEN), [3, 0]),
    (lambda x: jnp.where(KEPT == 0, 0, jnp.log(x - KEPT + 1)), [0, 0]),
    (lambda x: KEPT * jnp.log(x - KEPT + 1), [0, 0]),
    (lambda x: KEPT * (x + BROKEN[1] - 2), [1, 0]),
    (lambda x: (x + BROKEN[1] - 2) @ jnp.diag(KEPT), [1, 0]),
    (lambda x: jax.nn.relu(KEPT * (x + BROKEN[1] - 2)), [1, 0]),
])  # fmt: skip
def test_what_is_removed_may_be_anything(fn, expected):
    """Masked by a choice or by a product with 0 or 1; never not a number."""
    graph = flowgraph.trace(fn, np.zeros(2, "f4"))
    assert graph(np.array([1.0, 1.0], "f4")).tolist() == expected


# ---- Bad input


@pytest.mark.parametrize(
    "fn, x, message",
    [
        (lambda x: jnp.sort(x), np.zeros(3, "f4"), r"'sort' at .*test_trace.py:\d+"),
        (lambda x: lax.while_loop(lambda c: False, jnp.sin, x), np.zeros(3, "f4"),
         r"'while' at .*test_trace.py.*rewrite that line"),
        (lambda x: lax.fori_loop(0, 2, lambda i, x: jnp.sin(x), x), np.zeros(3, "f4"),
         r"'scan' at .*test_trace.py.*pass sj.unrolled\(fn\): its 2 steps"),
        (lambda x: (x, x), np.zeros(3, "f4"), r"returns 2 arrays.*fn\(x\)\[0\]"),
        (lambda x: x, np.zeros(3, int), "dtype int64.*float array"),
        (lambda x: x, np.zeros((0, 3), "f4"), "empty, of shape"),
        (lambda x: x[:0], np.zeros(3, "f4"), "returns an empty array"),
        (lambda x: x if x[0] > 0 else -x, np.zeros(3, "f4"), "traced.*values"),
        (lambda x: x[x > 0], np.zeros(3, "f4"), "traced.*values"),
        (lambda x: x @ jnp.full((3, 2), jnp.nan), np.zeros(3, "f4"),
         r"'dot_general' at .* a weight that is nan \(6 of 6"),
        (lambda x: x @ jnp.full((3, 2), jnp.inf), np.zeros(3, "f4"), "is inf"),
        (lambda x: x * jnp.nan, np.zeros(3, "f4"), "a factor that is nan"),
        (lambda x: jax.nn.relu(x + jnp.nan), np.zeros(3, "f4"), "not a number.*max at"),
        (lambda x: jax.nn.relu(x + jnp.inf), np.zeros(3, "f4"), "not finite whatever"),
        (lambda x: x * 0 + jnp.nan, np.zeros(3, "f4"), "output.* not finite whatever"),
        (lambda x: x.astype(int).astype("f4"), np.zeros(3, "f4"), "turns numbers into"),
        (lambda x: x @ jnp.ones((2000, 2000)), np.zeros(2000, "f4"),
         "needs 4,000,000 edges.*limit is 2,000,000.*max_nodes"),
    ],
)  # fmt: skip
def test_what_is_no_flow_graph_is_refused(fn, x, message):
    with pytest.raises(ValueError, match=message):
        flowgraph.trace(fn, x)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"domain": (1.0, 0.0)}, "domain of input 0 is empty"),
        ({"domain": (np.zeros(3), 1.0)}, "shapes.*expected.*4"),
        ({"output_names": ["a"] * 4}, "output_names has 'a' more than once"),
        ({"names": ["a"] * 4}, "names has 'a' more than once"),
        ({"image": (3, 3)}, "image .*4 elements"),
        ({"names": "{row}"}, "pattern"),
        ({"names": ["a"]}, "1 names for 4 inputs"),
        ({"output_names": ["a"]}, "1 output_names for 4 outputs"),
        ({"max_nodes": 3}, "4 elements, max_nodes is 3"),
        ({"max_nodes": 6}, "more than 6 nodes, at .*test_trace.py.*prune more"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        flowgraph.trace(lambda x: jnp.tanh(x), jnp.zeros(4), **options)
