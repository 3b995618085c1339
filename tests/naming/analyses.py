"""Every analysis on `sj.named(model)` of every library, as a table.

A cell is an analysis that runs on a model and keeps a law, after what the lines that it
was refused with say to do; or one clear line. The table with all of them:

    PYTHONPATH=. python tests/naming/analyses.py [ROW or COLUMN ...]
"""

import itertools as it
import os
import re
import sys
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import open_models
import optax
import peer_models

import sparsejax as sj
from sparsejax import (
    data,
    dissect,
    features,
    flowgraph,
    hypercube,
    masks,
    prune,
    relevance,
    sweep,
    train,
    trees,
    weights,
)


class Row(NamedTuple):
    """A model, and which of its activations the analyses are about.

    Attributes:
        title: library and model.
        unit: hidden units before a dense layer.
        source, target, kernel: of a linear path: its ends, and whose weights it has.
        rows: what tokens are looked up to, if the model has any.
        first: whether kernels have their outputs first.
        looped: whether the units are in a scan.
    """

    title: str
    unit: str
    source: str | None
    target: str
    kernel: str
    rows: str | None = None
    first: bool = False
    looped: bool = False


def _hidden(title, unit, out, kernel="", suffix="/kernel", **more):
    """A row whose linear path is from the hidden units to what reads them."""
    return Row(title, unit, unit, f"{out}:post", (kernel or out) + suffix, **more)


OWN = {
    "linen_cnn": Row(
        "Linen: CNN, batch norm", "params/Dense_0:post", None, "params/Conv_0:post",
        "params/Conv_0/kernel",
    ),
    "linen_transformer": _hidden(
        "Linen: transformer", "params/block_0/wi:post", "params/block_0/wo",
        rows="params/embed:out",
    ),
    "linen_scan": _hidden(
        "Linen: nn.scan of blocks", "params/blocks/wi:post", "params/blocks/wo",
        rows="params/embed:out", looped=True,
    ),
    "nnx_cnn": Row(
        "NNX: CNN, batch norm", "fc:post", None, "conv1:post", "conv1/kernel/value"
    ),
    "nnx_vit": _hidden(
        "NNX: vision transformer", "blocks/0/fc1:post", "blocks/0/fc2",
        suffix="/kernel/value",
    ),
    "nnx_scan": _hidden(
        "NNX: nnx.scan of blocks", "blocks/fc1:post", "blocks/fc2",
        suffix="/kernel/value", looped=True,
    ),
    "equinox_cnn": _hidden(
        "Equinox: CNN, channels first", "layers/7/layers/0:post", "layers/7/layers/1",
        suffix="/weight", first=True,
    ),
    "equinox_transformer": _hidden(
        "Equinox: transformer", "blocks/0/mlp/layers/0:post", "blocks/0/mlp/layers/1",
        suffix="/weight", rows="embed:out", first=True,
    ),
    "scanned_gpt": _hidden(
        "bare JAX: GPT, lax.scan", "blocks/w1:post", "blocks/w2", suffix="",
        rows="embed:out", looped=True,
    ),
}  # fmt: skip
PEERS = {
    "haiku_cnn": Row(
        "Haiku: CNN, channels first", "c1:post", "c0:post", "c1:post", "c1/w"
    ),
    "haiku_transformer": _hidden(
        "Haiku: transformer", "mlp_0/~/linear_0:post", "mlp_0/~/linear_1",
        "mlp_0%2F~%2Flinear_1", suffix="/w", rows="embed:out",
    ),
    "keras_cnn": Row("Keras 3: CNN, batch norm", "c1:post", None, "c0:post",
                     "c0%2Fkernel"),
    "keras_transformer": _hidden(
        "Keras 3: transformer", "wi0:post", "wo0", suffix="%2Fkernel", rows="embed:out"
    ),
    "equimo_vit": _hidden(
        "equimo: vision transformer", "blocks/0/blocks/0/mlp/fc1:post",
        "blocks/0/blocks/0/mlp/fc2", suffix="/weight", first=True,
    ),
}  # fmt: skip
ROWS = OWN | PEERS


@cache
def model(name: str) -> tuple[Callable, Any, Any]:
    """`fn(params, x)` of a batch, its parameters and the batch."""
    if name in OWN:
        fn, params, (x,), *_ = open_models.model(name)
    else:
        fn, params, x, _ = getattr(peer_models, name)()
    return fn, params, jnp.asarray(x)


@cache
def _named(name: str) -> Callable:
    rows = ROWS[name].rows
    return sj.named(
        model(name)[0], lambda p: (p.is_default and p.alias != rows) or p.name == rows
    )


