"""Python and C source compute what the graph computes, and any key is safe in them."""

import ctypes
import dataclasses
import itertools as it
import json
import keyword
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.flowgraph import _structure, trace
from sparsejax.flowgraph._ops import OPS

GOLDEN = Path(__file__).parent / "golden"
CC = shutil.which("gcc") or shutil.which("cc")
needs_compiler = pytest.mark.skipif(CC is None, reason="no C compiler")
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1e-3, 2.5, -7.25]
SPECIAL += [20.0, -20.0, 50.0, 1000.0, -1000.0, math.inf, -math.inf, math.nan]
HOSTILE = [
    "*/ syntax error /*",
    '"""',
    "\\",
    "lambda",
    "restrict",
    "math",
    "predict",
    "x",
    "",
    "7",
    "a b",
    "a_b",
    "a-b",
    "ünïcode",
    "line\nbreak",
    "out",
    "relu",
    "__import__('os')",
]


def run_python(source, rows):
    space = {}
    exec(compile(source, "predict.py", "exec"), space)
    return np.array([space["predict"](row) for row in np.asarray(rows).tolist()])


def run_c(source, rows, outputs, folder):
    code, library = folder / "predict.c", folder / "predict.so"
    code.write_text(source, encoding="utf-8")
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([CC, *flags, code, "-o", library, "-lm"], check=True)
    x = np.ascontiguousarray(rows, np.float32)
    out = np.zeros((len(x), outputs), np.float32)

    def address(a):
        return ctypes.c_void_p(a.ctypes.data)

    function = ctypes.CDLL(str(library)).predict_batch
    function(address(x), address(out), ctypes.c_long(len(x)))
    return out


def net(seed=0, sizes=(20, 7, 6, 3), density=0.3, activation=jax.nn.relu):
    rng = np.random.default_rng(seed)
    shapes = list(it.pairwise(sizes))
    kernels = [
        (rng.normal(size=s) * (rng.random(s) < density)).astype("f") for s in shapes
    ]
    biases = [rng.normal(size=s[1]).astype("f") for s in shapes]

    def fn(x):
        for i, (k, b) in enumerate(zip(kernels, biases, strict=True)):
            x = x @ k + b
            x = activation(x) if i < len(kernels) - 1 else x
        return x

    return fn, trace(fn, jnp.zeros(sizes[0]))


def every_op():
    """A graph whose outputs are all operations of three inputs."""
    _, like = net(sizes=(3, 2), density=1.0)
    nodes = [("input", [], [], 0.0, f"x[{i}]") for i in range(3)]
    for name, op in OPS.items():
        for count in [op.arity] if op.arity else [1, 2, 3]:
            nodes.append((name, list(range(count)), [1.0] * count, 0.0, name))
    size = len(nodes)
    return _structure.build(
        nodes,
        like,
        inputs=np.arange(3),
        outputs=np.arange(3, size),
        output_names=tuple(f"output_{i}" for i in range(size - 3)),
    )


def expected(graph, rows):
    """By NumPy in float64, node for node."""
    values = []
    with np.errstate(all="ignore"):
        for op, args, *_ in _structure.nodes(graph):
            if op == "input":
                values.append(rows[:, len(values)])
            else:
                values.append(OPS[op].numpy(*(values[a] for a in args)))
    return np.stack([values[o] for o in graph.outputs], axis=1)


def grid():
    """Every pair of special values, also with a third."""
    pairs = np.array(list(it.product(SPECIAL, SPECIAL)))
    third = np.array([SPECIAL[i % len(SPECIAL)] for i in range(len(pairs))])
    return np.concatenate([pairs, third[:, None]], axis=1)


def agree(found, wanted, graph, rows, **tolerance):
    for k, node in enumerate(graph.outputs.tolist()):
        message = f"{graph.ops[node]} of {graph.operands(node)[0]}"
        np.testing.assert_allclose(
            found[:, k], wanted[:, k], err_msg=message, **tolerance
        )


def test_every_operation_in_python_is_numpys():
    graph, rows = every_op(), grid()
    rows = rows + 0.0  # 1 / -0 is a matter of taste
    found = run_python(graph.to_python(), rows)
    agree(found, expected(graph, rows), graph, rows, rtol=1e-12, atol=1e-15)


@needs_compiler
def test_every_operation_in_c_is_numpys(tmp_path):
    graph, rows = every_op(), (grid() + 0.0).astype(np.float32)
    consts = np.array(graph.consts)
    consts[0] = 1 / 3  # no float32: then it computes in double
    source = dataclasses.replace(graph, consts=consts).to_c()
    assert "typedef double real;" in source
    found = run_c(source, rows, len(graph.outputs), tmp_path)
    with np.errstate(over="ignore"):
        wanted = expected(graph, rows.astype(float)).astype(np.float32)
    agree(found, wanted, graph, rows, rtol=1e-6, atol=1e-30)


