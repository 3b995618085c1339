"""The naming rule, one made-up function each; nothing is run but what is traced."""

import jax
import jax.numpy as jnp
import pytest

import sparsejax as sj

relu = jax.nn.relu


def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


X, SQUARE = array(4, 6), array(6, 6)


def tokens(count):
    return jax.ShapeDtypeStruct((count,), jnp.int32)


def layer_norm(x):
    scaled = x - x.mean(-1, keepdims=True)
    return scaled / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)


def convolved(x, kernel, layout="NHWC"):
    axes = (layout, "HWIO" if layout == "NHWC" else "OIHW", layout)
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=axes
    )


def between(function):
    """A layer, a function, and a layer that reads it."""
    return lambda p, x: function(x @ p["a"]) @ p["b"]


def points(fn, params, *args):
    return {p.name: p for p in sj.points(fn, params, *args) if p.name}


def defaults(fn, params, *args):
    return {n: p.shape for n, p in points(fn, params, *args).items() if p.is_default}


@pytest.mark.parametrize(
    "function",
    [
        relu,
        jax.nn.gelu,
        lambda x: 0.5 * x * jax.lax.erfc(-0.7 * x),
        jax.nn.silu,  # reads x twice
        jax.nn.softmax,
        jax.nn.relu6,
        lambda x: jnp.where(x > 0, x, 0.1 * x),
        lambda x: relu(layer_norm(x)),
        lambda x: x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5),
        lambda x: jnp.tanh(x) + 0.5 * x,
    ],
)
def test_post_is_the_last_that_is_made_of_a_layer_alone(function):
    """The layer after it reads it: `b:in` is an alias."""
    found = points(between(function), {"a": SQUARE, "b": SQUARE}, X)
    assert found["b:in"].alias == "a:post"
    assert found["a:pre"].alias == found["a:post"].alias == ""
    assert defaults(between(function), {"a": SQUARE, "b": SQUARE}, X) == {
        "a:post": (4, 6)
    }


def test_pre_ends_the_sums_and_products_with_parameters():
    def fn(p, x):
        h = (x @ p["a"]["w"] + p["a"]["b"] - p["mean"]) / p["std"] * 2
        return relu(h) @ p["b"]["w"]

    vector = array(6)
    params = {"a": {"w": SQUARE, "b": vector}, "mean": vector, "std": vector}
    program = points(fn, params | {"b": {"w": SQUARE}}, X)
    assert [*program] == ["a:in", "a:pre", "a:post", "b:in", "b:pre", "b:post"]
    lines = [p.place.rpartition(":")[2] for p in program.values()]
    assert lines[1] == str(fn.__code__.co_firstlineno + 1)  # the division's
    assert lines[2] == str(fn.__code__.co_firstlineno + 2)
    assert program["b:pre"].is_output and not program["a:post"].is_output


def test_a_reciprocal_is_not_linear():
    found = points(between(lambda h: 1 / h), {"a": SQUARE, "b": SQUARE}, X)
    assert not found["a:pre"].alias and not found["a:post"].alias


def test_residual_streams_are_sums():
    def block(h, p):
        return h + relu(layer_norm(h) @ p["w1"]) @ p["w2"]

    def fn(p, x):
        return block(block(x @ p["e"], p["0"]), p["1"]) @ p["o"]

    blocks = {n: {"w1": array(6, 9), "w2": array(9, 6)} for n in "01"}
    params = {"e": SQUARE, "o": SQUARE, **blocks}
    found = points(fn, params, X)
    assert found["1/w2:sum"].shape == (4, 6) and not found["0/w2:sum"].alias
    assert found["o:in"].alias == "1/w2:sum"
    assert defaults(fn, params, X) == {
        "e:post": (4, 6), "0/w1:post": (4, 9), "0/w2:post": (4, 6),
        "1/w1:post": (4, 9), "1/w2:post": (4, 6),
    }  # fmt: skip


@pytest.mark.parametrize("after", [relu, jax.nn.silu, jax.nn.gelu])
def test_a_sum_takes_functions_of_each_entry_with_it(after):
    def fn(p, x):
        h = relu(x @ p["a"])
        return after(h + layer_norm(h @ p["b"])) @ p["c"]

    found = points(fn, {n: SQUARE for n in "abc"}, X)
    assert found["c:in"].alias == "b:sum"


def test_a_sum_takes_no_normalization_with_it():
    def fn(p, x):
        h = relu(x @ p["a"])
        return layer_norm(h + h @ p["b"]) @ p["c"]

    found = points(fn, {n: SQUARE for n in "abc"}, X)
    assert not found["c:in"].alias and not found["b:sum"].alias


