"""Networks of units: gates, thresholds, sums, and modular addition."""

import itertools as it
import math
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from sparsejax import checks
from sparsejax.models._modules import mlp
from sparsejax.models._variables import Model
from sparsejax.models.planted._network import Planted, network


def gates() -> Planted:
    """y = (x0 and x1) or x2, the AND twice.

    Of x in {0, 1}^4. Hidden units 0 and 1 are the AND, relu(x0 + x1 - 1), 2 is x2; 3
    and 4 are x0, which cancels, 5 is x3, which nothing reads. Of the next layer 6 is
    the NOR, relu(1 - h0 - h1 - h2), and 7 is relu(h3 - h4) = 0; y = 1 - h6.

    With u = 1 - error the Harsanyi terms are +1 of both circuits and -1 of their union:
    an OR of two ANDs.

    Example:
        >>> [sorted(circuit) for circuit in gates().circuits]
        [[0, 2, 6], [1, 2, 6]]
    """
    first, second = np.zeros((4, 6)), np.zeros((6, 2))
    first[[0, 1], 0] = first[[0, 1], 1] = first[2, 2] = first[3, 5] = 1
    first[0, [3, 4]] = 1
    second[:3, 0], second[[3, 4], 1] = -1, (1, -1)
    layers = [
        (first, np.array([-1.0, -1, 0, 0, 0, 0])),
        (second, np.array([1.0, 0])),
        (np.array([[-1.0], [0]]), np.ones(1)),
    ]
    x = np.array([*it.product([0.0, 1.0], repeat=4)])
    y = np.maximum(x[:, 0] * x[:, 1], x[:, 2])
    return _of_layers(layers, x, y[:, None], [{0, 2, 6}, {1, 2, 6}])


def threshold(n: int) -> Planted:
    """Whether y >= x, for two numbers from 0 to n in thermometer code.

    Unit i (from 0) is relu([x > i] - [y > i]), whether the threshold i lies between
    them; without it x = i + 1 and y = i would pass. Units n and n + 1 are [y > 0],
    which cancels; the last one is relu(1 - their sum). All thresholds are needed.

    Args:
        n: number of thresholds.

    Returns:
        A network of inputs (..., 2 n), outputs 0.0 and 1.0 and n + 3 nodes.

    Example:
        >>> [sorted(circuit) for circuit in threshold(3).circuits]
        [[0, 1, 2, 5]]
    """
    n = checks.integer(n, "n", 1)
    first = np.concatenate([np.eye(n), -np.eye(n)])
    decoys = np.zeros((2 * n, 2))
    decoys[n] = 1
    second = np.array([[-1.0] * n + [1, -1]]).T
    layers = [
        (np.concatenate([first, decoys], 1), np.zeros(n + 2)),
        (second, np.ones(1)),
        (np.ones((1, 1)), np.zeros(1)),
    ]
    pairs = np.array([*it.product(range(n + 1), repeat=2)])
    code = (pairs[..., None] > np.arange(n)).astype(float)
    y = (pairs[:, 1] >= pairs[:, 0]).astype(float)
    circuit = {*range(n), n + 2}
    return _of_layers(layers, code.reshape(len(pairs), -1), y[:, None], [circuit])


def adder(n: int, k: int) -> Planted:
    """n equal units of which any k are enough: C(n, k) circuits.

    Of x in {0, 1}^2. Each of the first n units is x0, and two more are x1, which
    cancels; the second logit is their sum less k - 1/2, the first is 0.

    Args:
        n: number of equal units.
        k: how many of them are enough, 1 to n.

    Example:
        >>> len(adder(6, 3).circuits)
        20
    """
    n, k = checks.integer(n, "n", 1), checks.integer(k, "k", 1)
    if k > n:
        raise ValueError(f"k is {k}; expected at most the number of units, {n}")
    first = np.zeros((2, n + 2))
    first[0, :n] = first[1, n:] = 1
    second = np.zeros((n + 2, 2))
    second[:, 1] = [1] * (n + 1) + [-1]
    layers = [(first, np.zeros(n + 2)), (second, np.array([0, 0.5 - k]))]
    x = np.array([*it.product([0.0, 1.0], repeat=2)])
    circuits = it.combinations(range(n), k)
    return _of_layers(layers, x, x[:, 0].astype(np.int32), circuits)


