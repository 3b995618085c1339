"""Masks select, derivatives are derivatives, subsets are loops, on random networks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from lawful import DRAWS, close, kink, law
from networks import exact, one

import sparsejax as sj
from sparsejax import hypercube, masks, prune, sweep, train

pytestmark = [
    pytest.mark.usefixtures("float64"),
    pytest.mark.filterwarnings("ignore:overflow encountered"),
]


def drawn_masks(network, count, keep=0.6):
    """Stacked masks of weights and of units, as 0 and 1."""
    ones = masks.ones(network.fn, network.params, network.x)

    def draw(leaf):
        bits = network.rng.random((count, *leaf.shape)) < keep
        return jnp.asarray(bits if leaf.ndim else np.ones(count), leaf.dtype)

    return jax.tree.map(draw, ones)


def deleted(params, weights):
    """Parameters in float64 without what masks remove, by hand."""
    return jax.tree.map(
        lambda p, m: np.where(exact(m) == 0, 0.0, exact(p)), params, weights
    )


@law(quick=2, slow=45, defaults=True)
def test_masks_select(network):
    """Masked networks are those with weights and units deleted, infinite ones too."""
    params, x = network.draws(DRAWS)
    drawn = drawn_masks(network, DRAWS)
    fill = {}
    for i, layer in enumerate(network.layers):
        name = f"h{i}"
        if name not in drawn.nodes:
            continue
        size = drawn.nodes[name].shape[-1]
        if network.rng.random() < 0.4 and drawn.nodes[name].ndim == 2:
            fill[name] = jnp.asarray(network.rng.normal(size=size), network.dtype)
        elif layer.bias:
            bias = params[f"{i}"][layer.bias]
            gone = drawn.nodes[name]
            params[f"{i}"][layer.bias] = jnp.where(gone == 0, jnp.inf, bias)
    apply = jax.jit(jax.vmap(sj.masked(network.fn, ablate=fill)))
    ours = apply(params, drawn, x)
    assert ours.dtype == network.dtype
    for i in range(DRAWS):
        mine = one(drawn, i)
        theirs, b = network.oracle(
            one(x, i), deleted(one(params, i), mine.weights), mine.nodes, exact(fill)
        )
        close(ours[i], theirs, network.eps, *finite(b))
    return DRAWS


def finite(b):
    return [np.where(np.isfinite(h), h, 0) for h in map(np.asarray, b.seen.values())]


@law(quick=1, slow=25, defaults=True, dtype="float64")
def test_derivatives_are_differences(network):
    """Of parameters, input and masks, along a line; of removed weights they are 0."""
    if kink(network):
        return 0
    (params, x), drawn = network.draws(DRAWS), drawn_masks(network, DRAWS, 0.8)
    worth = network.rng.normal(size=3)
    apply = sj.masked(network.fn)

    def value(params, nodes, x, weights):
        return (apply(params, masks.Masks(weights, nodes), x) * worth).sum()

    grads = jax.jit(jax.vmap(jax.grad(value, (0, 1, 2))))
    found = exact(grads(params, drawn.nodes, x, drawn.weights))
    for i in range(DRAWS):
        here = exact((one(params, i), one(drawn.nodes, i), one(x, i)))
        weights = one(drawn.weights, i)
        way = jax.tree.map(lambda a: network.rng.normal(size=a.shape), here)
        # a removed unit that comes back may be the new largest of a pool, at a kink
        way[1].update({k: v * (here[1][k] != 0) for k, v in way[1].items()})

        def at(t, here=here, way=way, weights=weights):
            p, nodes, x = jax.tree.map(lambda a, d: a + t * d, here, way)
            return network.oracle(x, deleted(p, weights), nodes)[0] @ worth

        slope = (at(1e-6) - at(-1e-6)) / 2e-6
        terms = jax.tree.map(lambda g, d: (g * d).sum(), one(found, i), way)
        terms = jax.tree.leaves(terms)
        close(sum(terms), slope, 1e-7, *terms)
        gone = jax.tree.map(lambda g, m: g * (exact(m) == 0), one(found, i)[0], weights)
        assert not any(np.any(g) for g in jax.tree.leaves(gone))
    return DRAWS


@law(quick=1, slow=10, dtype="float64")
def test_a_training_step_is_a_gradient_step(network):
    """One step of gradient descent; what is removed is 0 before and after."""
    if kink(network):
        return 0
    drawn, x = one(drawn_masks(network, 1, 0.8), 0), network.inputs(network.rng, 4)
    y = network.rng.integers(0, 3, 4)
    apply = sj.masked(network.fn)

    def batched(p, m, x):
        return jax.vmap(lambda x: apply(p, m, x))(x)

    state, history = train.fit(
        batched, network.params, drawn, (x, y), optimizer=optax.sgd(0.5),
        batch_size=4, steps=1, key=jax.random.key(0),
    )  # fmt: skip
    before = deleted(network.params, drawn.weights)
    after = exact(state.params)
    grads = jax.tree.map(lambda a, b: (a - b) / 0.5, before, after)
    way = jax.tree.map(lambda a: network.rng.normal(size=a.shape), before)

    def loss(t):
        p = jax.tree.map(lambda a, d: a + t * d, before, way)
        p = deleted(p, drawn.weights)
        out = np.stack([network.oracle(row, p, drawn.nodes)[0] for row in x])
        return np.mean(np.logaddexp.reduce(out, -1) - out[range(4), y])

    terms = jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), grads, way))
    close(history["loss"][0], loss(0), 1e-7)
    close(sum(terms), (loss(1e-6) - loss(-1e-6)) / 2e-6, 1e-7, *terms)
    gone = jax.tree.map(lambda p, m: p * (exact(m) == 0), after, drawn.weights)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gone))
    return 1


@law(quick=1, slow=12)
def test_all_subsets_are_a_loop_over_them(network):
    """Values of all subsets of units, and of drawn masks, one after the other."""
    drawn = drawn_masks(network, 3)
    if not drawn.nodes:
        return 0
    apply, name = sj.masked(network.fn), [*drawn.nodes][-1]
    mask = one(drawn.nodes, 0)[name]
    n = min(mask.shape[-1], 3)
    rest = one(drawn, 0)

    def of(bits):
        units = mask.at[..., :n].set(bits.astype(mask.dtype))
        return rest._replace(nodes={**rest.nodes, name: units})

    def value(mine):
        return apply(network.params, mine, network.x)

    values = hypercube.evaluate(lambda bits: value(of(bits)), n, progress=False)
    for m, ours in enumerate(values):
        mine = of(jnp.array([m >> i & 1 for i in range(n)]))
        weights = deleted(network.params, mine.weights)
        theirs, b = network.oracle(None, weights, mine.nodes)
        close(ours, theirs, network.eps, *b.seen.values())
    for i, ours in enumerate(sweep.evaluate(value, drawn, progress=False)):
        mine = one(drawn, i)
        weights = deleted(network.params, mine.weights)
        theirs, b = network.oracle(None, weights, mine.nodes)
        close(ours, theirs, network.eps, *b.seen.values())
    return 1


@law(quick=1, slow=14)
def test_compact_networks_are_masked_ones(network):
    """Without the units that masks remove, the arrays are smaller, the outputs same."""
    mine = one(drawn_masks(network, 1, 0.7), 0)
    mine = mine._replace(weights=jax.tree.map(jnp.ones_like, mine.weights))
    small = prune.compact(network.fn, network.params, mine, network.x)
    theirs, b = network.oracle(None, None, mine.nodes)
    close(small.fn(small.params, network.x), theirs, network.eps, *b.seen.values())
    size = sum(leaf.size for leaf in jax.tree.leaves(small.params))
    assert size == small.report.after <= small.report.before
    # a dense layer before a kernel really loses its units
    for i, layer in enumerate(network.layers):
        if "w1" in layer.params:
            kept = int(exact(mine.nodes[f"h{i}"]).sum())
            assert small.params[f"{i}"]["w1"].shape[-1] == kept, (i, kept)
    return 1


@law(quick=1, slow=14)
def test_names_from_parameters_are_names_by_hand(network):
    """A mask of what `named` calls units is a mask of those named in the function."""
    if all(set(layer.params) <= {"scale", "shift", "mean", "var"}
           for layer in network.layers[:-1]):  # fmt: skip
        return 0  # the only kernel makes the output
    named = sj.named(network.plain)
    _, acts = sj.activations(named)(network.params, network.x)
    _, b = network.oracle()
    pairs = {}
    for i, layer in enumerate(network.layers):
        ours = [k for k in acts if k.startswith(f"{i}/") and k.endswith(":post")]
        same = [k for k in ours if alike(acts[k], b.seen.get(f"h{i}"), network.eps)]
        if same:
            pairs[same[0]] = f"h{i}"
        elif layer.text.startswith("residual"):  # always units of their own
            raise AssertionError(f"{i}: none of {ours} is its units")
    if not pairs:
        return 0
    ones = masks.ones(named, network.params, network.x)
    nodes = {
        k: jnp.asarray(network.rng.random(ones.nodes[k].shape) < 0.6, network.dtype)
        for k in pairs
    }
    apply = jax.jit(sj.masked(named))
    ours = apply(network.params, ones._replace(nodes=nodes), network.x)
    theirs, b = network.oracle(nodes={pairs[k]: v for k, v in nodes.items()})
    close(ours, theirs, network.eps, *b.seen.values())
    return 1


def alike(ours, theirs, eps) -> bool:
    try:
        close(ours, theirs, eps, what="units")
    except (AssertionError, TypeError, ValueError):
        return False
    return True