def test_post_norm_blocks_and_parallel_blocks():
    def post_norm(p, x):
        h = layer_norm(x @ p["e"])
        return layer_norm(h + relu(h @ p["a"]) @ p["b"]) @ p["o"]

    def parallel(p, x):
        h = x @ p["e"]
        n = layer_norm(h)
        return (h + relu(n @ p["a"]) @ p["b"] + jnp.tanh(n @ p["o"])) @ p["a"]

    params = {n: SQUARE for n in "eabo"}
    assert [*defaults(post_norm, params, X)] == ["e:post", "a:post", "b:post"]
    assert [*defaults(parallel, params, X)] == ["e:post", "a:post", "b:post", "o:post"]
    assert "a#2:in" in points(parallel, params, X)


def test_layer_scale_and_stochastic_depth_belong_to_the_layer():
    def fn(p, x, key):
        h = x @ p["e"]
        keep = jax.random.bernoulli(key, 0.9, (4, 1))
        branch = relu(h @ p["a"]) @ p["b"] * p["gamma"]
        return (h + jnp.where(keep, branch / 0.9, 0)) @ p["o"]

    params = {n: SQUARE for n in "eabo"} | {"gamma": array(6)}
    key = jax.eval_shape(jax.random.key, 0)
    found = points(fn, params, X, key)
    assert not found["b:post"].alias and found["o:in"].alias == "b:sum"


def test_dropout_is_part_of_post():
    def fn(p, x, key):
        keep = jax.random.bernoulli(key, 0.5, (4, 6))
        return jnp.where(keep, relu(x @ p["a"]) * 2, 0) @ p["b"]

    key = jax.eval_shape(jax.random.key, 0)
    found = points(fn, {"a": SQUARE, "b": SQUARE}, X, key)
    assert found["b:in"].alias == "a:post"


def test_statistics_that_are_returned_are_no_way_out():
    """As of a batch norm in training; but what is as large as the layer is."""

    def fn(p, x, whole=False):
        h = x @ p["a"]
        mean = h.mean(0)
        return relu(h - mean) @ p["b"], h if whole else mean

    params = {"a": SQUARE, "b": SQUARE}
    assert points(fn, params, X)["b:in"].alias == "a:post"
    found = points(lambda p, x: fn(p, x, whole=True), params, X)
    assert found["a:post"].alias == "a:pre"


def test_gates_and_what_they_gate():
    def gated(p, x):
        return (jax.nn.silu(x @ p["g"]) * (x @ p["u"])) @ p["d"]

    def squeeze_excite(p, x):
        h = relu(x @ p["g"])
        return (h * jax.nn.sigmoid(relu(h.mean(0) @ p["u"]) @ p["d"])) @ p["o"]

    params = {n: SQUARE for n in "gudo"}
    assert [*defaults(gated, params, X)] == ["g:post", "u:post", "d:in"]
    assert [*defaults(squeeze_excite, params, X)] == [
        "g:post", "u:post", "d:post", "o:in",
    ]  # fmt: skip


def attention(p, x, mask=None):
    q, k, v = (jnp.einsum("td,dhe->thei"[:-1], x, p[n]) for n in "qkv")
    scores = jnp.einsum("qhe,khe->hqk", q, k) / 2
    scores = scores if mask is None else scores + mask
    return jnp.einsum("hqk,khe->qhe", jax.nn.softmax(scores), v)


HEADS = {n: array(6, 3, 2) for n in "qkv"} | {"o": array(3, 2, 6)}


def test_attention_by_its_output_kernel():
    def fn(p, x):
        return jnp.einsum("the,hed->td", attention(p, x), p["o"])

    found = points(fn, HEADS, X)
    assert found["o:pattern"].shape == found["o:scores"].shape == (3, 4, 4)
    assert found["o:pattern"].units == 0 and not found["o:pattern"].is_default
    assert found["o:in"].shape == (4, 6) and found["o:in"].is_default
    assert [*defaults(fn, HEADS, X)] == ["q:post", "k:post", "v:post", "o:in"]


def test_attention_with_masks_made_of_tokens():
    def fn(p, ids):
        mask = jnp.where(ids == 3, -1e9, 0.0) + (ids == 2).astype(jnp.float32)
        mixed = attention(p, p["e"][ids], mask)
        return jnp.einsum("the,hed->td", mixed, p["o"])

    found = points(fn, HEADS | {"e": array(9, 6)}, tokens(5))
    assert found["o:pattern"].shape == (3, 5, 5)
    assert found["e:out"].shape == (5, 6)


