"""Names inside scans, against the same layers written out by hand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax.masks import Masks

LAYERS, UNITS, BATCH = 4, 3, 2
NONE = jnp.ones(())


def layer(h, w):
    return checkpoint_name(jnp.tanh(h @ w), "h"), h.sum()


def scanned(wrap=lambda f: f, **how):
    return lambda p, x: jax.lax.scan(wrap(layer), x, p, **how)


def backwards(p, x):
    def inner(h, ws):
        return jax.lax.scan(layer, h, ws, reverse=True, unroll=2)

    h, sums = jax.lax.scan(jax.jit(inner), x, p[None])
    return h, sums[0]


def nested(p, x):
    p = p.reshape(2, 2, UNITS, UNITS)
    h, sums = jax.lax.scan(lambda h, ws: jax.lax.scan(layer, h, ws), x, p)
    return h, sums.reshape(-1)


def counted(p, x):
    def body(i, state):
        h, sums = state
        new, total = layer(h, p[i])
        return new, sums.at[i].set(total)

    return jax.lax.fori_loop(0, LAYERS, body, (x, jnp.zeros(LAYERS)))


LOOPS = {
    "plain": scanned(),
    "reversed": scanned(reverse=True),
    "unrolled by three": scanned(unroll=3),
    "rematerialized": scanned(
        lambda f: jax.checkpoint(f, policy=jax.checkpoint_policies.dots_saveable)
    ),
    "compiled inside": scanned(jax.jit),
    "rematerialized around": jax.checkpoint(scanned()),
    "nested": nested,
    "nested, reversed, compiled": jax.jit(backwards),
    "fori_loop": counted,
}


def by_hand(p, x, change=lambda h, i: h, order=range(LAYERS)):
    sums, acts = {}, {}
    for i in order:
        sums[i] = x.sum()
        x = change(jnp.tanh(x @ p[i]), i)
        acts[i] = x
    return x, *(jnp.stack([d[i] for i in range(LAYERS)]) for d in (sums, acts))


def expected(p, x, mask, value, order):
    """What every way to change a loop should give."""

    def masked(p, mask):
        return by_hand(p, x, lambda h, i: h * mask[i], order)

    def ablated(p, mask, value):
        return by_hand(p, x, lambda h, i: h * mask[i] + value[i] * (1 - mask[i]), order)

    half = 0.5 + mask / 4
    return {
        "acts": by_hand(p, x, order=order)[2],
        "masked": masked(p, mask)[:2],
        "same": masked(p, jnp.broadcast_to(mask[:1], mask.shape))[0],
        "edited": by_hand(p, x, lambda h, i: h + 1, order)[0],
        "ablated": ablated(p, mask, value)[0],
        "slopes": jax.grad(lambda *a: ablated(*a)[0].sum(), (0, 1, 2))(p, half, value),
        "many": jnp.stack([masked(p, mask)[0], masked(p, 1 - mask)[0]]),
    }


def lifted(fn, p, x, mask, value, shape):
    """The same of a function with a loop; masks have its loops' axes."""

    def laid(a):
        return a.reshape(*shape, *a.shape[1:])

    def masked(p, mask, ablate=None):
        masks = Masks(NONE, {"h": laid(mask)})
        return sj.masked(fn, ablate=ablate)(p, masks, x)

    def ablated(p, mask, value):
        return masked(p, mask, {"h": laid(value)})

    half, same = 0.5 + mask / 4, mask[:1].reshape((1,) * len(shape) + (UNITS,))
    acts = sj.activations(fn)(p, x)[1]["h"]
    assert acts.shape == (*shape, BATCH, UNITS)
    return {
        "acts": acts.reshape(LAYERS, BATCH, UNITS),
        "masked": masked(p, mask),
        "same": sj.masked(fn)(p, Masks(NONE, {"h": same}), x)[0],
        "edited": sj.edit(fn, {"h": lambda h: h + 1})(p, x)[0],
        "ablated": ablated(p, mask, value)[0],
        "slopes": jax.grad(lambda *a: ablated(*a)[0].sum(), (0, 1, 2))(p, half, value),
        "many": jax.vmap(lambda m: masked(p, m)[0])(jnp.stack([mask, 1 - mask])),
    }


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    p, x, value = (
        jnp.asarray(rng.normal(size=shape), jnp.float32)
        for shape in (
            (LAYERS, UNITS, UNITS),
            (BATCH, UNITS),
            (LAYERS, BATCH, UNITS),
        )
    )
    mask = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 1]], np.float32)
    return p, x, jnp.asarray(mask), value


