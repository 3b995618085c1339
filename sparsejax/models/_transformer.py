"""A small causal transformer whose every part has a name, for circuits.

The residual stream is a plain sum: tokens and positions, then what each head and each
layer of neurons writes. Whatever writes to it and whatever reads from it is named, so
that nodes (units, heads, positions) and edges (one reader without one writer) can be
masked from outside. Blocks are a Python loop; in a `scan` a name stands for all layers.

References: Elhage et al., "A mathematical framework for transformer circuits", 2021;
Gao et al., "Weight-sparse transformers have interpretable circuits", 2025
(arXiv:2511.13653), for norms without gains, sinks, and activations of which few are
not zero.
"""

import functools
import itertools as it
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from sparsejax import checks
from sparsejax.models._variables import Model

_EPSILON = 1e-5  # of the norm


def transformer(
    vocabulary: int,
    length: int,
    *,
    layers: int = 2,
    width: int = 32,
    heads: int = 4,
    head: int = 8,
    neurons: int = 64,
    norm: str | None = "rms",
    sink: bool = True,
    active: float | None = None,
    activation: Callable[[Array], Array] = jax.nn.relu,
    edges: bool = True,
) -> Model:
    """A causal transformer `(..., positions) -> (..., positions, vocabulary)`.

    Named are, with T positions and D the width, of layer i

    - `z_i` (..., T, heads, head): what the heads attend to; masks of heads are
      `(heads, 1)`; before it `query_i`, `key_i`, `value_i` of that shape;
    - `mlp_i` (..., T, neurons): the neurons;
    - writers: `token`, `position` and their sum `embed` (..., T, D); `head_i`
      (..., T, heads, D), whose sum over heads is `attention_i`; `mlp_out_i`;
    - readers, copies of the residual stream before its norm: `read_q_i`, `read_k_i`,
      `read_v_i`, `read_mlp_i` and, before the logits, `read_out` (..., T, D).

    Every reader is the sum of the writers before it.

    Args:
        vocabulary: number of tokens, and of logits.
        length: largest number of positions.
        layers: blocks of heads, then neurons.
        width: channels of the residual stream.
        heads: heads in each block.
        head: channels of each head.
        neurons: neurons in each block; 0 for attention only.
        norm: "rms" divides what is read by its root mean square (there are no gains:
            they are part of the kernels that read); None reads it as it is.
        sink: whether each head has a learnt score of attending to nothing.
        active: share of the channels that stay where activations are made sparse, the
            largest by magnitude and those equal to the last of them: of what heads and
            neurons read, of queries, keys, values, `z_i` (all heads together), `mlp_i`
            and `mlp_out_i`. None keeps all.
        activation: of the neurons.
        edges: whether there is `head_i`, what each head writes by itself, as edges from
            single heads need it. Without, a forward pass is up to twice as fast (the
            parameters are the same).

    Returns:
        A `Model`; `apply(params, ids, positions=None)`, with `positions` a static
        number or sequence of them (-1 the last), gives logits there alone, and the last
        block then works for them alone: its queries, neurons and readers have as many
        positions.

    Raises:
        ValueError: for sizes below 1 (neurons: 0), another norm, a share out of (0, 1];
            and, when called, for ids that are no integers or longer than `length`, and
            positions that do not exist.

    Example:
        >>> model = transformer(5, 8)
        >>> ids = jnp.zeros((3, 8), int)
        >>> params = model.init(jax.random.key(0), ids)
        >>> model.apply(params, ids).shape, model.apply(params, ids, positions=-1).shape
        ((3, 8, 5), (3, 1, 5))
        >>> params["block_1"]["query"]["kernel"].shape
        (32, 32)
    """
    sizes = {
        name: checks.integer(size, name, 0 if name == "neurons" else 1)
        for name, size in {
            "vocabulary": vocabulary,
            "length": length,
            "layers": layers,
            "width": width,
            "heads": heads,
            "head": head,
            "neurons": neurons,
        }.items()
    }
    if norm not in ("rms", None):
        raise ValueError(f"norm is {norm!r}; expected 'rms' or None")
    if active is not None and not 0 < active <= 1:
        raise ValueError(f"active is {active}; expected a share in (0, 1], or None")
    options = {"norm": norm, "sink": sink, "active": active, "edges": edges}
    shape = _Shape(**sizes, **options, activation=activation)
    apply = functools.partial(_apply, shape)

    def train_apply(params, ids, *, key):
        checks.one_key(key)  # though nothing is drawn
        return apply(params, ids), params

    return Model(functools.partial(_init, shape), apply, train_apply)


