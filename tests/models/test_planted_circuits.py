"""Planted networks against slow NumPy in float64: every subset, and every edge."""

import itertools as it

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.models import planted

pytestmark = pytest.mark.usefixtures("float64")
CASES = {
    "gates": lambda: planted.gates(),
    "threshold of 1": lambda: planted.threshold(1),
    "threshold of 4": lambda: planted.threshold(4),
    "2 of 4": lambda: planted.adder(4, 2),
    "1 of 3": lambda: planted.adder(3, 1),
    "3 of 3": lambda: planted.adder(3, 3),
    "modulo 13": lambda: planted.addition(13),
    "modulo 4": lambda: planted.addition(4, 1),
    "brackets": lambda: planted.brackets(4),
    "induction": lambda: planted.induction(4, 7),
    "induction, twice": lambda: planted.induction(3, 5, backup=True),
}


def in_numpy(made):
    return made._replace(params=jax.tree.map(np.asarray, made.params))


@pytest.fixture(scope="module", params=CASES)
def network(request, float64):
    return in_numpy(CASES[request.param]())


def relu(x):
    return np.maximum(x, 0)


def forward(network, kept):
    """Outputs with some nodes at zero, `{name: mask}`, one example after the other."""
    names, params = set(network.nodes), network.params
    if names == {"neurons"}:
        return np.stack([products(params, pair, kept["neurons"]) for pair in network.x])
    if "hidden_0" in names:
        return np.stack([layers(params, x, kept) for x in np.asarray(network.x)])
    logits = np.stack([attention(params, ids, kept) for ids in np.asarray(network.x)])
    if np.ndim(network.y) == 1:
        return logits[:, -1]
    n = logits.shape[1] // 2
    return logits[:, n + 1 : 2 * n]


def layers(params, x, kept):
    for i in range(len(params)):
        x = x @ params[f"dense_{i}"]["kernel"] + params[f"dense_{i}"]["bias"]
        if f"hidden_{i}" in kept:
            x = relu(x) * kept[f"hidden_{i}"]
    return x


def products(params, pair, kept):
    total = np.zeros(params["out"].shape[2])
    for f, u in np.ndindex(params["out"].shape[:2]):
        waves = params["embed"][pair, f]
        square = (
            waves[0] @ params["read"][0, :, u] + waves[1] @ params["read"][1, :, u]
        ) ** 2
        total += (
            square
            * np.broadcast_to(kept, (len(params["out"]), 8))[f, u]
            * params["out"][f, u]
        )
    return total


def attention(params, ids, kept):
    """Logits (positions, vocabulary) of a transformer without norm and sink."""
    h = params["embed"]["token"][ids] + params["embed"]["position"][: len(ids)]
    for i in range(len(params) - 2):
        block, masks = params[f"block_{i}"], np.reshape(kept[f"z_{i}"], -1)
        size = block["out"]["kernel"].shape[0] // len(masks)
        written = 0
        for j, keep in enumerate(masks):
            part = slice(j * size, (j + 1) * size)
            query, key, value = (
                h @ block[k]["kernel"][:, part] + block[k]["bias"][part]
                for k in ("query", "key", "value")
            )
            for t in range(len(ids)):
                scores = key[: t + 1] @ query[t] / np.sqrt(size)
                weights = np.exp(scores - scores.max())
                z = weights / weights.sum() @ value[: t + 1]
                row = np.zeros_like(h)
                row[t] = keep * z @ block["out"]["kernel"][part]
                written = written + row
        h = h + written
        if "up" in block:
            up, down = block["up"], block["down"]
            neurons = relu(h @ up["kernel"] + up["bias"]) * kept[f"mlp_{i}"]
            h = h + neurons @ down["kernel"] + down["bias"]
    return h @ params["unembed"]["kernel"] + params["unembed"]["bias"]


def error(outputs, y):
    y = np.asarray(y)
    wrong = outputs.argmax(-1) != y if y.dtype.kind == "i" else abs(outputs - y) > 0
    return wrong.any()


def of_bits(nodes, bits):
    ends = np.cumsum([0, *(mask.size for mask in nodes.values())])
    parts = {k: bits[a:b] for k, a, b in zip(nodes, ends, ends[1:], strict=False)}
    return {k: np.reshape(part, nodes[k].shape) for k, part in parts.items()}


def minimal(valid, n):
    """The subset-minimal sets, by trying all pairs."""
    sets = [frozenset(i for i in range(n) if m >> i & 1) for m in range(1 << n)]
    good = [s for s, ok in zip(sets, valid, strict=True) if ok]
    return {s for s in good if not any(other < s for other in good)}


