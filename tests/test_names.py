"""How activations are called, and where they can be changed."""

import os
import subprocess
import sys
import textwrap

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax.masks import Masks

W = jnp.array([[0.5, 0.1], [0.2, 0.3]])
X = jnp.array([1.0, 2.0])
NONE = jnp.ones(())
IMAGE = jnp.ones((3, 5, 6))


def add(x, name="h"):
    return checkpoint_name(x + 1, name)


same = jax.jit(add)  # traced once: both calls share one inner function
PROGRAMS = {
    "in a row": (lambda p, x: add(add(p * x)), ["h", "h#2"]),
    "in calls": (lambda p, x: same(add(same(p * x))), ["h", "h#2", "h#3"]),
    "in a call in a call": (
        lambda p, x: add(jax.jit(lambda x: add(same(x)))(p * x)),
        ["h", "h#2", "h#3"],
    ),
    "rematerialized": (lambda p, x: jax.checkpoint(add)(add(p * x)), ["h", "h#2"]),
    "with others between": (
        lambda p, x: add(add(add(p * x), "a")),
        ["h", "a", "h#2"],
    ),
    "where a number is taken": (
        lambda p, x: add(add(add(p * x), "h#2")),
        ["h", "h#2", "h#3"],
    ),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_several_of_one_name_are_numbered_in_the_order_of_the_program(case):
    fn, names = PROGRAMS[case]
    masks = sj.masks.ones(lambda w, x: fn(1.0, x @ w), W, X)
    assert list(masks.nodes) == names
    out, acts = sj.activations(fn)(NONE, X)
    assert list(acts) == names
    for i, name in enumerate(names):
        np.testing.assert_allclose(acts[name], X + i + 1)
        # changed alone: all before it is gone, each after it adds one
        edited = sj.edit(fn, {name: lambda h: 0 * h})(NONE, X)
        np.testing.assert_allclose(edited, np.full(2, len(names) - 1.0 - i))
        only = Masks(NONE, {name: jnp.array([1.0, 0.0])})
        masked = jax.jit(sj.masked(fn))(NONE, only, X)
        np.testing.assert_allclose(masked, [out[0], len(names) - 1.0 - i])


def test_analyses_call_them_the_same():
    def fn(p, x):
        h = checkpoint_name(jax.nn.relu(x @ p["a"]), "mlp")
        h = checkpoint_name(jax.nn.relu(h @ p["b"]), "mlp")
        return h @ p["c"] + p["d"]

    params = {"a": W, "b": W + 1, "c": W - 1, "d": jnp.zeros(2)}
    names = ["mlp", "mlp#2"]
    explained = sj.relevance.explain(fn, params, X, target=0, baseline="zero")
    assert [n for n in explained.nodes if n.startswith("mlp")] == names
    graph = sj.flowgraph.trace(lambda x: fn(params, x), X)
    named = {key.split("[")[0].split(".")[0] for key in graph.keys}
    assert {key for key in named if "mlp" in key} == set(names)
    kept = {"mlp#2": jnp.array([1.0, 0.0])}
    small = sj.prune.remove_nodes(fn, params, kept, X[None])
    off = sj.masked(fn)(params, Masks(jax.tree.map(jnp.ones_like, params), kept), X)
    mean = sj.activations(fn)(params, X)[1]["mlp#2"][1] * params["c"][1]
    np.testing.assert_allclose(fn(small, X), off + mean, rtol=1e-6)
    far = sj.weights.expand(fn, params, "mlp", "mlp#2", size=(2,))
    assert far.weights.shape == (2, 2)


def inner(p, x):
    return checkpoint_name(jnp.tanh(x @ p), "hidden").sum()


eye = jnp.eye(2)
GRADIENTS = {
    "grad": lambda p, x: jax.grad(inner, 1)(p, x),
    "value_and_grad": lambda p, x: jax.value_and_grad(inner, 1)(p, x)[1],
    "jacfwd": lambda p, x: jax.jacfwd(inner, 1)(p, x),
    "jacrev": lambda p, x: jax.jacrev(inner, 1)(p, x),
    "hessian": lambda p, x: jax.hessian(inner, 1)(p, x).sum(0),
    "vjp": lambda p, x: jax.vjp(lambda x: inner(p, x), x)[1](1.0)[0],
    "linearize": lambda p, x: jax.linearize(lambda x: inner(p, x), x)[1](x) * x,
    "jvp in vmap": lambda p, x: jax.vmap(
        lambda v: jax.jvp(lambda x: inner(p, x), (x,), (v,))[1]
    )(eye),
    "grad in jit": lambda p, x: jax.jit(jax.grad(jax.jit(inner), 1))(p, x),
    "grad in vmap": lambda p, x: jax.vmap(jax.grad(inner, 1), (None, 0))(p, x[None])[0],
    "grad of remat": lambda p, x: jax.grad(jax.checkpoint(inner), 1)(p, x),
}


@pytest.mark.parametrize("case", GRADIENTS)
def test_names_inside_a_gradient_are_read_but_not_changed(case):
    fn = GRADIENTS[case]
    one_of = Masks(NONE, {"hidden": jnp.array([1.0, 0.0])})
    with pytest.raises(ValueError, match="'hidden' at .*test_names.py:.* a gradient"):
        sj.masked(fn)(W, one_of, X)
    with pytest.raises(ValueError, match="'hidden' at .*differentiate outside"):
        sj.edit(fn, {"hidden": lambda h: 2 * h})(W, X)
    assert sj.masks.ones(lambda p, x: fn(p, x) @ p, W, X).nodes == {}
    _, acts = sj.activations(fn, "hidden")(W, X)
    np.testing.assert_allclose(acts["hidden"].reshape(-1)[:2], jnp.tanh(X @ W))


def test_lifted_first_and_differentiated_outside():
    """The mend that the error tells: W (m (1 - h^2))."""
    mask = jnp.array([1.0, 0.0])
    apply = sj.masked(inner)
    right = np.asarray(W) @ (np.array([1, 0]) * (1 - np.tanh(X @ W) ** 2))
    np.testing.assert_allclose(right, [0.2435, 0.0974], atol=1e-4)
    found = jax.grad(apply, 2)(W, Masks(NONE, {"hidden": mask}), X)
    np.testing.assert_allclose(found, right, rtol=1e-5)


def channels_first(vmapped):
    conv = eqx.nn.Conv2d(3, 6, 3, key=jax.random.key(0))
    params, static = eqx.partition(conv, eqx.is_array)

    def one(params, x):
        h = jax.nn.relu(eqx.combine(params, static)(x))
        return checkpoint_name(eqx.nn.MaxPool2d(2)(h), "maps")

    shape = (4, 3, 8, 8) if vmapped else (3, 8, 8)
    fn = jax.vmap(one, (None, 0)) if vmapped else one
    return fn, params, jnp.ones(shape)


def channels_last():
    fn, params, x = channels_first(True)

    def last(p, x):
        return checkpoint_name(jnp.moveaxis(fn(p, x), 1, -1), "moved")

    def hidden(p, x):
        return last(p, x)

    return hidden, params, x


def vmapped(bias):
    def one(p, x):
        h = p["w"] @ x
        return checkpoint_name(h + p["b"] if bias else h, "hidden")

    params = {"b": jnp.ones(3), "w": jnp.ones((3, 2))}
    return jax.vmap(one, (None, 0)), params, jnp.ones((5, 2))


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: channels_first(False), r"channels of a convolution on axis 0"),
        (lambda: channels_first(True), r"channels of a convolution on axis 1"),
        (lambda: vmapped(bias=False), r"\(3, 5\), grows with the first axis"),
    ],
)
def test_a_last_axis_that_counts_no_units_is_refused(make, says):
    fn, params, x = make()
    with pytest.raises(ValueError, match=says):
        sj.masks.ones(fn, params, x)
    name = sj.activations(fn)(params, x)[1]
    wrong = {k: jnp.ones(h.shape[-1]) for k, h in name.items()}
    if "channels" in says:
        keep = Masks(jax.tree.map(lambda _: NONE, params), wrong)
        with pytest.raises(ValueError, match=says):
            sj.masked(fn)(params, keep, x)