def addition(p: int, frequencies: int | Iterable[int] = (1, 3, 5)) -> Planted:
    """a + b modulo p by cosines, once for each frequency.

    logit c is the sum over frequencies k of cos(2 pi k (a + b - c) / p), made of
    products of cosines and sines, and these of squares: 4 x y = (x + y)^2 - (x - y)^2.
    A node is a frequency, eight squares; each is enough: an OR. There are no decoys.

    Args:
        p: modulus, from 3.
        frequencies: each without a common factor with p, none twice or p less another.

    Returns:
        A network of pairs (..., 2) of integers with an activation `neurons`
        (..., frequencies, 8).

    Example:
        >>> addition(13, (1, 5)).circuits
        (frozenset({0}), frozenset({1}))
    """
    p, ks = checks.integer(p, "p", 3), checks.sizes(frequencies, "frequencies")
    if len({min(k % p, -k % p) for k in ks}) < len(ks) or not ks:
        raise ValueError(f"frequencies are {ks}; expected different ones modulo {p}")
    if any(math.gcd(k, p) > 1 for k in ks):
        raise ValueError(f"frequencies {ks} and p = {p} have a common factor")
    angles = 2 * np.pi * np.outer(np.arange(p), ks) / p
    waves = np.stack([np.cos(angles), np.sin(angles)], -1)  # of numbers, frequencies
    # cos(a + b) = cos cos - sin sin, sin(a + b) = sin cos + cos sin
    parts = [(0, 0, 1, 0), (1, 1, -1, 0), (1, 0, 1, 1), (0, 1, 1, 1)]
    read, write = np.zeros((2, 2, 8)), np.zeros((8, 2))
    for unit, ((i, j, sign, kind), other) in enumerate(it.product(parts, (1, -1))):
        read[0, i, unit], read[1, j, unit] = 1, other
        write[unit, kind] = sign * other / 4
    params = {
        "embed": waves,
        "read": read,
        "out": np.einsum("uw,cfw->fuc", write, waves),
    }

    def apply(params, x):
        params = jax.tree.map(jnp.asarray, params)
        squares = jnp.einsum("...nfw,nwu->...fu", params["embed"][x], params["read"])
        neurons = checkpoint_name(jnp.square(squares), "neurons")
        return jnp.einsum("...fu,fuc->...c", neurons, params["out"])

    x = np.array([*it.product(range(p), repeat=2)], np.int32)
    nodes = {"neurons": jnp.ones((len(ks), 1))}
    circuits = [{i} for i in range(len(ks))]
    return network(_model(apply, params), params, x, x.sum(1) % p, nodes, circuits)


def _of_layers(layers, x, y, circuits) -> Planted:
    """A multilayer perceptron of these kernels and biases."""
    *widths, outputs = (len(bias) for _, bias in layers)
    params = {
        f"dense_{i}": {"kernel": kernel, "bias": bias}
        for i, (kernel, bias) in enumerate(layers)
    }
    nodes = {f"hidden_{i}": jnp.ones(width) for i, width in enumerate(widths)}
    return network(mlp(tuple(widths), outputs), params, x, y, nodes, circuits)


def _model(apply, params) -> Model:
    """A `Model` of a function, whose random parameters have these shapes."""

    def init(key, x):
        checks.one_key(key)
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(key, len(leaves))
        drawn = [jax.random.normal(k, p.shape) for k, p in zip(keys, leaves)]
        return jax.tree.unflatten(structure, drawn)

    def train_apply(params, x, *, key):
        checks.one_key(key)  # though nothing is drawn
        return apply(params, x), params

    return Model(init, apply, train_apply)