def test_the_circuits_are_all_minimal_sets(network):
    """And the lifted function agrees with slow NumPy on every subset."""
    n = sum(mask.size for mask in network.nodes.values())
    rows = np.array([*it.product([0.0, 1.0], repeat=n)])[:, ::-1]
    outputs = [forward(network, of_bits(network.nodes, row)) for row in rows]
    valid = [not error(out, network.y) for out in outputs]
    assert minimal(valid, n) == {*network.circuits}
    assert len({*network.circuits}) == len(network.circuits)
    whole = jax.tree.map(lambda leaf: jnp.ones(()), network.params)
    apply = sj.masked(network.model.apply)

    def masked(row):
        masks = sj.masks.Masks(whole, of_bits(network.nodes, row))
        return apply(network.params, masks, network.x)

    ours = jax.lax.map(masked, jnp.asarray(rows), batch_size=16)
    np.testing.assert_allclose(ours, outputs, atol=1e-11)
    errors = [float(planted.error(out, None, network.y)) for out in ours]
    np.testing.assert_array_equal(np.array(errors) == 0, valid)


def test_whole_networks_are_exact(network):
    outputs = network.model.apply(network.params, network.x)
    assert planted.error(outputs, None, network.y) == 0
    assert jax.tree.leaves(network.params)[0].dtype == np.float64
    x = network.x.astype(np.float32) if network.x.dtype.kind == "f" else network.x
    shapes = jax.eval_shape(network.model.init, jax.random.key(0), x)
    own = jax.tree.map(np.shape, network.params)
    assert jax.tree.map(np.shape, shapes) == own
    axes = {name: -2 for name in network.nodes if name[0] in "zn"}
    masks = sj.masks.ones(
        network.model.apply, network.params, network.x, axes=axes,
        prunable=lambda path, leaf: True,
    )  # fmt: skip
    for name, mask in network.nodes.items():
        assert mask.all() and masks.nodes[name].shape == mask.shape
    order = [name for name in masks.nodes if name in network.nodes]
    assert order == [*network.nodes]


def test_what_the_networks_compute():
    x0, x1, x2, _ = np.asarray(planted.gates().x).T
    want = (x0 * x1 + x2 > 0).astype(float)
    np.testing.assert_array_equal(planted.gates().y[:, 0], want)
    x = np.asarray(planted.threshold(4).x).reshape(-1, 2, 4).sum(-1)
    np.testing.assert_array_equal(planted.threshold(4).y[:, 0], x[:, 1] >= x[:, 0])
    made = planted.addition(13)
    angle = 2 * np.pi * (np.asarray(made.x).sum(1)[:, None] - np.arange(13)) / 13
    want = sum(np.cos(k * angle) for k in (1, 3, 5))
    outputs = made.model.apply(made.params, made.x)
    np.testing.assert_allclose(outputs, want, atol=1e-14 * 10)
    made = planted.brackets()
    depth = np.array([1, -1, 0])[made.x].cumsum(1)
    assert made.x.shape == (196, 6) and depth.min() == 0
    np.testing.assert_array_equal(made.y, depth[:, -1])
    assert np.bincount(made.y).tolist() == [51, 76, 69]
    made = planted.induction(9, 13)
    assert made.x.shape == (64, 13) and (made.x[:, 1:7] == made.x[:, 7:]).all()
    assert (
        np.sort(made.x[:, 1:7], 1)[:, :-1] < np.sort(made.x[:, 1:7], 1)[:, 1:]
    ).all()


def test_all_eight_units_of_a_frequency_are_needed():
    made = planted.addition(13, 1)
    kept = np.array([*it.product([0.0, 1.0], repeat=8)])
    apply = sj.masked(made.model.apply)
    whole = jax.tree.map(lambda leaf: jnp.ones(()), made.params)

    def wrong(row):
        masks = sj.masks.Masks(whole, {"neurons": row[None]})
        return planted.error(apply(made.params, masks, made.x), None, made.y)

    valid = np.asarray(jax.lax.map(wrong, jnp.asarray(kept), batch_size=64)) == 0
    assert valid.tolist() == [False] * 255 + [True]


def test_losses_of_induction():
    made = in_numpy(planted.induction(4, 7))

    def loss(keep):
        kept = {f"z_{i}": np.full((2, 1), keep) for i in range(2)}
        logits = jnp.asarray(forward(made, kept))
        return float(sj.train.cross_entropy(logits, made.y))

    assert loss(1.0) == pytest.approx(1.8e-4, rel=0.02)
    assert loss(0.0) == pytest.approx(np.log(5))


WRITERS = ["token", "position", "head_0[0]", "head_0[1]"]
BLOCK_0 = [(w, f"read_{r}_0") for r in "qkv" for w in WRITERS[:2]]
BLOCK_1 = [(w, f"read_{r}_1") for r in "qkv" for w in WRITERS]