class Case:
    """A named model as an analysis gets it: as it is, or mended.

    Attributes:
        row: of the table.
        fn, one: the model of a batch and of one example, with names.
        params, x, y: what it is given, and labels.
        unit, source, target: names, as `fn` has them.
    """

    def __init__(self, name: str, mends: tuple[str, ...] = ()):
        self.row, self.mends = ROWS[name], mends
        _, self.params, self.x = model(name)
        self.fn, self.at = _named(name), None
        ends = self.row.unit, self.row.source, self.row.target
        if "unrolled" in mends:
            self.fn = sj.unrolled(self.fn)
            ends = [end and end + "[0]" * self.row.looped for end in ends]
        self.unit, self.source, self.target = ends
        if "at" in mends:
            self.at = self.row.rows
        if "lookup" in mends:
            self._begin_at(self.row.rows)

    def _begin_at(self, rows):
        fn, ids = self.fn, self.x
        self.x = jax.jit(sj.activations(fn, rows))(self.params, ids)[1][rows]
        self.fn = lambda p, h: sj.edit(fn, {rows: lambda _: h})(p, ids[: len(h)])

    @cached_property
    def one(self):
        fn = self.fn
        return lambda p, x: jax.tree.map(lambda out: out[0], fn(p, x[None]))

    @cached_property
    def y(self):
        out = jax.eval_shape(self.fn, self.params, self.x)
        return jax.random.randint(key(3), out.shape[:-1], 0, out.shape[-1])

    @cached_property
    def ones(self):
        return masks.ones(self.fn, self.params, self.x)

    @cached_property
    def loss(self):
        apply, y = sj.masked(self.fn), self.y
        return lambda m: train.cross_entropy(apply(self.params, m, self.x), y)

    def without(self, count=2):
        """Masks that remove the first hidden units."""
        mask = self.ones.nodes[self.unit].at[..., :count].set(0)
        return self.ones._replace(nodes={**self.ones.nodes, self.unit: mask})


def key(number=0):
    return jax.random.key(number)


def close(a, b, within=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, within, within), a, b)


# The columns: each runs an analysis on a case and checks what its docstring says.


def run_masks(case):
    """masks of ones change nothing, random ones are masks of weights, then of nodes"""
    drawn = masks.bernoulli(key(), case.ones, 0.6)

    def both(params, drawn, ones, x):
        apply, late = sj.masked(case.fn), ones._replace(nodes=drawn.nodes)
        after = apply(masks.apply(params, drawn.weights), late, x)
        whole = apply(params, ones, x), case.fn(params, x)
        return apply(params, drawn, x), after, whole

    out, after, (ones, plain) = jax.jit(both)(case.params, drawn, case.ones, case.x)
    close((out, ones), (after, plain))
    assert np.abs(out - plain).max() > 1e-3


def run_activations(case):
    """the output is the model's, and all are finite"""
    out, acts = jax.jit(sj.activations(case.fn))(case.params, case.x)
    assert case.unit in acts and all(np.isfinite(h).all() for h in acts.values())
    close(out, jax.jit(case.fn)(case.params, case.x))


def run_edit(case):
    """units set to 0 are units that are masked"""

    def both(params, off, x):
        zero = sj.edit(case.fn, {case.unit: lambda h: 0 * h})(params, x)
        return zero, sj.masked(case.fn)(params, off, x)

    off = case.without(10**6)
    close(*jax.jit(both)(case.params, off, case.x))


def run_fit(case):
    """the loss falls, and removed weights are 0"""
    drawn = masks.bernoulli(key(1), case.ones.weights, 0.5)
    state, history = train.fit(
        sj.masked(case.fn), case.params, case.ones._replace(weights=drawn),
        (case.x, case.y), optimizer=optax.sgd(0.01), batch_size=len(case.x), epochs=3,
        key=key(),
    )  # fmt: skip
    assert history["loss"][-1] < history["loss"][0]
    gone = jax.tree.map(lambda m, p: np.where(m == 0, p, 0), drawn, state.params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gone))


def run_remove(case):
    """as many weights of every layer stay as was said"""
    half = prune.remove(prune.magnitude(case.params), case.ones.weights, 0.5)
    sizes, counts = masks.sizes(half), masks.counts(half)
    assert counts == {name: prune.kept_count(sizes[name], 0.5) for name in sizes}


