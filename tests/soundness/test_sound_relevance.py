"""Relevance is conserved, gradients are differences, order does not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lawful import DRAWS, close, kink, law
from networks import exact, one

import sparsejax as sj
from sparsejax import relevance
from sparsejax.relevance import Rules

pytestmark = pytest.mark.usefixtures("float64")

LAYERS = {
    "lrp-0": None,
    "epsilon": relevance.epsilon(0.1),
    "gamma": relevance.gamma(0.3),
    "alpha_beta": relevance.alpha_beta(2.0, 1.0),
    "z_plus": relevance.z_plus(),
    "w_square": relevance.w_square(),
    "flat": relevance.flat(),
    "z_box": relevance.z_box(-1.0, 2.0),
}
MAXIMA = "winner", "radial", "cross", "path"
PRODUCTS = "uniform", "detach"


def rules_of(network, compared):
    """Rules that conserve, and what they are called.

    Not against a baseline: "winner" and "radial", which know of no difference, and
    "detach". And "normalized" not in a softmax, whose largest entry is less itself: a
    zero, of which there are no shares.
    """
    rng = network.rng
    layer, first = (str(rng.choice([*LAYERS])) for _ in range(2))
    kinds = "gradient", "normalized"
    plain = compared or network.has("attention")
    matrix = kinds[0] if plain else str(rng.choice(kinds, p=[0.7, 0.3]))
    maximum = str(rng.choice(MAXIMA[2:] if compared else MAXIMA))
    product = "uniform" if compared else str(rng.choice(PRODUCTS, p=[0.7, 0.3]))
    rules = Rules(
        layer=LAYERS[layer], first=LAYERS[first], matrix=matrix, maximum=maximum,
        product=product,
    )  # fmt: skip
    return rules, (layer, first, matrix, maximum, product)


def unrolled(network):
    return sj.unrolled(network.fn) if network.looped else network.fn


@law(quick=1, slow=24, defaults=True)
def test_relevance_is_conserved(network):
    """Under every rule, for every layer and pooling, the parts sum to the output."""
    (params, x), rng = network.draws(DRAWS), network.rng
    compared = bool(rng.random() < 0.4)
    rules, names = rules_of(network, compared)
    target = int(rng.integers(3))
    fn = unrolled(network)
    start = network.inputs(rng) if compared else "zero"

    @jax.vmap
    def explain(params, x):
        return relevance.explain(
            fn, params, x, target=target, baseline=start, rules=rules
        )

    # step by step where one program may lose the maximum that a softmax subtracts
    found = (explain if kink(network, "attention") else jax.jit(explain))(params, x)
    residual, magnitude = exact((found.residual(), found.magnitude()))
    assert np.isfinite(residual).all(), (names, compared)
    within = np.abs(residual) <= 300 * network.eps * magnitude
    assert within.all(), (names, compared, residual, magnitude)
    for i in range(DRAWS):
        theirs, b = network.oracle(one(x, i), one(params, i))
        theirs = theirs[target]
        if compared:
            theirs -= network.oracle(start, one(params, i))[0][target]
        close(found.output[i], theirs, network.eps, *b.seen.values())
    return DRAWS


@law(quick=1, slow=12, defaults=True, dtype="float64")
def test_order_and_scale_of_hidden_units_do_not_matter(network):
    """Permuted with all their weights, relevance is permuted, and so are masks."""
    params, x = network.params, network.x
    layers = [(i, lay) for i, lay in enumerate(network.layers) if lay.hidden]
    if not layers:
        return 0
    other, orders = {k: dict(v) for k, v in params.items()}, {}
    for i, layer in layers:
        orders[f"h{i}"] = order = network.rng.permutation(4)
        for key, axis in layer.hidden.items():
            other[f"{i}"][key] = jnp.take(params[f"{i}"][key], order, axis)
        if layer.text in ("residual relu", "residual leaky_relu", "residual none"):
            scale = 2.0 ** network.rng.integers(-3, 4, 4)
            factors = {"w1": scale, "b1": scale, "w2": 1 / scale[:, None]}
            for key, factor in factors.items():
                other[f"{i}"][key] *= factor
    fn, apply = unrolled(network), sj.masked(network.fn)
    ones = sj.masks.ones(network.fn, params, x)
    bits = {k: (network.rng.random(v.shape) < 0.7) * 1.0 for k, v in ones.nodes.items()}
    moved = {k: v[..., orders[k]] if k in orders else v for k, v in bits.items()}

    @jax.jit
    def both(params, nodes):
        found = relevance.explain(fn, params, x, target=0, baseline="zero")
        return found, apply(params, ones._replace(nodes=nodes), x)

    (ours, out), (theirs, same) = exact((both(params, bits), both(other, moved)))
    close(out, same, 1e-13)
    close(ours.input, theirs.input, 1e-13, ours.magnitude())
    for name, order in orders.items():
        close(ours.nodes[name][..., order], theirs.nodes[name], 1e-13, ours.magnitude())
    for i, _ in layers:
        for path, b in ours.bias.items():
            total = theirs.bias[path].sum()
            close(b.sum(), total, 1e-13, ours.magnitude(), what=path)
    return 1


@law(quick=1, slow=8, dtype="float64")
def test_without_a_baseline_it_is_the_gradient(network):
    """And so is `gradient`; integrated gradients and DeepLIFT are complete."""
    if kink(network):
        return 0
    fn, params, x = unrolled(network), network.params, network.x
    start = network.inputs(network.rng)

    @jax.jit
    def run(params, x):
        return (
            relevance.explain(fn, params, x, target=1).multiplier,
            relevance.gradient(fn, params, x, target=1),
            relevance.integrated_gradients(
                fn, params, x, target=1, baseline=start, steps=256
            ),
            relevance.deeplift(fn, params, x, target=1, baseline=start),
        )

    ours, plain, integrated, lift = run(params, x)
    way = network.rng.normal(size=x.shape)
    line = [network.oracle(exact(x) + t * way)[0][1] for t in (-1e-6, 1e-6)]
    slope = (line[1] - line[0]) / 2e-6
    for found in (ours, plain):
        found = exact(getattr(found, "input", found))
        close((found * way).sum(), slope, 1e-7, found * way)
    change = network.oracle(x)[0][1] - network.oracle(start)[0][1]
    close(exact(integrated.input).sum(), change, 1e-4, integrated.input)
    lift = exact(lift.input if hasattr(lift, "input") else lift)
    close(lift.sum(), change, 1e-12, lift)
    return 1


@law(quick=1, slow=10)
def test_occlusion_is_a_loop(network):
    """What the output loses where each window is hidden, one after the other."""
    params, x, count = network.params, network.x, 0
    sides = (2,) * max(1, x.ndim - 1) + (x.shape[-1],) * (x.ndim > 2)
    sides = (2, 2) if x.ndim == 2 else sides
    found = relevance.occlusion(
        network.fn, params, x, target=2, window=2, stride=1, baseline=0.5
    )
    whole = network.oracle()[0][2]
    lost, times = np.zeros(x.shape), np.zeros(x.shape)
    for place in np.ndindex(*[n - s + 1 for n, s in zip(x.shape, sides, strict=True)]):
        box = tuple(slice(p, p + s) for p, s in zip(place, sides, strict=True))
        hidden = exact(x).copy()
        hidden[box] = 0.5
        lost[box] += whole - network.oracle(hidden)[0][2]
        times[box] += 1
        count += 1
    close(found, lost / times, network.eps, *network.oracle()[1].seen.values())
    return 1
