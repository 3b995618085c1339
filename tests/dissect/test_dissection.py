"""A layer of a small network, dissected in two passes and by its parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax import dissect
from sparsejax.data import Labeled, Labels

LABELS = Labels(
    ("", "left", "right", "day"), ("object", "scene"), np.array([-1, 0, 0, 1])
)
QUANTILE = 0.1


def net(params, x):
    """Two convolutions of one image, (8, 8, 3) to (4, 4, 5), and a dense layer."""
    kernels, last = params

    def conv(h, kernel, stride):
        return jax.lax.conv_general_dilated(
            h[None], kernel, (stride, stride), "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )[0]  # fmt: skip

    h = checkpoint_name(jax.nn.relu(conv(x, kernels[0], 1)), "first")
    h = checkpoint_name(jax.nn.relu(conv(h, kernels[1], 2)), "second")
    checkpoint_name(h[0], "row")
    return checkpoint_name(h.mean((0, 1)) @ last, "logits")


@pytest.fixture
def params(rng):
    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), "float32")

    return (draw(3, 3, 3, 4), draw(3, 3, 4, 5)), draw(5, 6)


def examples(rng, n=11):
    x = rng.random((n, 8, 8, 3)).astype(np.float32)
    pixels = rng.integers(0, 3, size=(n, 2, 16, 16)).astype(np.int32)
    whole = rng.choice([0, 3], size=(n, 1)).astype(np.int32)
    return x, pixels, whole


def batches(data, size):
    cuts = range(0, len(data[0]), size)
    return [tuple(part[i : i + size] for part in data) for i in cuts]


def run(params, data, node="second", **knobs):
    data = data if isinstance(data, list) else [data]
    knobs = {"quantile": QUANTILE, "progress": False} | knobs
    return dissect.dissect(net, params, node, data, LABELS, **knobs)


def assert_equal(a, b):
    for x, y in zip((*a.tally, a.thresholds), (*b.tally, b.thresholds)):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(a.exemplars, b.exemplars)


def by_parts(params, data, node="second", rotation=None):
    def read(x):
        return sj.activations(net)(params, x)[1][node]

    acts = np.stack([read(x) for x in data[0]])
    acts = acts if rotation is None else acts @ rotation.astype(np.float32)
    limits = dissect.thresholds(acts, QUANTILE)
    return acts, limits, dissect.tally([(acts, *data[1:])], limits, LABELS)


@pytest.mark.parametrize("node", ["first", "second", "logits"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.defaults
def test_the_parts_together(params, node, turned, rng, getkey):
    data = examples(rng)
    units = {"first": 4, "second": 5, "logits": 6}[node]
    rotation = dissect.rotation(getkey(), units) if turned else None
    acts, limits, tally = by_parts(params, data, node, rotation)
    found = run(params, data, node, rotation=rotation, exemplars=3)
    np.testing.assert_allclose(found.thresholds, limits, rtol=1e-5, atol=1e-6)
    for a, b in zip(found.tally, tally):
        np.testing.assert_array_equal(a, b)
    peaks = acts.reshape(len(acts), -1, units).max(1)
    order = np.argsort(-peaks, axis=0, kind="stable")[:3].T
    np.testing.assert_array_equal(found.exemplars, order)
    np.testing.assert_array_equal(found.scores(), dissect.iou(tally))
    scores = dissect.normalized(tally, QUANTILE, "image")
    np.testing.assert_array_equal(found.scores("image", normalized=True), scores)
    named = found.table("image", normalized=True, categories=["object"])
    assert named.label == dissect.assign(scores[:, :3], LABELS_OF_OBJECTS).label


LABELS_OF_OBJECTS = Labels(("", "left", "right"), ("object",), np.array([-1, 0, 0]))


def test_batches_and_chunks_change_nothing(params, rng, monkeypatch):
    data = examples(rng)
    whole = run(params, data)
    for size in (1, 4, 11):
        assert_equal(whole, run(params, batches(data, size)))
    monkeypatch.setattr("sparsejax.dissect._dissection._HELD", 11 * 80 - 1)
    assert_equal(whole, run(params, batches(data, 4)))  # in two passes
    for chunk in (1, 3, 11):
        other = run(params, batches(data, 4), batch_size=chunk)
        assert_equal(whole._replace(thresholds=other.thresholds), other)
        np.testing.assert_allclose(whole.thresholds, other.thresholds, rtol=1e-5)


class Lazy:
    """Reads its batches anew every time, and counts how often."""

    def __init__(self, data):
        self.data, self.times = data, 0

    def __iter__(self):
        self.times += 1
        return iter(batches(self.data, 4))


@pytest.mark.parametrize(("held", "times"), [(11 * 80, 3), (11 * 80 - 1, 4)])
def test_what_is_read_and_how_often(held, times, params, rng, monkeypatch):
    lazy = Lazy(examples(rng))
    wanted = run(params, lazy.data)
    monkeypatch.setattr("sparsejax.dissect._dissection._HELD", held)
    found = dissect.dissect(
        net, params, "second", lazy, LABELS, quantile=QUANTILE, count=11, progress=False
    )
    assert_equal(found, wanted)
    assert lazy.times == times  # twice to look at, for the thresholds, for the counts
    with pytest.raises(ValueError, match="only once, but are needed twice"):
        dissect.dissect(net, params, "second", iter([]), LABELS)


def test_masked_networks(params, rng):
    data = examples(rng)
    masks = sj.masks.ones(net, params, data[0][0])
    masks.nodes["second"] = masks.nodes["second"].at[2].set(0)
    fn = sj.bind(sj.masked(net), masks)
    found = dissect.dissect(
        fn, params, "second", [data], LABELS, quantile=QUANTILE, progress=False
    )
    dense = run(params, data)
    rest = [0, 1, 3, 4]
    np.testing.assert_array_equal(found.tally.both[rest], dense.tally.both[rest])


def test_double_precision_is_kept(params, rng, getkey):
    data = examples(rng)
    rotation = dissect.rotation(getkey(), 5)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    data = data[0].astype(np.float64), *data[1:]
    with jax.enable_x64(True):
        found = run(params, data, rotation=rotation)
        acts = np.stack([sj.activations(net)(params, x)[1]["second"] for x in data[0]])
    limits = dissect.thresholds(acts @ rotation, QUANTILE)
    assert found.thresholds.dtype == np.float64
    np.testing.assert_allclose(found.thresholds, limits, rtol=1e-13)


def test_low_precision_is_widened(params, rng):
    data = examples(rng)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    x = jnp.asarray(data[0]).astype(jnp.bfloat16)
    found = run(half, (x, *data[1:]))
    assert found.thresholds.dtype == np.float32 and found.tally.active.any()


INPUTS = [  # what batches hold, or batches themselves
    (lambda x, p, w: [({"image": x}, p, w)], "x must be one array, got a dict of 'im.*"
     "close over all but"),
    (lambda x, p, w: [((x, x), p, w)], "x must be one array, got a tuple of 2; close"),
    (lambda x, p, w: [([x, x], p, w)], "x must be one array, got a list of 2; close"),
    (lambda x, p, w: [(None, p, w)], "x must be one array, got None"),
    (lambda x, p, w: [x], "a batch must be .examples, label maps, .* got float32 of"),
    (lambda x, p, w: [(x, p)], "a batch must be .* got a tuple of 2"),
    (lambda x, p, w: [{"x": x, "maps": p, "whole": w}], "must be .* a dict of 'x', 'm"),
    (lambda x, p, w: (x, p, w), "a batch must be .* got float32 of shape"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), INPUTS)
def test_inputs_that_are_no_array(params, rng, make, message):
    data = make(*examples(rng))
    with pytest.raises(ValueError, match=message):
        dissect.dissect(net, params, "second", data, LABELS, quantile=QUANTILE)


@pytest.mark.parametrize("node", [["second"], ("first", "second"), None, 1])
def test_a_node_is_one_name(params, rng, node):
    with pytest.raises(ValueError, match="node must be one name, got"):
        run(params, examples(rng), node)


def test_tokens_and_what_is_labelled_at_once(rng):
    """Integers are looked up by the function; a `Labeled` is one batch."""
    table = jnp.asarray(rng.normal(size=(7, 4)), "float32")

    def fn(params, x):
        return checkpoint_name(params[x], "embedded").sum()

    _, pixels, whole = examples(rng)
    x = rng.integers(0, 7, (11, 4, 4))

    def run(data):
        return dissect.dissect(
            fn, table, "embedded", data, LABELS, quantile=QUANTILE, progress=False
        )

    limits = dissect.thresholds(np.asarray(table)[x], QUANTILE)
    np.testing.assert_array_equal(run([(x, pixels, whole)]).thresholds, limits)
    assert_equal(run(Labeled(x, pixels, whole)), run([(x, pixels, whole)]))


def test_bad_input(params, rng):
    data = x, pixels, whole = examples(rng)

    def fails(message):
        return pytest.raises(ValueError, match=message)

    with fails("no activation 'third'; it names 'first', 'second'"):
        run(params, data, "third")
    with fails(r"'row' of one example has shape \(4, 5\)"):
        run(params, data, "row")
    with fails("no examples"):
        run(params, [])
    with fails("no examples"):
        run(params, (x[:0], pixels[:0], whole[:0]))
    with fails("11 examples, 10 label maps"):
        run(params, (x, pixels[1:], whole))
    with fails(r"rotation has shape \(3, 3\), but 'second' has 5 units"):
        run(params, data, rotation=np.eye(3))
    with fails("quantile 0.001 of 176 values is less than one"):
        run(params, data, quantile=0.001)
    with fails("quantile must be between 0 and 1, got 1"):
        run(params, data, quantile=1)
    with fails("batches have 11 examples, but count is 12"):
        run(params, data, count=12)
    with fails(r"examples have shapes \(4, 8, 3\) and \(8, 8, 3\)"):
        run(params, [data, (x[:, :4], pixels, whole)])
    with fails("batch_size and exemplars must be 1 or more"):
        run(params, data, batch_size=0)
    beyond = x, pixels + 1, whole
    with fails("example 0: label map has label 3, but the table goes from 0 .* to 2"):
        dissect.dissect(
            net, params, "second", [beyond], LABELS_OF_OBJECTS, quantile=QUANTILE
        )
    broken = jax.tree.map(lambda leaf: leaf.at[..., 1].set(jnp.nan), params)
    with fails("activations of 5 units are not finite, unit 0 first"):
        run(broken, data)


@pytest.mark.parametrize("node", ["second", "logits"])
def test_a_function_of_batches_given_batches_of_one(params, rng, node):
    def one(params, x):
        return jax.vmap(net, (None, 0))(params, x[None])[0]

    data, knobs = [examples(rng)], {"quantile": QUANTILE, "progress": False}
    found = dissect.dissect(one, params, node, data, LABELS, **knobs)
    np.testing.assert_allclose(
        found.thresholds, run(params, data, node).thresholds, rtol=1e-5
    )
