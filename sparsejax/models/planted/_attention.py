"""Planted transformers: depth of brackets, and induction."""

import itertools as it
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sparsejax import checks
from sparsejax.models._transformer import transformer
from sparsejax.models._variables import Model
from sparsejax.models.planted._network import Planted, network

_PROJECTIONS = ("query", "key", "value")
_INDUCTION = [
    ("position", "read_q_0"),
    ("position", "read_k_0"),
    ("token", "read_v_0"),
    ("token", "read_q_1"),
    ("head_0[0]", "read_k_1"),
    ("token", "read_v_1"),
    ("head_1[1]", "read_out"),
]


def brackets(length: int = 6) -> Planted:
    """The depth of brackets, 0 to 2, after the last token.

    Of all sequences of ( ) and x that nowhere close more than is open and end at most 2
    deep. Head 0 adds up +1 and -1, head 1 moves the share of x, which only neuron 3
    reads and nothing after it, and head 2 is empty. Neurons 0 and 1 are relu(depth) and
    relu(depth - 1); 2 is relu(depth - 2), which is part of the staircase but never
    fires, and 4 is empty.

    Args:
        length: of the sequences.

    Example:
        >>> network = brackets()
        >>> network.x.shape, [sorted(circuit) for circuit in network.circuits]
        ((196, 6), [[0, 3, 4]])
    """
    length = checks.integer(length, "length", 2)  # below, nothing is 2 deep
    step = np.array([1, -1, 0])
    x = np.array([*it.product(range(3), repeat=length)], np.int32)
    depth = step[x].cumsum(1)
    x = x[(depth >= 0).all(1) & (depth[:, -1] <= 2)]
    # the residual stream: step, x, depth, share of x, three logits
    params, model = _transformer(3, length, 7, layers=1, heads=3, head=2, neurons=5)
    params["embed"]["token"][:, :2] = [[1, 0], [-1, 0], [0, 1]]
    block = params["block_0"]
    value, out = _by_head(block, "value", 3), block["out"]["kernel"].reshape(3, 2, 7)
    value[0, 0, 0], out[0, 0, 2] = length, 1  # of all positions the mean, by 0 scores
    value[1, 1, 0], out[1, 0, 3] = 1, 1
    block["up"]["kernel"][2, :3] = block["up"]["kernel"][3, 3] = 1
    block["up"]["bias"][:3] = [0, -1, -2]
    block["down"]["kernel"][:3, 4:] = [[-2, 2, 0], [2, -4, 2], [0, 2, -2]]
    params["unembed"]["kernel"][4:] = np.eye(3)
    params["unembed"]["bias"][:] = [1, 0, -1]
    nodes = {"z_0": jnp.ones((3, 1)), "mlp_0": jnp.ones(5)}
    apply = _at(model.apply, slice(-1, None), squeeze=True)
    y = step[x].sum(1)
    return network(model._replace(apply=apply), params, x, y, nodes, [{0, 3, 4}])