def run_lottery(case):
    """half of the weights are left, finite, and the others 0"""
    apply, optimizer = sj.masked(case.fn), optax.sgd(0.01)

    def steps(state, mask, stop):
        return train.fit(
            apply, None, case.ones._replace(weights=mask), (case.x, case.y),
            optimizer=optimizer, batch_size=len(case.x), steps=stop or 2, key=key(),
            state=state,
        )[0]  # fmt: skip

    start = train.init(case.params, optimizer, key=key())
    *_, ticket = prune.lottery(steps, start, case.ones.weights, rounds=1, fraction=0.5)
    assert abs(masks.density(ticket.mask) - 0.5) < 0.02
    pairs = zip(jax.tree.leaves(ticket.trained.params), jax.tree.leaves(ticket.mask))
    for leaf, mask in pairs:
        assert np.isfinite(np.asarray(leaf)).all()
        assert not np.any(np.where(mask == 0, leaf, 0))


def run_sweep(case):
    """the losses are those of masks one by one"""
    drawn = masks.bernoulli(key(), case.ones, 0.7, (3,))
    losses = sweep.evaluate(case.loss, drawn, progress=False)
    last = case.loss(jax.tree.map(lambda m: m[-1], drawn))
    close(losses[-1], last)


def run_hypercube(case):
    """Shapley values of units add up to what all of them do"""

    ones, loss = case.ones, case.loss

    def fn(bits):
        mask = ones.nodes[case.unit].at[..., :3].multiply(bits)
        return loss(ones._replace(nodes={**ones.nodes, case.unit: mask}))

    losses = hypercube.evaluate(fn, 3, progress=False)
    close(hypercube.shapley(losses).sum(), losses[-1] - losses[0])
    close(losses[-1], loss(ones))


def run_explain(case):
    """relevance of input, biases and constants adds up to the output"""

    def explain(params, x):
        return relevance.explain(
            case.one, params, x, target=lambda out: out.reshape(-1)[1],
            baseline="zero", at=case.at,
        )  # fmt: skip

    found = explain(case.params, case.x[0])
    assert np.abs(found.residual()) < 1e-5 * found.magnitude()
    assert np.any(found.input)


def run_render(case):
    """a unit's value is its mean in its picture"""
    x = case.x[0]
    pictures = features.render(
        case.one, case.params, case.unit, [0], key=key(), size=x.shape, steps=2,
        parametrization=features.pixels(), transform=features.compose(), progress=False,
    )  # fmt: skip
    acts = sj.activations(case.one, case.unit, units=True)
    h = acts(case.params, pictures.images[0])[1][case.unit]
    close(pictures.values[0], h.reshape(-1, h.shape[-1])[:, 0].mean())


def run_dissect(case):
    """a quarter of a unit's values is above its threshold"""
    labels = data.Labels(("", "label"), ("color",), np.array([-1, 0]))
    count = len(case.x)
    pixels, whole = np.ones((count, 1, 8, 8), int), np.zeros((count, 0), int)
    limits = dissect.dissect(
        case.one, case.params, case.unit, [(case.x, pixels, whole)], labels,
        quantile=0.25, progress=False,
    ).thresholds  # fmt: skip
    acts = jax.jit(sj.activations(case.fn, case.unit))(case.params, case.x)[1]
    h = np.asarray(acts[case.unit]).reshape(-1, len(limits))
    assert ((h > limits).mean(0) <= 0.25 + 1e-6).all()


def run_expand(case):
    """what a layer does next is its kernel, up to a factor for each unit"""
    ours = weights.expand(
        case.one, case.params, case.source, case.target, size=case.x.shape[1:]
    ).weights
    kernel = np.asarray(trees.by_path(case.params)[case.row.kernel])
    kernel = kernel[0] if "[0]" in case.target else kernel
    kernel = np.moveaxis(kernel, 0, -1) if case.row.first else kernel
    a, b = (np.reshape(k, (-1, kernel.shape[-1])) for k in (ours, kernel))
    alike = (a * b).sum(0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)
    close(np.abs(alike), np.ones_like(alike))


def run_trace(case):
    """the graph computes what the model does"""
    x = case.x[0]
    graph = flowgraph.trace(lambda x: case.one(case.params, x), x)
    with constants(-1):  # a graph's weights are its program, and faster so
        values = graph(x)
    close(values, jax.jit(case.one)(case.params, x).reshape(-1), 1e-4)


def run_spade(case):
    """half of every kernel is left"""
    mask = prune.spade(
        case.one, case.params, case.x[0], key=key(), density=0.5, samples=4,
        augment=lambda key, x: x + 0.1 * jax.random.normal(key, x.shape),
    ).mask  # fmt: skip
    full = [np.asarray(leaf) for leaf in jax.tree.leaves(mask) if np.ndim(leaf)]
    assert full and all(abs(leaf.mean() - 0.5) < 0.1 for leaf in full)