def heads(params, read, rows):
    """What each head of a block writes, at some positions.

    Args:
        params: of the block, with heads of the same size, two of them.
        read: of queries, keys and values, with leading axes for sets of edges.
        rows: positions.
    """
    q, k, v = (
        np.stack(np.split(h @ params[name]["kernel"], 2, -1))
        for name, h in zip(("query", "key", "value"), read, strict=True)
    )
    past = np.tri(q.shape[-2], dtype=bool)[rows]
    scores = q[..., rows, :] @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    weights = np.where(past, np.exp(scores - scores.max(-1, keepdims=True)), 0)
    z = weights / weights.sum(-1, keepdims=True) @ v
    kernels = np.stack(np.split(params["out"]["kernel"], 2))
    return z @ kernels.reshape(2, *[1] * (z.ndim - 3), *kernels.shape[1:])


def table_of_edges(made, count):
    """Losses of all sets of edges of the blocks, of `count` sequences, and then of
    those with the edge from the last head to the logits: shape (2,) * 19.

    Other edges to the logits change nothing.
    """
    params, x = made.params, made.x[:count]
    n, following = x.shape[1] // 2, params["unembed"]["kernel"].any(1)
    for name in ("token", "position"):
        assert not params["embed"][name][:, following].any()
    assert not params["block_0"]["out"]["kernel"][:, following].any()
    first, last = np.split(params["block_1"]["out"]["kernel"], 2)
    assert not first.any() and last[:, following].any()
    token = params["embed"]["token"][x]
    writers = [token, np.broadcast_to(params["embed"]["position"], token.shape)]

    def sums(writers, axis):  # of all subsets of the writers, along one of three axes
        kept = np.array([*it.product([0.0, 1.0], repeat=len(writers))])
        shape = [-1 if i == axis else 1 for i in range(3)]
        return np.tensordot(kept, writers, 1).reshape(*shape, *token.shape)

    rows = slice(n + 1, 2 * n)
    none, losses = np.log(params["unembed"]["kernel"].shape[1]), []
    first = heads(params["block_0"], [sums(writers, i) for i in range(3)], slice(None))
    for pair in np.moveaxis(first.reshape(2, 64, *token.shape), 1, 0):
        read = [sums([*writers, *pair], i) for i in range(3)]
        logits = heads(params["block_1"], read, rows)[1] @ params["unembed"]["kernel"]
        chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        own = np.take_along_axis(
            chances, np.broadcast_to(x[:, n + 2 :, None], (*logits.shape[:-1], 1)), -1
        )
        losses.append(-np.log(own).mean((-1, -2, -3)))
    table = np.array(losses).reshape((2,) * 18)
    return np.stack([np.full_like(table, none), table], -1)


@pytest.mark.parametrize("beta", [200.0, 20.0])
def test_the_edges_are_the_only_minimal_set(beta):
    made = in_numpy(planted.induction(4, 7, beta=beta))
    table = table_of_edges(made, 3)
    full, none = table[(1,) * 19], table[(0,) * 19]
    assert full < 0.05 and none == pytest.approx(np.log(5))
    valid = table < 0.05
    within = valid.copy()  # whether any subset is valid
    for axis in range(19):
        view = np.moveaxis(within, axis, 0)
        view[1] |= view[0]
    smaller = np.zeros_like(valid)
    for axis in range(19):
        np.moveaxis(smaller, axis, 0)[1] |= np.moveaxis(within, axis, 0)[0]
    names = [*BLOCK_0, *BLOCK_1, ("head_1[1]", "read_out")]
    found = [
        {names[i] for i in np.flatnonzero(bits)}
        for bits in np.argwhere(valid & ~smaller)
    ]
    assert found == [made.edges] and len(made.edges) == 7
    assert planted.induction(4, 7, backup=True).edges is None


def test_the_first_token_has_to_be_told_apart():
    """Or what begins a sequence attends to itself and is copied."""
    made = in_numpy(planted.induction(4, 7))
    kernel = made.params["block_0"]["value"]["kernel"]
    assert not kernel[0].any() and kernel[1:5].any(1).all()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: planted.threshold(0), "n is 0; expected at least 1"),
        (lambda: planted.adder(3, 4), "k is 4; expected at most .* 3"),
        (lambda: planted.addition(9, (1, 3)), r"\(1, 3\) and p = 9 have a common"),
        (lambda: planted.addition(7, (1, 6)), r"\(1, 6\); expected different"),
        (lambda: planted.brackets(1), "length is 1; expected at least 2"),
        (lambda: planted.induction(4, 8), "length is 8; expected 2 n . 1 .* 2 to 4"),
        (lambda: planted.induction(4, 11), "length is 11; expected"),
        (lambda: planted.induction(4, 7, beta=-1.0), "beta is -1.0"),
    ],
)
def test_sizes_that_make_no_network_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