def induction(
    vocabulary: int, length: int, *, beta: float = 200.0, backup: bool = False
) -> Planted:
    """What followed this token before: two heads in a row.

    Of sequences 0 a_1 .. a_n a_1 .. a_n, with different a from 1 to `vocabulary`; 0
    begins them. Logits are those of the positions from which all but the first token of
    the second half follow. Without neurons; the residual stream is one-hot in four
    parts: token, position, token before, next token. Head 0 of block 0 copies the token
    before, head 1 moves positions about, which nothing reads; head 1 of block 1 looks
    for where the token before is this one and writes the token there, head 0 is empty.
    Logits are 10 where the heads attend to one position alone.

    Args:
        vocabulary: number of tokens besides 0.
        length: of the sequences, 2 n + 1 with n from 2 to `vocabulary`.
        beta: score of what a head looks for (all else has 0). At 200 softmax is
            saturated, and gradients of scores vanish: attribution patching misses the
            edges to queries and keys.
        backup: whether a third head of block 0 does what its head 0 does.

    Example:
        >>> [sorted(circuit) for circuit in induction(4, 7).circuits]
        [[0, 3]]
        >>> [sorted(circuit) for circuit in induction(4, 7, backup=True).circuits]
        [[0, 4], [2, 4]]
    """
    tokens = checks.integer(vocabulary, "vocabulary", 2) + 1
    length = checks.integer(length, "length", 5)
    n = length // 2
    if length % 2 == 0 or n >= tokens:
        raise ValueError(
            f"length is {length}; expected 2 n + 1 for n from 2 to {tokens - 1}, the "
            "number of tokens"
        )
    if not beta > 0:
        raise ValueError(f"beta is {beta}; expected a number above 0")
    width, heads, head = 3 * tokens + length, 3 if backup else 2, max(tokens, length)
    params, model = _transformer(
        tokens, length, width, layers=2, heads=heads, head=head, neurons=0
    )
    ends = np.cumsum([0, tokens, length, tokens, tokens])
    token, place, before, following = map(slice, ends[:-1], ends[1:])
    scale = np.sqrt(beta) * head**0.25  # scores are divided by the root of `head`
    copied = np.eye(tokens)
    copied[0, 0] = 0  # what begins a sequence is never copied
    params["embed"]["token"][:, token] = np.eye(tokens)
    params["embed"]["position"][:, place] = np.eye(length)
    first, second = params["block_0"], params["block_1"]
    out = first["out"]["kernel"].reshape(heads, head, width)
    for i in (0, 2) if backup else (0,):
        query, key, value = (_by_head(first, k, heads) for k in _PROJECTIONS)
        query[i, place, :length] = scale * np.eye(length, k=-1)
        key[i, place, :length] = scale * np.eye(length)
        value[i, token, :tokens] = copied
        out[i, :tokens, before] = np.eye(tokens)
    noise = 0.3 * np.random.default_rng(0).normal(size=(length, length))
    _by_head(first, "value", heads)[1, place, :length] = noise
    out[1, :length, place] = np.eye(length)
    query, key, value = (_by_head(second, k, heads) for k in _PROJECTIONS)
    query[1, token, :tokens] = key[1, before, :tokens] = scale * copied
    value[1, token, :tokens] = copied
    out = second["out"]["kernel"].reshape(heads, head, width)
    out[1, :tokens, following] = np.eye(tokens)
    params["unembed"]["kernel"][following] = 10 * np.eye(tokens)
    x = _repeated(tokens - 1, n)
    nodes = {f"z_{i}": jnp.ones((heads, 1)) for i in range(2)}
    apply = _at(model.apply, slice(n + 1, 2 * n))
    circuits = [{i, heads + 1} for i in ((0, 2) if backup else (0,))]
    edges = None if backup else frozenset(_INDUCTION)
    return network(
        model._replace(apply=apply), params, x, x[:, n + 2 :], nodes, circuits, edges
    )


def _repeated(tokens: int, n: int, most: int = 64) -> np.ndarray:
    """0, then n different tokens twice: all sequences, or random ones if many."""
    if math.perm(tokens, n) <= most:
        half = np.array([*it.permutations(range(1, tokens + 1), n)])
    else:
        rng = np.random.default_rng(0)
        rows = np.tile(np.arange(1, tokens + 1), (most, 1))
        half = rng.permuted(rows, axis=1)[:, :n]
    return np.concatenate([np.zeros((len(half), 1), int), half, half], 1)


def _transformer(vocabulary, length, width, **sizes) -> tuple[PyTree, Model]:
    """A transformer without norm and sink, and zeros as its parameters."""
    model = transformer(vocabulary, length, width=width, norm=None, sink=False, **sizes)
    ids = jax.ShapeDtypeStruct((length,), jnp.int32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), ids)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes), model


def _by_head(block, name: str, heads: int) -> np.ndarray:
    """A view (heads, width, head) of the kernel of a projection."""
    kernel = block[name]["kernel"]
    return np.moveaxis(kernel.reshape(len(kernel), heads, -1), 1, 0)


def _at(apply, rows: slice, squeeze: bool = False):
    """`apply` with the logits of some positions.

    All blocks work for all positions, so that every reader has as many as what it
    reads: edges can be taken out.
    """

    def at(params, ids):
        logits = apply(params, ids)[..., rows, :]
        return logits[..., 0, :] if squeeze else logits

    return at