conv = eqx.nn.Conv2d(3, 8, 3, padding=1, key=jax.random.key(0))
norm = eqx.nn.GroupNorm(2, 8)
# What is made of channels that come first, with the axis that they are on.
FOLLOWED = {
    "a normalization of groups": (norm, 0),
    "split over places": (lambda h: jnp.split(h, 2, 2)[1], 0),
    "two side by side": (lambda h: jnp.concatenate([h, h]), 0),
    "resized": (lambda h: jax.image.resize(h, (8, 9, 5), "linear"), 0),
    "pooled over places": (lambda h: h.mean((1, 2)), 0),
    "moved last": (lambda h: jnp.moveaxis(norm(h), 0, -1), 2),
    "in a batch": (lambda h: jnp.stack([h, h]), None),
    "mixed by a matrix": (
        lambda h: jnp.einsum("chw,dc->dhw", h, jnp.ones((4, 8))),
        None,
    ),
    "mixed over places": (lambda h: jnp.einsum("chw,wv->hcv", h, jnp.ones((6, 3))), 1),
    "flattened": (jnp.ravel, None),
}


@pytest.mark.parametrize("case", FOLLOWED)
def test_channels_are_followed_as_far_as_can_be(case):
    step, axis = FOLLOWED[case]
    program = sj.interpret.trace(lambda x: checkpoint_name(step(conv(x)), "h"), IMAGE)
    (site,) = sj.interpret.sites(program)
    assert site.features == axis