def test_rotated_queries_are_posts():
    """RMS norm and rotary positions between the layer and the product."""

    def rotated(h):
        h = h / jnp.sqrt((h**2).mean(-1, keepdims=True) + 1e-6)
        half = jnp.stack([-h[..., 1::2], h[..., ::2]], -1).reshape(h.shape)
        return h * jnp.cos(jnp.arange(6.0)) + half * jnp.sin(jnp.arange(6.0))

    def fn(p, x):
        q, k = rotated(x @ p["q"]), rotated(x @ p["k"])
        return (jax.nn.softmax(q @ k.T) @ (x @ p["v"])) @ p["o"]

    found = points(fn, {n: SQUARE for n in "qkvo"}, X)
    assert not found["q:post"].alias and found["q:post"].is_default
    assert found["o:pattern"].shape == (4, 4)


def test_pooled_outputs_and_class_tokens():
    def pooled(p, x):
        return relu(x @ p["a"]).mean(0) @ p["b"]

    def class_token(p, x):
        h = jnp.concatenate([p["cls"], relu(x @ p["a"])])
        return layer_norm(h @ p["b"])[0] @ p["o"]

    params = {n: SQUARE for n in "abo"} | {"cls": array(1, 6)}
    assert defaults(pooled, params, X) == {"a:post": (4, 6)}
    assert points(pooled, params, X)["b:in"].shape == (6,)
    found = points(class_token, params, X)
    assert found["a:post"].shape == (4, 6) and found["b:post"].shape == (5, 6)
    assert not found["b:post"].is_output


def test_units_come_last_whatever_the_layout():
    def first(p, x):  # channels before places
        h = relu(convolved(x, p["a"], "NCHW"))
        return h.mean((2, 3)) @ p["b"]

    def vmapped(p, x):
        return jax.vmap(lambda v: p["b"] @ relu(p["a"] @ v), 1, 1)(x)

    def middle(p, x):
        h = relu(jnp.einsum("nd,df->fn", x, p["a"]))
        return jnp.einsum("fn,gf->gn", h, p["b"])

    def heads(p, x):
        h = relu(jnp.einsum("nd,dhe->hne", x, p["a"]))
        return jnp.einsum("hne,hed->nd", h, p["b"])

    images = array(2, 3, 5, 5)
    shapes = defaults(first, {"a": array(8, 3, 3, 3), "b": array(8, 4)}, images)
    assert shapes == {"a:post": (2, 5, 5, 8)}
    params = {"a": array(8, 6), "b": array(3, 8)}
    assert defaults(vmapped, params, array(6, 4)) == {"a:post": (4, 8)}
    assert defaults(middle, {"a": array(6, 8), "b": array(3, 8)}, X) == {
        "a:post": (4, 8)
    }
    params = {"a": array(6, 3, 2), "b": array(3, 2, 6)}
    assert defaults(heads, params, X) == {"a:post": (4, 6)}


def test_a_group_norm_that_tears_the_channels_apart_and_joins_them():
    def fn(p, x):
        h = convolved(x, p["a"])
        groups = h.reshape(2, 5, 5, 2, 4)
        groups = groups - groups.mean((1, 2, 4), keepdims=True)
        return relu(groups.reshape(h.shape)).mean((1, 2)) @ p["b"]

    params = {"a": array(3, 3, 3, 8), "b": array(8, 4)}
    found = points(fn, params, array(2, 5, 5, 3))
    assert found["a:post"].shape == (2, 5, 5, 8) and not found["a:post"].alias


def test_where_units_and_places_mix_the_chain_ends_with_a_note():
    def fn(p, x):
        return relu((x @ p["a"]).reshape(-1)) @ p["b"]

    found = points(fn, {"a": SQUARE, "b": array(24, 2)}, X)
    assert found["a:post"].alias == "a:pre" and found["a:post"].shape == (4, 6)
    assert "can't be followed to" in found["a:post"].note
    assert found["b:in"].shape == (24,)


def test_pooling_ends_post_even_if_it_keeps_the_shape():
    def fn(p, x):
        h = relu(convolved(x, p["a"]))
        window = (1, 3, 3, 1)
        h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, window, (1,) * 4, "SAME")
        return h.mean((1, 2)) @ p["b"]

    params = {"a": array(3, 3, 3, 8), "b": array(8, 4)}
    found = points(fn, params, array(2, 5, 5, 3))
    assert "can't be followed" in found["a:post"].note