class _Shape(NamedTuple):
    """The arguments of `transformer`."""

    vocabulary: int
    length: int
    layers: int
    width: int
    heads: int
    head: int
    neurons: int
    norm: str | None
    sink: bool
    active: float | None
    activation: Callable[[Array], Array]
    edges: bool


def _init(shape: _Shape, key: Any, ids: Any) -> PyTree:
    """Kernels of variance 1 / inputs, embeddings that add up to 1, zero biases."""
    checks.one_key(key)
    _check(shape, ids)
    counter = it.count()

    def normal(inputs, *size):
        own = jax.random.fold_in(key, next(counter))
        return jax.random.normal(own, size) / math.sqrt(inputs)

    def dense(inputs, outputs):
        return {"kernel": normal(inputs, inputs, outputs), "bias": jnp.zeros(outputs)}

    width, inner = shape.width, shape.heads * shape.head
    params: dict[str, Any] = {
        "embed": {
            "token": normal(2, shape.vocabulary, width),
            "position": normal(2, shape.length, width),
        }
    }
    for i in range(shape.layers):
        block: dict[str, Any] = {
            name: dense(width, inner) for name in ("query", "key", "value")
        }
        # without a bias: one of the residual stream would belong to no head
        block["out"] = {"kernel": normal(inner, inner, width)}
        if shape.sink:
            block["sink"] = jnp.zeros(shape.heads)
        if shape.neurons:
            block["up"] = dense(width, shape.neurons)
            block["down"] = dense(shape.neurons, width)
        params[f"block_{i}"] = block
    params["unembed"] = dense(width, shape.vocabulary)
    return params


def _apply(
    shape: _Shape,
    params: PyTree,
    ids: Int[ArrayLike, "*batch length"] | Any,
    positions: int | Sequence[int] | Any = None,
) -> Float[Array, "*batch positions vocabulary"]:
    ids = _check(shape, ids)
    count = ids.shape[-1]
    rows = _rows(positions, count)
    token = checkpoint_name(jnp.asarray(params["embed"]["token"])[ids], "token")
    place = jnp.asarray(params["embed"]["position"])[:count]
    place = checkpoint_name(jnp.broadcast_to(place, token.shape), "position")
    h = checkpoint_name(token + place, "embed")
    for i in range(shape.layers):
        block, here = params[f"block_{i}"], rows if i == shape.layers - 1 else None
        h = _take(h, here) + _attention(shape, block, h, i, here)
        if shape.neurons:
            read = _read(shape, h, f"read_mlp_{i}")
            a = shape.activation(_dense(block["up"], read))
            a = checkpoint_name(_sparse(shape, a), f"mlp_{i}")
            out = _sparse(shape, _dense(block["down"], a))
            h = h + checkpoint_name(out, f"mlp_out_{i}")
    h = _normalize(shape, checkpoint_name(h, "read_out"))
    return _dense(params["unembed"], h)