def test_units_on_the_last_axis_pass():
    fn, params, x = vmapped(bias=True)
    assert sj.masks.ones(fn, params, x).nodes["hidden"].shape == (3,)
    linen = nn.Conv(6, (3, 3))

    def fn(v, x):
        return checkpoint_name(linen.apply(v, x), "maps")

    x = jnp.ones((4, 8, 8, 3))
    variables = linen.init(jax.random.key(0), x)
    assert sj.masks.ones(fn, variables, x).nodes["maps"].shape == (6,)
    conv, params, x = channels_first(True)

    def named(p, x):
        return checkpoint_name(jnp.moveaxis(conv(p, x), 1, -1), "last")

    sites = sj.interpret.sites(sj.interpret.trace(named, params, x))
    assert [(s.name, s.features) for s in sites] == [("maps", 1), ("last", 3)]


def test_names_are_given_as_several_or_one():
    def fn(p, x):
        return add(add(p * x, "a"), "b")

    for names in ("a", ["a"], (n for n in "a"), {"a": 0}):
        read = sj.activations(fn, names)
        for _ in range(2):
            assert list(read(NONE, X)[1]) == ["a"]


class Unknown(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = checkpoint_name(nn.relu(nn.Dense(3)(x)), "hidden")
        return nn.Dense(2)(jnp.cumprod(h, -1))  # a step that relevance does not know


def test_errors_of_lifted_functions_point_to_the_users_code():
    module = Unknown()
    params = module.init(jax.random.key(0), X)
    ones = sj.masks.ones(module.apply, params, X)
    bound = sj.bind(sj.masked(module.apply), ones)
    edited = sj.edit(module.apply, {"hidden": lambda h: h})
    twice = sj.edit(jax.jit(edited), {"hidden": lambda h: h})
    errors = []
    for fn in (module.apply, bound, edited, twice):
        with pytest.raises(ValueError, match="cumprod") as error:
            sj.relevance.explain(fn, params, X, target=0, baseline="zero")
        errors.append(str(error.value))
    assert "test_names.py:" in errors[0] and "Unknown" in errors[0]
    for error in errors[1:]:
        assert "test_names.py:" in error and "Unknown" in error, error


MESH = """
    import jax, jax.numpy as jnp, numpy as np, sparsejax as sj
    from jax.ad_checkpoint import checkpoint_name as name
    from jax.sharding import NamedSharding, PartitionSpec as P

    mesh = jax.make_mesh((4,), ("data",))  # its axes are explicit
    data = NamedSharding(mesh, P("data"))
    w, x = jnp.ones((4, 3)), np.arange(32.0, dtype=np.float32).reshape(8, 4) / 9
    many = jax.device_put(x, data)
    hidden = lambda h: name(jnp.tanh(h), "inner")
    reshard = lambda h: jax.sharding.reshard(h, NamedSharding(mesh, P()))
    automatic = lambda h: jax.sharding.auto_axes(
        hidden, out_sharding=NamedSharding(mesh, P("data", None)))(h)
    fns = {
        "plain": lambda p, x: hidden(jax.nn.relu(x @ p)),
        "call": lambda p, x: jax.jit(hidden)(x @ p) * 2,
        "remat": lambda p, x: jax.checkpoint(hidden)(x @ p),
        "reshard": lambda p, x: reshard(hidden(x @ p)),
        "automatic": lambda p, x: automatic(x @ p),
        "vmap": lambda p, x: jax.vmap(lambda a: hidden(a @ p))(x),
    }
    masks = sj.masks.Masks(jnp.ones(()), {"inner": jnp.array([1.0, 0.0, 1.0])})
    stacked = jax.tree.map(lambda m: jax.device_put(np.stack([m] * 4), data), masks)
    for label, fn in fns.items():
        apply = sj.masked(fn)
        right = np.asarray(sj.edit(fn, {"inner": lambda h: h * masks.nodes["inner"]})(
            w, x)) if label != "automatic" else np.tanh(x @ w) * [1, 0, 1]
        def check(out):
            np.testing.assert_allclose(np.asarray(out), right, rtol=1e-5)
        check(jax.jit(apply)(w, masks, many))
        check(apply(w, masks, many))
        out, acts = jax.jit(sj.activations(fn))(w, many)
        assert acts["inner"].shape == (8, 3), label
        with jax.set_mesh(mesh):
            check(jax.jit(apply)(w, masks, many))
            grad = jax.jit(jax.grad(lambda p: apply(p, masks, many).sum()))(w)
            assert grad.shape == w.shape
        if label not in ("automatic", "reshard"):
            each = jax.jit(jax.vmap(apply, (None, 0, None)))(w, stacked, x)
            check(np.asarray(each)[3])
    scores = jax.device_put(np.arange(12.0).reshape(4, 3) % 7, data)
    cut = lambda s: sj.prune.remove({"w": s}, {"w": jnp.ones((4, 3))}, 0.5)["w"]
    np.testing.assert_array_equal(jax.jit(cut)(scores), cut(np.asarray(scores)))
    print("done")
"""


def test_meshes_with_explicit_axes():
    """Lifted functions run where the plain ones do, on four devices."""
    count = "--xla_force_host_platform_device_count=4"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {count}"
    env = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", textwrap.dedent(MESH)]
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert run.stdout.endswith("done\n"), run.stderr[-2000:]


def test_analyses_refuse_channels_that_come_first():
    conv, params, x = channels_first(False)

    def fn(p, x):
        return conv(p, jnp.moveaxis(x, -1, 0)).sum((1, 2))

    last = jnp.moveaxis(x, 0, -1)  # as all of the library takes images

    def on(i):
        return (jnp.zeros((1, 8, 8), int)[:, None], jnp.zeros((1, 0), int))

    labels = sj.data.Labels(("", "a"), ("color",), np.array([-1, 0]))
    calls = {
        "render": lambda: sj.features.render(
            fn, params, "maps", 0, key=jax.random.key(0), size=(8, 8, 3), steps=1
        ),
        "expand": lambda: sj.weights.expand(fn, params, None, "maps", size=(8, 8, 3)),
        "dissect": lambda: sj.dissect.dissect(
            fn,
            params,
            "maps",
            [(last[None], *on(0))],
            labels,
            quantile=0.5,
            progress=False,
        ),
        "grad_cam": lambda: sj.relevance.grad_cam(fn, params, last, "maps", target=0),
        "remove_nodes": lambda: sj.prune.remove_nodes(
            lambda p, x: conv(p, x), params, {"maps": jnp.ones(3)}, x
        ),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match="channels of a convolution on axis 0"):
            call()
            pytest.fail(name)


def test_what_stands_beside_a_name_does_not_matter():
    """Steps without results, whole numbers, constants, and names by the example."""

    def beside(p, x):
        h = add(x @ p)
        jax.debug.callback(lambda h: None, h)
        return h

    ones = sj.masks.ones(beside, W, X)
    off = ones._replace(nodes={"h": jnp.array([1.0, 0.0])})
    out = sj.masked(beside)(W, off, X)
    np.testing.assert_allclose(out, (X @ W + 1) * jnp.array([1.0, 0.0]))

    def whole(p, x):
        return (
            checkpoint_name((x @ p).astype(int) * 2, "h").sum().astype(float) + p.sum()
        )

    grads = jax.grad(sj.masked(whole))(W, Masks(NONE, off.nodes), X)
    np.testing.assert_array_equal(grads, np.ones((2, 2)))

    def fixed(p, x):
        return checkpoint_name(jnp.exp(jnp.full(2, 3.0)), "h") * p * x

    to_mask = jax.grad(lambda m: sj.masked(fixed)(NONE, Masks(NONE, {"h": m}), X).sum())
    np.testing.assert_allclose(to_mask(jnp.ones(2)), np.exp(3) * np.asarray(X), 1e-6)

    def each(p, x):
        return jnp.stack([add(row @ p) for row in x])

    assert len(sj.masks.ones(each, W, jnp.ones((3, 2))).nodes) == 3


def test_positions_and_units_of_one_example_are_no_batch():
    def attend(p, x):
        scores = checkpoint_name(jax.nn.softmax(x @ p @ x.T), "pattern")
        return checkpoint_name(scores @ x, "out")

    nodes = sj.masks.ones(attend, W, jnp.ones((5, 2))).nodes
    assert {k: m.shape for k, m in nodes.items()} == {"pattern": (5,), "out": (2,)}
    inputs = sj.masks.ones(lambda p, x: add(x) @ p, W, X).nodes
    assert inputs["h"].shape == (2,)


class Foreign:
    """An array of a library that is not known here."""

    shape, dtype, ndim = (2,), "float32", 1


@pytest.mark.parametrize(
    "call",
    [
        lambda x: sj.masks.ones(lambda p, x: add(x @ p), W, x),
        lambda x: sj.masked(add)(X, Masks(NONE, {"h": jnp.ones(2)}), x),
        lambda x: sj.activations(lambda p, x: add(x @ p))(W, x),
        lambda x: sj.edit(add, {"h": lambda h: h})(x),
    ],
)
def test_arrays_of_other_libraries_get_a_line(call):
    with pytest.raises(ValueError, match="test_names.Foreign; expected arrays of Num"):
        call(Foreign())