def test_batched_kernels_and_ensembles():
    def experts(p, x):
        h = relu(jnp.einsum("ecd,edf->ecf", x, p["a"]))
        return jnp.einsum("ecf,efd->ecd", h, p["b"])

    def ensemble(p, x):
        return jax.vmap(lambda q: relu(x @ q["a"]) @ q["b"])(p)

    def ragged(p, x):
        h = jax.lax.ragged_dot(x, p["a"], jnp.array([1, 1, 2]))
        return relu(h) @ p["b"][0]

    params = {"a": array(3, 6, 8), "b": array(3, 8, 6)}
    assert defaults(experts, params, array(3, 5, 6)) == {"a:post": (5, 24)}
    assert defaults(ensemble, params, X) == {"a:post": (4, 24)}
    assert defaults(ragged, params, X) == {"a:post": (4, 8)}


def test_several_parameters_in_a_kernel_have_their_folders_name():
    def lora(p, x):
        a, b = p["a"], p["b"]
        return relu(x @ (a["kernel"] + a["down"] @ a["up"])) @ b["kernel"]

    def weight_norm(p, x):
        a = p["a"]
        kernel = a["v"] * a["g"] / jnp.linalg.norm(a["v"], axis=0)
        return relu(x @ kernel) @ p["b"]["kernel"]

    b = {"kernel": SQUARE}
    params = {"a": {"kernel": SQUARE, "down": array(6, 2), "up": array(2, 6)}, "b": b}
    assert [*defaults(lora, params, X)] == ["a:post"]
    params = {"a": {"v": SQUARE, "g": array(6)}, "b": b}
    assert [*defaults(weight_norm, params, X)] == ["a:post"]


def test_paths_lose_what_says_nothing():
    def fn(p, x):
        h = relu(x @ p["mlp/linear"]["w"])
        return relu(h @ p["qkv"]["q"] + h @ p["qkv"]["k"]) @ p["out"]["value"]

    params = {
        "mlp/linear": {"w": SQUARE}, "qkv": {"q": SQUARE, "k": SQUARE},
        "out": {"value": SQUARE},
    }  # fmt: skip
    names = {name.partition(":")[0] for name in points(fn, params, X)}
    assert names == {"mlp/linear", "qkv/q", "qkv/k", "out"}


def test_uses_are_numbered_and_slices_have_their_index():
    def siamese(p, x):
        return (relu(x @ p["a"]) * relu((x + 1) @ p["a"])).sum()

    def stack(p, x):
        return relu(relu(x @ p["w"][0]) @ p["w"][1]) @ p["w"][-1]

    assert [*defaults(siamese, {"a": SQUARE}, X)] == ["a:post", "a#2:post"]
    assert [*defaults(stack, {"w": array(3, 6, 6)}, X)] == ["w[0]:post", "w[1]:post"]
    found = points(lambda p, x: stack({"w": p}, x), array(3, 6, 6), X)
    assert "params[2]:in" in found
    found = points(lambda p, x: x @ p, SQUARE, X)
    assert [*found] == ["params:in", "params:pre", "params:post"]


def test_tied_embeddings_and_lookups_by_one_number():
    def tied(p, ids):
        return relu(p["e"][ids] @ p["w"]) @ p["e"].T

    def single(p, i):
        return relu(p["e"][i] @ p["w"]) @ p["w"]

    params = {"e": array(9, 6), "w": SQUARE}
    assert defaults(tied, params, tokens(5)) == {"e:post": (5, 6), "w:post": (5, 6)}
    assert points(tied, params, tokens(5))["e#2:pre"].shape == (5, 9)
    index = jax.ShapeDtypeStruct((), jnp.int32)
    assert [*defaults(single, params, index)] == ["e:post", "w:post"]


def test_positions_are_added_after_the_rows_are_looked_up():
    def fn(p, ids):
        return (p["e"][ids] + p["pos"]) @ p["w"]

    params = {"e": array(9, 6), "pos": array(5, 6), "w": SQUARE}
    found = points(fn, params, tokens(5))
    assert not found["e:out"].alias and found["w:in"].alias == "e:pre"