@pytest.fixture(scope="module")
def hand(arrays):
    one = jax.jit(expected, static_argnums=4)
    forth, back = range(LAYERS), range(LAYERS)[::-1]
    return {order: one(*arrays, order) for order in (forth, back)}


@pytest.mark.parametrize("kind", LOOPS)
def test_loops_equal_the_layers_written_out(kind, arrays, hand):
    fn = LOOPS[kind]
    order = range(LAYERS)[:: -1 if "reversed" in kind else 1]
    (site,) = sj.interpret.sites(sj.interpret.trace(fn, *arrays[:2]))
    assert (np.prod(site.loops), site.shape) == (LAYERS, (BATCH, UNITS))
    found = jax.jit(lifted, static_argnums=(0, 5))(fn, *arrays, site.loops)
    for what, value in hand[order].items():
        for a, b in zip(*map(jax.tree.leaves, (found[what], value)), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6, err_msg=what)
    p, x, mask, _ = arrays
    assert np.abs(found["masked"][0] - fn(p, x)[0]).max() > 1e-2
    ones = sj.masks.ones(fn, p, x)
    assert ones.nodes["h"].shape == (*site.loops, UNITS)
    assert sj.masks.count(ones.nodes) == mask.size


@pytest.mark.parametrize("kind", ["reversed", "nested", "rematerialized", "fori_loop"])
def test_unrolled_is_the_function_with_a_name_for_every_step(kind, arrays, hand):
    fn = LOOPS[kind]
    p, x, mask, _ = arrays
    order = range(LAYERS)[:: -1 if kind == "reversed" else 1]
    out, acts = jax.jit(sj.activations(sj.unrolled(fn)))(p, x)
    for a, b in zip(out, jax.jit(fn)(p, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    names = [f"h[{i}]" for i in order]
    if kind == "nested":
        names = [f"h[{i}][{j}]" for i in range(2) for j in range(2)]
    assert sorted(acts) == sorted(names)
    for i, name in zip(order, names):
        np.testing.assert_allclose(acts[name], hand[order]["acts"][i], rtol=1e-5)
    nodes = {name: mask[i] for i, name in zip(order, names)}
    masked = sj.masked(sj.unrolled(fn))(p, Masks(NONE, nodes), x)[0]
    np.testing.assert_allclose(masked, hand[order]["masked"][0], rtol=1e-5)
    said = str(jax.make_jaxpr(sj.unrolled(fn))(p, x))
    assert "scan[" not in said
    assert ("prevent_cse" in said) == (kind == "rematerialized")


def test_unrolled_keeps_the_numbers_of_names_and_leaves_other_functions_alone():
    same = jax.jit(lambda h: checkpoint_name(h + 1, "h"))

    def fn(p, x):
        x = jax.lax.scan(lambda h, w: (same(h) * w, None), same(x), p)[0]
        return jax.nn.relu(same(x))

    p, x = jnp.arange(1.0, 3.0), jnp.ones(2)
    looped, written = (
        sj.activations(fn)(p, x)[1],
        sj.activations(sj.unrolled(fn))(p, x)[1],
    )
    assert list(looped) == ["h", "h#2", "h#3"]
    assert list(written) == ["h", "h#2[0]", "h#2[1]", "h#3"]
    np.testing.assert_array_equal(looped["h#2"][1], written["h#2[1]"])
    np.testing.assert_array_equal(looped["h#3"], written["h#3"])

    def straight(x):
        return jax.nn.relu(same(same(x)))

    plain, same_again = (
        jax.make_jaxpr(f)(x) for f in (straight, sj.unrolled(straight))
    )
    assert str(plain) == str(same_again)


def test_unrolled_functions_are_equal_and_compiled_once():
    traces = []

    def fn(p, x):
        traces.append(1)
        return scanned()(p, x)[0]

    run = jax.jit(lambda f, p, x: f(p, x), static_argnums=0)
    p, x = jnp.ones((LAYERS, UNITS, UNITS)), jnp.ones((BATCH, UNITS))
    for _ in range(3):
        run(sj.unrolled(fn), p, x)
    assert len(traces) == 1
    assert sj.unrolled(fn) != sj.unrolled(fn, max_steps=9)
    with pytest.raises(
        ValueError, match=r"4 steps of a scan at .*test_loops.*, 4 in all"
    ):
        sj.unrolled(fn, max_steps=3)(p, x)
    with pytest.raises(ValueError, match="max_steps is 0"):
        sj.unrolled(fn, max_steps=0)

    def many(x):
        return jax.lax.fori_loop(0, 1000, lambda i, x: x + 1, x)

    with pytest.raises(ValueError, match="1000 steps .*raise max_steps, which is 256"):
        sj.unrolled(many)(1.0)


def recurrent(p, x):
    def step(h, row):
        return checkpoint_name(jnp.tanh(h @ p["k"] + row), "state"), None

    return jax.lax.scan(step, jnp.zeros(UNITS), x)[0]


def test_a_loop_over_time_has_one_mask_for_all_steps(arrays):
    p, x = {"k": arrays[0][0]}, arrays[0][1]
    masks = sj.masks.ones(recurrent, p, x)
    assert masks.nodes["state"].shape == (1, UNITS)
    assert sj.activations(recurrent)(p, x)[1]["state"].shape == (len(x), UNITS)
    one, many = arrays[2][:1], jnp.broadcast_to(arrays[2][:1], x.shape)
    apply = sj.masked(recurrent)
    shared, each = (apply(p, Masks({"k": NONE}, {"state": m}), x) for m in (one, many))
    np.testing.assert_array_equal(shared, each)
    assert np.abs(shared - recurrent(p, x)).max() > 1e-2
    for fn, p, own in ((recurrent, p, False), (scanned(), arrays[0], True)):
        program = sj.interpret.trace(fn, p, x)
        (found,) = sj.interpret.layered(program, jax.tree.leaves(p)).values()
        assert found == (own,)


def test_layers_within_time_and_lookups():
    def fn(p, tokens):
        def step(h, token):
            h = h + p["embed"][token] + p["start"][0]
            h = checkpoint_name(h, "token")

            def block(i, h):
                return checkpoint_name(jnp.tanh(h @ p["w"][i] + p["w"][0]), "block")

            return jax.lax.fori_loop(0, 2, block, h), None

        return jax.lax.scan(step, jnp.ones((3, 3)), tokens)[0]

    p = {"embed": jnp.ones((7, 3)), "start": jnp.ones((1, 3)), "w": jnp.ones((2, 3, 3))}
    nodes = sj.masks.ones(fn, p, jnp.zeros(5, int)).nodes
    assert {k: m.shape for k, m in nodes.items()} == {
        "token": (1, 3),
        "block": (1, 2, 3),
    }


def test_a_custom_rule_around_a_loop_gives_way_only_when_asked_for(arrays):
    @jax.custom_vjp
    def looped(p, x):
        return scanned()(p, x)[0]

    looped.defvjp(
        lambda p, x: (looped(p, x), (p, x)),
        lambda saved, g: (7 * jnp.ones_like(saved[0]), g),
    )
    p, x, mask, _ = arrays

    def fn(p, x):
        return checkpoint_name(looped(p, x), "out").sum()

    def slope(nodes):
        return jax.grad(sj.masked(fn))(p, Masks(NONE, nodes), x)

    np.testing.assert_array_equal(slope({"out": jnp.ones(UNITS)}), np.full_like(p, 7))
    right = jax.grad(lambda p: by_hand(p, x, lambda h, i: h * mask[i])[0].sum())(p)
    np.testing.assert_allclose(slope({"h": mask}), right, rtol=1e-5, atol=1e-6)


def test_what_is_removed_in_a_loop_has_no_gradient():
    """log(0) at a unit that the mask of that step takes away."""

    def fn(p, x):
        def step(total, w):
            return total + checkpoint_name(jnp.log(w * x), "log").sum(), None

        return jax.lax.scan(step, 0.0, p)[0]

    p, x = jnp.array([[0.0, 2.0], [1.0, 0.0]]), jnp.ones(2)
    masks = Masks(NONE, {"log": jnp.array([[0.0, 1.0], [1.0, 0.0]])})
    value, slope = jax.value_and_grad(sj.masked(fn))(p, masks, x)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(slope, [[0, 0.5], [1, 0]])


def test_names_in_the_gradient_of_a_loop_are_read_but_not_changed(arrays):
    p, x, mask, _ = arrays

    def fn(p, x):
        return jax.grad(lambda x: scanned()(p, x)[0].sum())(x)

    acts = sj.activations(fn)(p, x)[1]["h"]
    np.testing.assert_allclose(acts, by_hand(p, x)[2], rtol=1e-6)
    with pytest.raises(ValueError, match="inside a gradient"):
        sj.masked(fn)(p, Masks(NONE, {"h": mask}), x)
    assert sj.masks.ones(lambda p, x: fn(p, x) @ p[0], p, x).nodes == {}


def test_bad_masks_of_loops(arrays):
    p, x, *_ = arrays
    apply = sj.masked(scanned())
    for shape in [(UNITS,), (2, UNITS), (LAYERS,), (LAYERS, 2), ()]:
        says = (
            rf"nodes\['h'\] has shape \({', ?'.join(map(str, shape))},?\), .* \(2, 3\) "
            r"in a loop of 4 steps; a mask .* first, \(4, 3\), or \(1, 3\) for the same"
        )
        with pytest.raises(ValueError, match=says):
            apply(p, Masks(NONE, {"h": jnp.ones(shape)}), x)
    with pytest.raises(ValueError, match=r"\(2, 2, 3\), or \(1, 1, 3\)"):
        sj.masked(nested)(p, Masks(NONE, {"h": jnp.ones((4, 3))}), x)
    with pytest.raises(ValueError, match="in a loop of 4 steps; pass sj.unrolled"):
        sj.activations(scanned(), "h", units=True)(p, x)


def test_a_loop_of_one_step(arrays):
    p, x, mask, _ = arrays
    fn = scanned()
    masks = sj.masks.ones(fn, p[:1], x)
    assert masks.nodes["h"].shape == (1, UNITS)
    out = sj.masked(fn)(p[:1], masks._replace(nodes={"h": mask[:1]}), x)[0]
    np.testing.assert_allclose(out, jnp.tanh(x @ p[0]) * mask[0], rtol=1e-6)


def test_remat_in_a_loop_keeps_its_policy(arrays):
    p, x, mask, _ = arrays
    fn, masks = LOOPS["rematerialized"], Masks(NONE, {"h": mask})
    plain, lifted = (
        str(jax.make_jaxpr(f)(*args))
        for f, args in ((fn, (p, x)), (sj.masked(fn), (p, masks, x)))
    )
    (policy,) = re.findall("policy=.*", plain)
    assert re.findall("policy=.*", lifted) == [policy] and "scan[" in lifted


def test_scores_of_units_in_loops_have_the_shape_of_their_masks(arrays):
    p, x, *_ = arrays
    found = sj.prune.activation_std(scanned(), p, x)["h"]
    np.testing.assert_allclose(found, by_hand(p, x)[2].std(1), rtol=1e-5)
    masks = sj.masks.ones(scanned(), p, x)
    small = sj.prune.remove({"h": found}, masks.nodes, 0.5)
    assert sj.masks.count(small) == LAYERS * UNITS // 2
    shared = sj.prune.activation_std(recurrent, {"k": p[0]}, x)["state"]
    states = sj.activations(recurrent)({"k": p[0]}, x)[1]["state"]
    np.testing.assert_allclose(shared, states.std(0, keepdims=True), rtol=1e-5)
