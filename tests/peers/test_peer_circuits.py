"""Finders of circuits as PyTorch's users write them, on the same weights.

Attribution patching and EAP-IG with forward hooks in place and autograd, a head's loss
by ablating it in a loop: the same scores as ours, with other code all the way down.
"""

import jax
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import circuits, models

torch = pytest.importorskip("torch", reason="needs the extra 'peers'")

HEADS, HEAD, LAYERS, STEPS = 4, 4, 2, 5
NODES = {f"z_{i}": np.ones((HEADS, 1), np.float32) for i in range(LAYERS)}


@pytest.fixture(scope="module")
def network():
    model = models.transformer(9, 6, width=16, heads=HEADS, head=HEAD, neurons=24)
    rng = np.random.default_rng(3)
    x, corrupted = rng.integers(0, 9, (2, 16, 6)).astype(np.int32)
    y = rng.integers(0, 9, (16, 6)).astype(np.int32)
    params = jax.jit(model.init)(jax.random.key(0), x)
    params = jax.tree.map(lambda leaf: 1.5 * leaf, params)
    return model.apply, params, x, corrupted, y


class Torch:
    """The transformer in PyTorch; `edit(name, z)` may change what heads attend to."""

    def __init__(self, params):
        self.params = jax.tree.map(lambda a: torch.from_numpy(np.array(a)), params)

    def embed(self, ids):
        embed = self.params["embed"]
        return embed["token"][ids] + embed["position"][: ids.shape[1]]

    def __call__(self, h, edit):
        for i in range(LAYERS):
            block = self.params[f"block_{i}"]
            z = edit(f"z_{i}", self.attend(block, self.norm(h)))
            h = h + z.flatten(2) @ block["out"]["kernel"]
            a = torch.relu(self.dense(block["up"], self.norm(h)))
            h = h + self.dense(block["down"], a)
        return self.dense(self.params["unembed"], self.norm(h))

    def attend(self, block, read):
        q, k, v = (
            self.dense(block[name], read).unflatten(-1, (HEADS, HEAD))
            for name in ("query", "key", "value")
        )
        scores = torch.einsum("bqhe,bkhe->bhqk", q, k) / HEAD**0.5
        past = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~past, -torch.inf)
        sink = block["sink"][:, None, None].expand(*scores.shape[:-1], 1)
        weights = torch.cat([sink, scores], -1).softmax(-1)[..., 1:]
        return torch.einsum("bhqk,bkhe->bqhe", weights, v)

    @staticmethod
    def dense(layer, x):
        return x @ layer["kernel"] + layer["bias"]

    @staticmethod
    def norm(h):
        return h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-5)

    def acts(self, ids):
        kept = {}
        with torch.no_grad():
            self(self.embed(ids), lambda name, z: kept.setdefault(name, z))
        return kept


def entropy(logits, y):
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())


def slopes(run, z):
    """The gradient of a loss to what is added to every head's output."""
    shift = {name: torch.zeros_like(a, requires_grad=True) for name, a in z.items()}
    loss = run(lambda name, a: a + shift[name])
    return dict(zip(z, torch.autograd.grad(loss, list(shift.values()))))


def by_head(values):
    parts = [values[name].sum((0, 1, 3)).numpy() for name in NODES]
    return -np.concatenate(parts)  # higher: its removal would cost more


@pytest.fixture(scope="module")
def peer(network):
    _, params, *arrays = network
    return Torch(params), *(torch.from_numpy(a).long() for a in arrays)


def task(network, values=None):
    fn, params, x, _, y = network
    return circuits.task(fn, params, x, y, metric="cross_entropy", ablate=values)


def test_the_networks_are_the_same(network, peer):
    fn, params, x, *_ = network
    theirs, ids, *_ = peer
    found = theirs(theirs.embed(ids), lambda name, z: z)
    np.testing.assert_allclose(fn(params, x), found.numpy(), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("ablation", ["zero", "resampled"])
def test_attribution_patching(network, peer, ablation):
    fn, params, _, corrupted, _ = network
    theirs, ids, other, y = peer
    clean, values = theirs.acts(ids), theirs.acts(other)
    if ablation == "zero":
        values = {name: torch.zeros_like(a) for name, a in clean.items()}
    slope = slopes(lambda edit: entropy(theirs(theirs.embed(ids), edit), y), clean)
    expected = by_head({k: slope[k] * (clean[k] - values[k]) for k in clean})
    given = None
    if ablation == "resampled":
        given = circuits.resampled(fn, params, corrupted, NODES)
    found = circuits.attribution(task(network, given), NODES)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-3, atol=1e-5)


def test_eap_ig(network, peer):
    """Midpoints where they take the left ends; else the same."""
    fn, params, x, corrupted, _ = network
    theirs, ids, other, y = peer
    clean, values = theirs.acts(ids), theirs.acts(other)
    first, last = theirs.embed(other), theirs.embed(ids)
    total = {name: torch.zeros_like(a) for name, a in clean.items()}
    for step in range(STEPS):
        h = first + (step + 0.5) / STEPS * (last - first)
        slope = slopes(lambda edit, h=h: entropy(theirs(h, edit), y), clean)
        total = {name: total[name] + slope[name] / STEPS for name in total}
    expected = by_head({k: total[k] * (clean[k] - values[k]) for k in clean})
    loss = task(network, circuits.resampled(fn, params, corrupted, NODES))
    found = circuits.integrated_inputs(
        loss, NODES, fn, params, x, corrupted, at="embed", steps=STEPS
    )
    np.testing.assert_allclose(found.scores, expected, rtol=1e-3, atol=1e-5)


def test_leaving_out_one_after_the_other(network, peer):
    """ACDC's step for nodes, which `single` does at once."""
    theirs, ids, _, y = peer
    expected = []
    for name in NODES:
        for head in range(HEADS):
            keep = torch.ones(HEADS, 1)
            keep[head] = 0

            def edit(other, z, name=name, keep=keep):
                return z * keep if other == name else z

            expected.append(float(entropy(theirs(theirs.embed(ids), edit), y)))
    found = sj.circuits.single(task(network), NODES)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4)