@needs_compiler
def test_every_operation_in_float_c_is_jaxs(tmp_path):
    graph = every_op()
    rows = np.random.default_rng(0).uniform(0.05, 0.95, (50, 3)).astype(np.float32)
    found = run_c(graph.to_c(), rows, len(graph.outputs), tmp_path)
    agree(found, np.asarray(graph(rows)), graph, rows, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("level", ["scalar", "dot", "neuron"])
@pytest.mark.parametrize("activation", [jax.nn.relu, jnp.tanh, jax.nn.gelu])
def test_networks_are_equal_in_both_languages(activation, level, rng, tmp_path):
    fn, graph = net(activation=activation)
    graph = graph.at(level)
    x = rng.random((30, 20)).astype(np.float32)
    wanted = np.asarray(jax.vmap(fn)(x))
    np.testing.assert_allclose(run_python(graph.to_python(), x), wanted, atol=1e-5)
    if CC is not None:
        found = run_c(graph.to_c(), x, 3, tmp_path)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_operations_that_are_graphs_become_functions(rng, tmp_path):
    fn, graph = net(activation=jax.nn.silu)
    assert graph.functions
    source = graph.to_python()
    for name in graph.functions:
        assert f"def {name}" in source
    x = rng.normal(size=(20, 20)).astype(np.float32)
    wanted = np.asarray(jax.vmap(fn)(x))
    np.testing.assert_allclose(run_python(source, x), wanted, atol=1e-5)
    if CC is not None:
        found = run_c(graph.to_c(), x, 3, tmp_path)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_python_needs_the_standard_library_alone(rng):
    fn, graph = net()
    x = rng.random(20).astype(np.float32)
    program = (
        graph.to_python() + f"\nimport json\nprint(json.dumps(predict({x.tolist()})))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-"],
        input=program,
        capture_output=True,
        text=True,
        check=True,
    )
    np.testing.assert_allclose(json.loads(done.stdout), fn(x), atol=1e-5)


def test_python_refuses_another_number_of_inputs():
    space = {}
    exec(net()[1].to_python(), space)
    with pytest.raises(ValueError, match="expected 20 numbers, got 19"):
        space["predict"]([0.0] * 19)


def test_one_line_a_neuron_with_readable_names():
    kernel = jnp.array([[0.5, 0], [-0.25, 1], [0, 2]], jnp.float32)
    graph = trace(lambda x: jax.nn.relu(x @ kernel + 0.125), jnp.zeros(3))
    lines = graph.to_python().splitlines()
    body = [line.strip() for line in lines if " = " in line]
    names = [re.sub(r"\W+", "_", graph.keys[o]).strip("_") for o in graph.outputs]
    assert body == [
        f"{names[0]} = relu(0.125 + 0.5*x[0] - 0.25*x[1])",
        f"{names[1]} = relu(0.125 + x[1] + 2.0*x[2])",
    ]


def hostile():
    _, graph = net(sizes=(20, 9, 6, 3), density=0.9)
    keys = [HOSTILE[i % len(HOSTILE)] for i in range(len(graph))]
    names = ("*/", '"""\\', "ünïcode\n")
    return dataclasses.replace(graph, keys=tuple(keys), output_names=names)


def test_hostile_keys_are_safe(rng, tmp_path):
    graph = hostile()
    x = rng.random((5, 20)).astype(np.float32)
    wanted = np.asarray(graph(x))
    source = graph.to_python()
    np.testing.assert_allclose(run_python(source, x), wanted, atol=1e-5)
    names = re.findall(r"^    (\w+) = ", source, re.M)
    assert len(set(names)) == len(names)
    assert not any(keyword.iskeyword(name) for name in names)
    if CC is not None:
        found = run_c(graph.to_c(), x, 3, tmp_path)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("single", [True, False])
def test_constants_are_read_back_exactly(single, rng):
    kernel = rng.normal(size=(50, 1)) * 10.0 ** rng.integers(-30, 30, (50, 1))
    _, graph = net(sizes=(50, 1), density=1.0)
    coefs = kernel[:, 0].astype(np.float32) if single else kernel[:, 0]
    graph = dataclasses.replace(graph, coefs=coefs.astype(np.float64))
    kind = np.float32 if single else np.float64
    for source in (graph.to_python(), graph.to_c()):
        terms = re.findall(r"(-?) ?([\d.e+-]+)f?\*x\[(\d+)\]", source)
        found = {int(i): kind(sign + digits) for sign, digits, i in terms}
        read = dict(zip(graph.inputs.tolist(), graph.coefs.tolist(), strict=True))
        assert {i: float(v) for i, v in found.items()} == read


@pytest.mark.slow
def test_long_sums_compile_and_lines_are_short(rng, tmp_path):
    size = 5000  # terms of one sum: more than a parser can nest
    kernel = rng.normal(size=(size, 2)).astype(np.float32) / 70
    graph = trace(lambda x: jax.nn.relu(x @ kernel), jnp.zeros(size))
    x = rng.random((3, size)).astype(np.float32)
    wanted = np.maximum(x.astype(float) @ kernel.astype(float), 0)
    source = graph.to_python()
    np.testing.assert_allclose(run_python(source, x), wanted, atol=1e-5)
    assert max(map(len, source.splitlines())) <= 88
    if CC is not None:
        found = run_c(graph.to_c(), x, 2, tmp_path)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_inputs_with_names_of_their_own_keep_them():
    def fn(x):
        return jnp.tanh(x[:2] - 0.5 * x[2:])

    names = ["position", "velocity", "angle", "rate"]
    graph = trace(fn, jnp.zeros(4), names=names)
    source = graph.to_python()
    assert "velocity = x[1]" in source and "0.5*rate" in source
    x = np.array([[0.1, 0.2, -0.3, 0.4]], np.float32)
    np.testing.assert_allclose(run_python(source, x)[0], fn(x[0]), atol=1e-6)


@pytest.mark.parametrize("language", ["py", "c"])
def test_source_is_the_golden_file(language):
    # to accept a change: write `text` to the file and read the difference
    _, graph = net(sizes=(6, 3, 2), density=0.6)
    text = graph.to_python() if language == "py" else graph.to_c()
    assert text == (GOLDEN / f"tiny.{language}.txt").read_text()