def run_remove_nodes(case):
    """the outputs are those of units replaced by their means"""
    off = case.without()
    small = prune.remove_nodes(
        case.fn, case.params, {case.unit: off.nodes[case.unit]}, case.x
    )

    def both(params, small, off, x):
        h = sj.activations(case.fn, case.unit)(params, x)[1][case.unit]
        means = h.mean(range(h.ndim - 1)), h.mean(0)  # by shared bias, or by place
        ablated = [sj.masked(case.fn, ablate={case.unit: m}) for m in means]
        return case.fn(small, x), [apply(params, off, x) for apply in ablated]

    out, ablated = jax.jit(both)(case.params, small, off, case.x)
    assert min(np.abs(out - other).max() for other in ablated) < 1e-5


def run_compact(case):
    """the smaller network computes what the masked one does"""
    off = case.without()
    small = prune.compact(case.fn, case.params, off, case.x)
    apply = sj.masked(case.fn)
    both = jax.jit(lambda p, q, off, x: (small.fn(q, x), apply(p, off, x)))
    close(*both(case.params, small.params, off, case.x))
    assert small.report.after < small.report.before


COLUMNS = {
    name.removeprefix("run_"): run
    for name, run in globals().copy().items()
    if name.startswith("run_")
}


class Cell(NamedTuple):
    """What became of an analysis: the lines that it was refused with, and the end."""

    lines: tuple[str, ...]
    worked: bool
    mends: tuple[str, ...]


# What a line says to do, by a word of it.
MENDS = {"sj.unrolled(fn)": "unrolled", "at='params/": "at", "named lookup": "lookup"}


def cell(column: str, row: str) -> Cell:
    """Run an analysis on a model, and again as its lines say.

    Anything but a `ValueError` of one line is raised.
    """
    lines, mends = [], []
    for _ in range(len(MENDS) + 1):
        try:
            _as_users_have_it(COLUMNS[column], row, tuple(mends))
        except ValueError as error:
            lines.append(str(error))
            new = [m for word, m in MENDS.items() if word in lines[-1]]
            new = [m for m in new if m not in mends and (ROWS[row].rows or m[0] == "u")]
            if "\n" in lines[-1] or not new:
                return Cell(tuple(lines), False, tuple(mends))
            mends.append(new[0])
        else:
            return Cell(tuple(lines), True, tuple(mends))
    raise AssertionError(lines)


def _as_users_have_it(run, row: str, mends):
    """Dtypes mix; and nothing that is compiled may hold more than 2 kB of constants."""
    with (
        constants(2048),
        jax.numpy_dtype_promotion("standard"),
        jax.debug_key_reuse(False),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", "A large amount of constants")
        run(Case(row, mends))


@contextmanager
def constants(limit: int):
    """JAX warns of programs that hold more bytes than that; -1 for never."""
    name = "jax_captured_constants_warn_bytes"
    before = getattr(jax.config, name)
    jax.config.update(name, limit)
    try:
        yield
    finally:
        jax.config.update(name, before)


def short(line: str) -> str:
    """A line without folders of this machine, and with what it was caused by cut."""
    root = str(Path(__file__).parents[2]) + "/"
    line = re.sub(r"/\S*/site-packages/", "", line.replace(root, ""))
    return re.sub(r"/\S*?/(?=(keras|equimo|haiku)/)", "", line)


def table(rows, columns) -> str:
    """All cells in Markdown, and under them the lines."""
    notes: dict[str, int] = {}
    head = ["model", *(c.replace("_", " ") for c in columns)]
    text = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for row in rows:
        entries = [ROWS[row].title]
        for column in columns:
            result = cell(column, row)
            print(row, column, result, file=sys.stderr, flush=True)
            numbers = [notes.setdefault(short(x), len(notes) + 1) for x in result.lines]
            sign = "worked" if result.worked else "a line"
            entries.append(" ".join([sign, *(f"({n})" for n in numbers)]))
        text.append(f"| {' | '.join(entries)} |")
    laws = [f"- {c.replace('_', ' ')}: {COLUMNS[c].__doc__}." for c in columns]
    lines = [f"{number}. {line}" for line, number in notes.items()]
    return "\n".join(it.chain(text, ["", *laws, "", *lines]))


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    asked = sys.argv[1:]
    print(
        table(
            [row for row in ROWS if row in asked or not {*asked} & {*ROWS}],
            [c for c in COLUMNS if c in asked or not {*asked} & {*COLUMNS}],
        )
    )