def test_loops_that_slice_parameters_have_their_length():
    def layers(p, x):
        return jax.lax.scan(lambda h, w: (relu(h @ w), None), x, p["w"])[0]

    def by_index(p, x):
        return jax.lax.fori_loop(0, 3, lambda i, h: relu(h @ p["w"][i]), x)

    def over_time(p, x):
        def step(h, x):
            return jnp.tanh(h + x @ p["w"][0]), h

        return jax.lax.scan(step, jnp.zeros(6), x)

    def nested(p, x):
        def outer(h, w):
            return jax.lax.fori_loop(0, 5, lambda i, h: relu(h @ w), h), None

        return jax.lax.scan(outer, x, p["w"])[0]

    params = {"w": array(3, 6, 6)}
    loops = [points(fn, params, X) for fn in (layers, by_index, over_time, nested)]
    assert [found["w:post"].loops for found in loops[:2]] == [(3,), (3,)]
    assert loops[2]["w[0]:in"].loops == (1,)
    assert loops[3]["w:post"].loops == (3, 1)
    assert all(found["w:post"].is_default for found in (*loops[:2], loops[3]))


@jax.custom_vjp
def _ruled(kernel, x):
    return relu(x @ kernel)


_ruled.defvjp(lambda k, x: (_ruled(k, x), (k, x)), lambda kx, g: (kx[0], g @ kx[0].T))


def test_what_lies_in_a_custom_rule_is_listed_and_not_a_default():
    found = points(
        lambda p, x: jnp.tanh(_ruled(p["a"], x)) @ p["b"], {"a": SQUARE, "b": SQUARE}, X
    )
    assert "custom_vjp_call" in found["a:pre"].note
    assert found["a:post"].is_default and not found["a:post"].note

    def ends(p, x):
        return _ruled(p["a"], x) * x

    found = points(ends, {"a": SQUARE}, X)
    assert found["a:post"].is_default and not found["a:post"].note


def test_what_lies_in_loops_and_branches_without_count_is_listed_with_the_reason():
    def loop(p, x):
        def more(h):
            return h.sum() < 9

        return jax.lax.while_loop(more, lambda h: relu(h @ p["a"]), x) @ p["b"]

    def branch(p, x):
        h = jax.lax.cond(x.sum() > 0, lambda h: relu(h @ p["a"]), jnp.sin, x)
        return h @ p["b"]

    params = {"a": SQUARE, "b": SQUARE}
    for fn, kind in ((loop, "while"), (branch, "cond")):
        found = points(fn, params, X)
        assert f"inside a '{kind}'" in found["a:post"].reason
        assert not found["b:in"].reason and not found["a:post"].is_default
        table = str(sj.points(fn, params, X))
        assert "can't be named:" in table and f"inside a '{kind}'" in table


def test_kernels_made_from_data_are_listed_with_the_reason():
    def hypernetwork(p, x):
        return x @ (x.mean(0) @ p["h"]).reshape(6, 3)

    found = sj.points(hypernetwork, {"h": array(6, 18)}, X)
    assert [p.name for p in found] == ["h:in", "h:pre", "h:post", ""]
    assert "product of two activations" in found[-1].reason
    assert "test_naming_rules.py" in found[-1].place


def test_names_of_the_functions_own_are_passed():
    name = jax.ad_checkpoint.checkpoint_name

    def fn(p, x):
        return name(relu(name(x @ p["a"], "logits")), "hidden") @ p["b"]

    found = points(fn, {"a": SQUARE, "b": SQUARE}, X)
    assert defaults(fn, {"a": SQUARE, "b": SQUARE}, X) == {"a:post": (4, 6)}
    assert found["a:post"].shape == (4, 6)


@jax.custom_jvp
def _with_total(h):
    h = jnp.tanh(h)
    return h, h.sum()


@_with_total.defjvp
def _with_total_jvp(primals, tangents):
    return _with_total(*primals), _with_total(*tangents)


@jax.custom_jvp
def _sorted(h):
    return jnp.sort(jnp.tanh(h))


@_sorted.defjvp
def _sorted_jvp(primals, tangents):
    return _sorted(*primals), _sorted(*tangents)


def test_nothing_within_a_custom_rule_is_a_post():
    def within(h):
        return _with_total(h)[0]

    def mixed(h):
        return jnp.sort(_with_total(h)[0])

    params = {"a": SQUARE, "b": SQUARE}
    assert points(between(within), params, X)["b:in"].alias == "a:post"
    found = points(between(mixed), params, X)["a:post"]
    assert not found.alias and "can't be followed" in found.note
    assert points(between(_sorted), params, X)["a:post"].alias == "a:pre"


def test_a_loop_ends_what_activations_are_made_by():
    def fn(p, x):
        product = (x @ p["q"]) @ (x @ p["k"]).T
        h = jax.lax.scan(lambda h, w: (jnp.sin(h * w), None), product, p["w"])[0]
        return h @ p["o"]

    params = {"q": SQUARE, "k": SQUARE, "w": array(3), "o": array(4, 2)}
    assert "o:in" not in defaults(fn, params, X)