def _attention(shape: _Shape, block, h, i: int, rows) -> Float[Array, "*batch to D"]:
    """What the heads of a block write, at some positions."""

    def project(name, letter, h):
        read = _read(shape, h, f"read_{letter}_{i}")
        x = _sparse(shape, _dense(block[name], read))
        x = x.reshape(*x.shape[:-1], shape.heads, shape.head)
        return checkpoint_name(x, f"{name}_{i}")

    query = project("query", "q", _take(h, rows))
    key, value = project("key", "k", h), project("value", "v", h)
    scores = jnp.einsum("...qhe,...khe->...hqk", query, key)
    scores = scores / math.sqrt(shape.head)
    count = h.shape[-2]
    past = np.tri(count, dtype=bool)[slice(None) if rows is None else rows]
    if not past.all():
        scores = jnp.where(past, scores, jnp.finfo(scores.dtype).min)
    if shape.sink:
        nothing = jnp.asarray(block["sink"])[:, None, None]
        nothing = jnp.broadcast_to(nothing, (*scores.shape[:-1], 1))
        scores = jnp.concatenate([nothing, scores], axis=-1)
    weights = jax.nn.softmax(scores)[..., -count:]
    z = jnp.einsum("...hqk,...khe->...qhe", weights, value)
    if shape.active is not None:  # of all heads together
        flat = _sparse(shape, z.reshape(*z.shape[:-2], -1))
        z = flat.reshape(z.shape)
    z = checkpoint_name(z, f"z_{i}")
    out = jnp.asarray(block["out"]["kernel"])
    if shape.edges:  # XLA does not see that this and the sum are one product
        apart = out.reshape(shape.heads, shape.head, shape.width)
        apart = jnp.einsum("...he,hed->...hd", z, apart)
        written = checkpoint_name(apart, f"head_{i}").sum(-2)
    else:
        written = z.reshape(*z.shape[:-2], -1) @ out
    return checkpoint_name(written, f"attention_{i}")


def _read(shape: _Shape, h, name: str) -> Float[Array, "*batch D"]:
    return _sparse(shape, _normalize(shape, checkpoint_name(h, name)))


def _normalize(shape: _Shape, h) -> Float[Array, "*batch D"]:
    if shape.norm is None:
        return h
    return h * jax.lax.rsqrt(jnp.square(h).mean(-1, keepdims=True) + _EPSILON)


def _sparse(shape: _Shape, h) -> Float[Array, "*batch units"]:
    """Zero but for the largest magnitudes along the last axis."""
    count = h.shape[-1]
    if shape.active is None or not count:
        return h
    size = jnp.abs(h)
    least = jax.lax.top_k(size, max(1, int(shape.active * count)))[0][..., -1:]
    return jnp.where(size >= least, h, jnp.zeros((), h.dtype))


def _dense(layer, x) -> Float[Array, "*batch units"]:
    return x @ jnp.asarray(layer["kernel"]) + jnp.asarray(layer["bias"])


def _take(h, rows) -> Float[Array, "*batch rows D"]:
    """Some positions; those in a row by a slice, which is faster than a gather."""
    return h if rows is None else h[..., rows, :]


def _rows(positions: int | Sequence[int] | Any, count: int) -> Any:
    """A slice or an array of numbers; None for all positions."""
    if positions is None:
        return None
    numbers = [checks.integer(p, "positions") for p in checks.several(positions)]
    wrong = [p for p in numbers if not -count <= p < count]
    if wrong or not numbers:
        raise ValueError(
            f"positions are {numbers}; expected some from {-count} to {count - 1}, of "
            f"{count} ids"
        )
    rows = np.array(numbers) % count
    if (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _check(shape: _Shape, ids: Any) -> Int[Array, "..."]:
    """Tokens as an array, if they are some."""
    checks.array(ids, "ids")
    fits = np.ndim(ids) and 1 <= np.shape(ids)[-1] <= shape.length
    if not fits or not jnp.issubdtype(jnp.result_type(ids), np.integer):
        raise ValueError(
            f"ids are {checks.described(ids)}; expected integers of shape (..., T), T "
            f"from 1 to {shape.length}"
        )
    checks.labels(ids, shape.vocabulary, name="ids")
    return jnp.asarray(ids)
