"""Surgery against least squares, and against its formulas applied one at a time."""

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsejax import prune
from sparsejax.prune import _surgeon as surgeon


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


rngs = st.integers(0, 2**31).map(np.random.default_rng)
DENSITIES = [0.07, 0.25, 0.5, 0.83]


def data(rng, width=7, outputs=3, rows=40, groups=1):
    """A kernel and inputs that are far from independent; grouped ones as patches."""
    shape = (groups, rows, width) if groups > 1 else (rows, width)
    x = rng.normal(size=shape) @ rng.normal(size=(width, width))
    kernel = rng.normal(size=(width, outputs * groups))
    return kernel.reshape(1, width, -1) if groups > 1 else kernel, x


def squares(x, damping):
    """H by its definition, one group."""
    h = 2 * x.T @ x / len(x)
    return h + damping * np.diag(h).mean() * np.eye(len(h))


def cost(h, old, new):
    """(w - w0)' H (w - w0), summed over outputs."""
    change = np.asarray(new, np.float64) - old
    return np.einsum("io,ij,jo->", change, h, change)


def least_squares(x, kernel, mask, damping):
    """Each output by `lstsq` on its support; damping as rows that ask for no change."""
    extra = np.sqrt(damping * np.diag(2 * x.T @ x / len(x)).mean() * len(x) / 2)
    rows = np.concatenate([x, extra * np.eye(len(kernel))])
    new = np.zeros_like(kernel)
    for o in range(kernel.shape[1]):
        on = mask[:, o] != 0
        if on.any():
            target = rows @ kernel[:, o]
            new[on, o] = np.linalg.lstsq(rows[:, on], target, rcond=None)[0]
    return new


def one_by_one(x, kernel, mask, removed, damping, sets=None, most=0):
    """Greedy surgery by the formulas, an inverse for each output; all in one queue."""
    kernel, mask = kernel.copy(), mask.copy()
    inverses = [np.linalg.inv(squares(x, damping)) for _ in kernel.T]

    def remove(i, o):
        inverse, w = inverses[o], kernel[i, o]
        kernel[:, o] -= w / inverse[i, i] * inverse[:, i]
        inverses[o] = inverse - np.outer(inverse[:, i], inverse[i]) / inverse[i, i]
        inverses[o][i, i] = 1
        kernel[i, o] = mask[i, o] = 0

    for i, o in np.argwhere(mask == 0):
        remove(i, o)
    while removed:
        open_ = mask != 0
        if sets is not None:
            counts = np.stack([open_[sets == s].sum(axis=0) for s in np.unique(sets)])
            open_ &= (counts > most)[sets]
        diagonal = np.stack([np.diag(inverse) for inverse in inverses], axis=1)
        costs = np.where(open_, kernel**2 / diagonal, np.inf)
        remove(*np.unravel_index(costs.argmin(), costs.shape))
        removed -= 1
    return kernel, mask


def from_left(h, kernel, block, keep):
    """SparseGPT without a factor or lazy updates; `keep(block, scores) -> mask`.

    At every input what is removed is minimised over all later inputs, the earlier ones
    as they are.
    """
    original, new = kernel, kernel.copy()
    mask = np.ones_like(kernel)
    for j in range(len(h)):
        if j % block == 0:
            last = range(j, min(j + block, len(h)))
            # 1 / [(H of i and all later)^-1]_ii is the square of 1 / U_ii
            spread = [np.linalg.inv(h[i:, i:])[0, 0] for i in last]
            scores = new[j : j + block] ** 2 / np.array(spread)[:, None]
            mask[j : j + block] = keep(j // block, scores)
        later = slice(j + 1, None)
        for o in np.flatnonzero(mask[j] == 0):
            new[j, o] = 0
            change = (new - original)[: j + 1, o]
            pull = h[later, : j + 1] @ change
            new[later, o] = original[later, o] - np.linalg.solve(h[later, later], pull)
    return new, mask


@settings(max_examples=30, deadline=None)
@given(rngs, st.sampled_from([0, 0.01, 1.0]), st.sampled_from([0.0, 0.3, 0.8]))
def test_a_support_gets_its_least_squares(rng, damping, share):
    kernel, x = data(rng)
    mask = (rng.random(kernel.shape) < share).astype(float)
    with jax.enable_x64(True):
        new, same = prune.obs(kernel, x, None, mask=mask, damping=damping)
    np.testing.assert_array_equal(same, mask)
    expected = least_squares(x, kernel, mask, damping)
    np.testing.assert_allclose(new, expected, rtol=0, atol=1e-9 * abs(expected).max())


@settings(max_examples=30, deadline=None)
@given(rngs, st.sampled_from(DENSITIES), st.sampled_from([0, 0.01]), st.booleans())
@pytest.mark.defaults
def test_exact_surgery_is_that_of_the_formulas(rng, density, damping, pruned_before):
    kernel, x = data(rng)
    mask = np.ones_like(kernel)
    if pruned_before:
        mask = (rng.random(kernel.shape) < 0.9).astype(float)
    keep = min(
        prune.kept_count(kernel.size, 1 - Fraction(str(density))), int(mask.sum())
    )
    expected = one_by_one(x, kernel, mask, int(mask.sum()) - keep, damping)
    with jax.enable_x64(True):
        of = Fraction(keep, kernel.size)
        new, kept = prune.obs(kernel, x, of, mask=mask, damping=damping)
    np.testing.assert_array_equal(kept, expected[1])
    np.testing.assert_allclose(new, expected[0], atol=1e-8)


def test_many_panels_of_removals(monkeypatch, rng):
    kernel, x = data(rng, width=12, outputs=4)
    whole = prune.obs(kernel, x, 0.2)
    expected = one_by_one(x, kernel, np.ones_like(kernel), 38, 0.01)
    for panel in (1, 3, 5):
        monkeypatch.setattr(surgeon, "_PANEL", panel)
        new, kept = prune.obs(kernel, x, 0.2)
        np.testing.assert_array_equal(kept, expected[1])
        np.testing.assert_allclose(new, whole.params, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(rngs, st.sampled_from([1, 2, 3, 8]), st.sampled_from(DENSITIES))
def test_blocks_are_chosen_and_made_up_for_from_left_to_right(rng, block, density):
    kernel, x = data(rng)
    h = squares(x, 0.01)
    keep = prune.kept_count(kernel.size, 1 - Fraction(str(density)))
    ends = [min(b + block, 7) * 3 for b in range(0, 7, block)]
    upto = [0] + [round(Fraction(keep * end, 21)) for end in ends]

    def most(b, scores):
        order = np.argsort(scores, axis=None, kind="stable")
        mask = np.zeros(scores.size)
        mask[order[scores.size - (upto[b + 1] - upto[b]) :]] = 1
        return mask.reshape(scores.shape)

    expected = from_left(h, kernel, block, most)
    with jax.enable_x64(True):
        new, mask = prune.obs(kernel, x, density, block_size=block)
    assert int(mask.sum()) == keep
    np.testing.assert_array_equal(mask, expected[1])
    np.testing.assert_allclose(new, expected[0], atol=1e-8)


def test_block_sizes_do_not_matter_for_a_given_support(rng):
    kernel, x = data(rng, width=300, outputs=5, rows=400)
    mask = (rng.random(kernel.shape) < 0.4).astype(float)

    def solve(block):
        return prune.obs(kernel, x, None, mask=mask, block_size=block)

    first = solve(1)
    np.testing.assert_array_equal(first.mask, mask)
    for block in (7, 8, 100, 128, 129, 300, 1000):
        np.testing.assert_allclose(solve(block).params, first.params, atol=1e-10)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("width, rows", [(60, 200), (60, 20)])
def test_zeroing_is_worse_than_sparsegpt_is_worse_than_exact(rng, density, width, rows):
    kernel, x = data(rng, width, 8, rows)
    h = squares(x, 0.01)
    swept = prune.obs(kernel, x, density, block_size=8)
    zeroed = kernel * np.asarray(swept.mask)
    same = prune.obs(kernel, x, None, mask=swept.mask)
    greedy = prune.obs(kernel, x, density)
    errors = [cost(h, kernel, k) for k in (zeroed, swept.params, same.params)]
    assert errors[0] > errors[1] > errors[2] > cost(h, kernel, greedy.params) > 0


@settings(max_examples=30, deadline=None)
@given(rngs, st.sampled_from([None, 1, 4]), st.sampled_from(DENSITIES))
def test_nothing_on_the_support_is_better(rng, block, density):
    kernel, x = data(rng, groups=2, outputs=2)
    with jax.enable_x64(True):
        new, mask = prune.obs(kernel, x, density, block_size=block)
        best = prune.obs(kernel, x, None, mask=mask).params
    assert set(np.unique(mask)) <= {0, 1}
    assert not np.asarray(new)[np.asarray(mask) == 0].any()
    assert mask.sum() == prune.kept_count(kernel.size, 1 - Fraction(str(density)))
    for g, inputs in enumerate(x):

        def part(k, g=g):
            return np.asarray(k)[0, :, 2 * g : 2 * g + 2]

        h = squares(inputs, 0.01)
        other = part(best) + 1e-3 * rng.normal(size=(7, 2)) * part(mask)
        least = cost(h, part(kernel), part(best))
        assert least <= cost(h, part(kernel), part(new)) * (1 + 1e-9) + 1e-12
        assert least <= cost(h, part(kernel), other)
        if block is None:
            np.testing.assert_allclose(new, best, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(rngs, st.sampled_from([None, 4]), st.sampled_from(DENSITIES))
def test_units_rows_and_order_do_not_matter(rng, block, density):
    kernel, x = data(rng)
    i, o = rng.permutation(7), rng.permutation(3)
    with jax.enable_x64(True):
        new, mask = prune.obs(kernel, x, density, block_size=block)
        again = prune.obs(kernel, 1e6 * np.tile(x, (3, 1)), density, block_size=block)
        np.testing.assert_array_equal(mask, again.mask)
        np.testing.assert_allclose(new, again.params, atol=1e-9)
        if block is None:
            moved = prune.obs(kernel[i][:, o], x[:, i], density)
            np.testing.assert_array_equal(moved.mask, np.asarray(mask)[i][:, o])
            np.testing.assert_allclose(
                moved.params, np.asarray(new)[i][:, o], atol=1e-8
            )


def test_groups_share_one_count_and_are_solved_apart(rng):
    kernel, x = data(rng, groups=3, outputs=2)
    kernel[..., 2:4] *= 100  # the group that matters most
    new, mask = prune.obs(kernel, x, 0.4)
    assert mask.sum() == 17
    assert mask[..., 2:4].sum() > 12
    for g in range(3):

        def part(k, g=g):
            return np.asarray(k)[0, :, 2 * g : 2 * g + 2]

        expected = least_squares(x[g], part(kernel), part(mask), 0.01)
        np.testing.assert_allclose(part(new), expected, atol=1e-9)
    swept = np.asarray(prune.obs(kernel, x, 0.4, block_size=7).mask)
    counts = [swept[..., 2 * g : 2 * g + 2].sum() for g in range(3)]
    assert counts == [6, 5, 6]  # 5.6 of 14 each, 17 of 42 together


@pytest.mark.parametrize("n, m", [(2, 4), (1, 4), (0, 2), (4, 4), (5, 12)])
def test_patterns(rng, n, m):
    kernel, x = data(rng, width=12)
    sets = np.arange(12) // m

    def counts(mask):
        return np.asarray(mask).reshape(12 // m, m, -1).sum(axis=1)

    ones = np.ones_like(kernel)
    removed = kernel.size // m * (m - n)
    expected = one_by_one(x, kernel, ones, removed, 0.01, sets, n)
    new, mask = prune.obs(kernel, x, None, pattern=(n, m))
    assert (counts(mask) == n).all()
    np.testing.assert_array_equal(mask, expected[1])
    np.testing.assert_allclose(new, expected[0], atol=1e-9)

    def most(_, scores):
        mask = np.ones_like(scores)
        np.put_along_axis(mask, scores.argsort(axis=0)[: m - n], 0, axis=0)
        return mask

    expected = from_left(squares(x, 0.01), kernel, m, most)
    new, mask = prune.obs(kernel, x, None, pattern=(n, m), block_size=1)
    np.testing.assert_array_equal(mask, expected[1])
    np.testing.assert_allclose(new, expected[0], atol=1e-9)
    earlier = (rng.random(kernel.shape) < 0.6).astype(float)
    for block in (None, 1):
        knobs: dict[str, Any] = dict(pattern=(n, m), mask=earlier, block_size=block)
        mask = np.asarray(prune.obs(kernel, x, None, **knobs).mask)
        assert (mask <= earlier).all()
        np.testing.assert_array_equal(counts(mask), np.minimum(counts(earlier), n))


@pytest.mark.parametrize("block", [None, 1, 5, 20])
def test_masks_are_nested_and_the_order_of_removal_does_not_matter(rng, block):
    kernel, x = data(rng, width=20)
    first = prune.obs(kernel, x, 0.5, damping=0, block_size=block)
    last = prune.obs(first.params, x, 0.2, mask=first.mask, damping=0, block_size=block)
    assert (last.mask <= first.mask).all()
    assert (first.mask.sum(), last.mask.sum()) == (30, 12)
    assert not np.asarray(last.params)[np.asarray(last.mask) == 0].any()
    if block is None:
        at_once = prune.obs(kernel, x, None, mask=last.mask, damping=0).params
        np.testing.assert_allclose(last.params, at_once, atol=1e-9)
        np.testing.assert_array_equal(prune.obs(kernel, x, 0.2, damping=0)[1], last[1])


@pytest.mark.parametrize("block", [None, 1, 9])
def test_inputs_that_are_always_zero_go_first_and_change_nothing(rng, block):
    kernel, x = data(rng, width=7, rows=30)
    dead = np.array([0, 3])
    live = np.setdiff1d(np.arange(9), dead)
    wide, inputs = np.full((9, 3), 50.0), np.zeros((30, 9))
    wide[live], inputs[:, live] = kernel, x
    knobs: dict[str, Any] = dict(damping=0.01, block_size=block)
    new, mask = prune.obs(wide, inputs, Fraction(15, 27), **knobs)
    if block != 1:
        assert not np.asarray(mask)[dead].any()
        same = prune.obs(kernel, x, Fraction(15, 21), **{**knobs, "block_size": None})
        if block is None:
            np.testing.assert_array_equal(np.asarray(mask)[live], same.mask)
            np.testing.assert_allclose(np.asarray(new)[live], same.params, atol=1e-12)
        kept = np.asarray(prune.obs(wide, inputs, Fraction(23, 27), **knobs).mask)
        assert kept[0].sum() == 0 and kept[3].tolist() == [0, 1, 1]
    new, mask = map(np.asarray, prune.obs(wide, inputs, 0.9, **knobs))
    np.testing.assert_array_equal(new[dead], 50 * mask[dead])
    nothing = prune.obs(wide, np.zeros((4, 9)), 0.5, damping=0, block_size=block)
    np.testing.assert_array_equal(nothing.params, wide * np.asarray(nothing.mask))
    assert nothing.mask.sum() == 13


@pytest.mark.parametrize("block", [None, 1, 4])
def test_everything_and_nothing(rng, block):
    kernel, x = data(rng)
    kernel = kernel.astype(np.float32)
    x[:, 1] = x[:, 0]  # singular, which does not matter here
    for density, value in ((1, kernel), (1.0, kernel), (0, 0 * kernel)):
        new, mask = prune.obs(kernel, x, density, damping=0, block_size=block)
        assert new.dtype == mask.dtype == np.float32
        np.testing.assert_array_equal(np.asarray(new), value)
        np.testing.assert_array_equal(mask, np.full(kernel.shape, density, "f4"))
    ones = np.ones_like(kernel)
    new, mask = prune.obs(kernel, x, None, mask=ones, block_size=block)
    np.testing.assert_array_equal(new, kernel)
    new, mask = prune.obs(kernel, x, None, mask=0 * ones, block_size=block)
    assert not new.any() and not mask.any()


def test_outputs_that_lose_nothing_are_the_same_to_the_bit(rng):
    kernel, x = data(rng)
    kernel = kernel.astype(np.float32)
    mask = np.ones_like(kernel)
    mask[:5, 1] = 0
    for block in (None, 3):
        new = np.asarray(prune.obs(kernel, x, None, mask=mask, block_size=block).params)
        np.testing.assert_array_equal(new[:, [0, 2]], kernel[:, [0, 2]])
        assert (new[5:, 1] != kernel[5:, 1]).all()


def test_equal_costs_go_in_the_order_of_the_kernel():
    kernel, x = np.ones((4, 3)), np.eye(4)
    for block in (None, 4):
        mask = prune.obs(kernel, x, 0.5, block_size=block).mask
        assert np.asarray(mask).reshape(-1).tolist() == [0] * 6 + [1] * 6


@pytest.mark.parametrize("block", [None, 16])
@pytest.mark.defaults
def test_float32_is_as_good_as_float64(rng, block):
    kernel, x = data(rng, width=64, outputs=16, rows=500)

    def half(array):
        return array.astype(np.float32)

    x = np.float64(half(x))
    exact = prune.obs(np.float64(half(kernel)), x, 0.3, block_size=block)
    state = jax.jit(prune.hessian)(half(x))
    assert state.products.dtype == np.float32
    for inputs in (half(x), state):
        new, mask = prune.obs(half(kernel), inputs, 0.3, block_size=block)
        assert new.dtype == np.float32
        np.testing.assert_array_equal(mask, exact.mask)
        np.testing.assert_allclose(new, exact.params, atol=1e-4)
    for dtype in (jnp.bfloat16, jnp.float16):
        new, mask = prune.obs(jnp.asarray(kernel, dtype), state, 0.3, block_size=block)
        assert new.dtype == mask.dtype == dtype and mask.sum() == 307


def test_few_rows_need_damping(rng):
    kernel, x = data(rng, width=30, rows=10)
    for block in (None, 8):
        for inputs in (x, jax.jit(prune.hessian)(x.astype(np.float32))):
            with pytest.raises(ValueError, match="30 inputs from 10 rows is singular"):
                prune.obs(kernel, inputs, 0.5, damping=0, block_size=block)
        new = prune.obs(kernel, x, 0.5, block_size=block).params
        assert abs(np.asarray(new)).max() < 10 * abs(kernel).max()
    # A support that the rows determine has its solution all the same.
    mask = np.zeros_like(kernel)
    mask[:6] = 1
    new = prune.obs(kernel, x, None, mask=mask, damping=0).params
    np.testing.assert_allclose(new, least_squares(x, kernel, mask, 0), atol=1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_scales_are_not_taken_for_singular(rng, scale):
    kernel, x = data(rng, width=5)
    mask = np.tile([[1.0], [0], [1], [1], [0]], 3)
    expected = least_squares(x, kernel, mask, 0)
    x[:, 2] *= scale
    kernel[2], expected[2] = kernel[2] / scale, expected[2] / scale
    new = prune.obs(kernel, x, None, mask=mask, damping=0).params
    np.testing.assert_allclose(new, expected, rtol=1e-9)


@pytest.mark.parametrize("dependent", range(20))
def test_dependent_inputs_are_found(dependent):
    rng = np.random.default_rng(dependent)
    kernel, x = data(rng, width=100, rows=300)
    x[:, 40] = x[:, [2, 3, 70]] @ rng.normal(size=3)
    for block in (None, 8):
        with pytest.raises(ValueError, match="singular"):
            prune.obs(kernel, x, 0.5, damping=0, block_size=block)


def test_hessian_weights_every_row_alike(rng):
    x = rng.normal(size=(50, 6))
    whole = prune.hessian(x)
    np.testing.assert_allclose(whole.products, x.T @ x, rtol=1e-12)
    state = prune.hessian(x[:7])
    for part in (x[7:8], x[8:30], x[30:]):
        state = prune.accumulate(state, part)
    assert whole.rows == state.rows == 50
    np.testing.assert_allclose(state.products, whole.products, atol=1e-12)
    kernel = rng.normal(size=(6, 4))
    for block in (None, 2):
        a, b = (prune.obs(kernel, h, 0.4, block_size=block) for h in (x, state))
        np.testing.assert_array_equal(a.mask, b.mask)
        np.testing.assert_allclose(a.params, b.params, atol=1e-10)


def test_hessian_inside_scan_and_vmap(rng):
    x = rng.normal(size=(3, 5, 20, 6)).astype(np.float32)  # networks, batches

    def total(batches):
        def add(state, batch):
            return (prune.accumulate(state, batch), None)

        return jax.lax.scan(add, prune.hessian(batches[0]), batches[1:])[0]

    products, rows = jax.jit(jax.vmap(total))(x)
    assert rows.tolist() == [100] * 3
    for i in range(3):
        flat = x[i].reshape(-1, 6).astype(np.float64)
        np.testing.assert_allclose(products[i], flat.T @ flat, rtol=1e-5, atol=1e-4)
    on = prune.accumulate(prune.Hessian(products[0], rows[0]), x[1, 0])
    assert on.rows == 120 and on.products.dtype == np.float64
    mixed = jax.jit(lambda x: prune.accumulate(prune.hessian(np.eye(6)), x))(x[0, 0])
    np.testing.assert_allclose(
        mixed.products, x[0, 0].T @ x[0, 0] + np.eye(6), rtol=1e-5, atol=1e-5
    )


CONVOLUTIONS = [
    ((4, 6, 7, 3), (3, 3, 3, 5), {}),
    ((4, 6, 7, 3), (2, 3, 3, 5), dict(strides=2, padding="VALID")),
    ((2, 9, 8, 6), (3, 2, 2, 6), dict(strides=(1, 3), padding=[(2, 0), (1, 1)])),
    ((2, 9, 8, 4), (3, 3, 1, 8), dict(dilation=2)),
    ((3, 20, 4), (5, 2, 6), dict(dilation=(2,), strides=3)),
    ((2, 5, 4, 6, 2), (2, 2, 3, 1, 2), {}),
]


@pytest.mark.parametrize("shape, kernel_shape, knobs", CONVOLUTIONS)
def test_patches_are_what_a_convolution_multiplies(rng, shape, kernel_shape, knobs):
    x, kernel = rng.normal(size=shape), rng.normal(size=kernel_shape)
    axes = len(shape) - 2

    def every(n):
        return (n,) * axes if isinstance(n, int) else n

    numbers = "NDHWC"[0] + "DHW"[3 - axes :] + "C", "DHW"[3 - axes :] + "IO"
    expected = jax.lax.conv_general_dilated(
        x,
        kernel,
        every(knobs.get("strides", 1)),
        knobs.get("padding", "SAME"),
        rhs_dilation=every(knobs.get("dilation", 1)),
        dimension_numbers=(*numbers, numbers[0]),
        feature_group_count=shape[-1] // kernel_shape[-2],
    )
    rows = jax.jit(lambda x: prune.patches(x, kernel_shape, **knobs))(x)
    flat = kernel.reshape(rows.shape[2], len(rows), -1)
    outputs = np.einsum("gri,igo->rgo", rows, flat).reshape(expected.shape)
    np.testing.assert_allclose(outputs, expected, atol=1e-10)


def test_a_convolution_keeps_its_outputs(rng):
    x = rng.normal(size=(8, 9, 9, 4)) @ rng.normal(size=(4, 4))
    kernel = rng.normal(size=(3, 3, 2, 6))
    rows = np.asarray(prune.patches(x, kernel.shape))

    def outputs(k):
        return rows @ np.asarray(k).reshape(18, 2, 3).swapaxes(0, 1)

    def error(k):
        return np.mean((outputs(k) - outputs(kernel)) ** 2)

    state = prune.accumulate(prune.hessian(rows[:, :100]), rows[:, 100:])
    errors = []
    for block in (None, 18):
        new, mask = prune.obs(kernel, state, 0.3, block_size=block)
        assert new.shape == kernel.shape and mask.sum() == 32
        size = np.sort(abs(kernel), axis=None)[-32]
        errors += [error(new), error(kernel * np.asarray(mask))]
    assert errors[0] < errors[2] < errors[3] < error(0 * kernel)
    assert errors[0] < error(np.where(abs(kernel) >= size, kernel, 0))


KERNEL, X = np.ones((4, 3)), np.random.default_rng(0).normal(size=(9, 4))
HALF = np.repeat([[1.0], [0.0]], 2, axis=0) * KERNEL
HALF_GONE = np.where(HALF == 0, np.nan, KERNEL)
WRONG = [
    (dict(kernel=np.ones(4)), r"a kernel has shape .* got float64 of shape \(4,\)"),
    (dict(kernel=np.ones((4, 3), int)), "in floating point; got int64 of shape"),
    (dict(kernel=np.ones((4, 3)) * 1j), "in floating point; got complex128"),
    (dict(kernel=[[1.0], [2.0]]), "in floating point; got a list of 2"),
    (
        dict(kernel=HALF_GONE, mask=HALF, density=None),
        "6 of 12 weights are NaN or infinite, 6 where the mask removes: make them zero",
    ),
    (dict(inputs="x"), "one array of real numbers, got the str 'x'"),
    (dict(inputs=X * 1j), "one array of real numbers, got complex128"),
    (dict(inputs=(x for x in X)), "one array of real numbers, got a builtins.generato"),
    (dict(density="0.5"), "density must be a number, got the str '0.5'"),
    (dict(density=True), "density must be a number, got the bool True"),
    (dict(mask=[[1] * 3] * 4), "the mask is a list of 4, expected an array"),
    (dict(pattern=2, density=None), r"two integers \(n, m\), got \(2,\)"),
    (dict(pattern="24", density=None), r"pattern is \('24',\); expected whole numbers"),
    (
        dict(pattern=(1.0, 2.0), density=None),
        r"pattern is \(1.0, 2.0\); expec",
    ),
    (dict(damping="0.1"), "damping must be a number, got the str '0.1'"),
    (dict(damping=np.nan), "damping must be in"),
    (dict(block_size="2"), "block_size is '2'; expected an integer"),
    (dict(block_size=1.5), "block_size is 1.5; expected an integer"),
    (dict(kernel=np.full((4, 3), np.nan)), "12 of 12 weights are NaN"),
    (dict(kernel=np.ones((5, 3))), "multiplies rows of 5 inputs"),
    (dict(kernel=np.ones((2, 2, 4, 3))), "take inputs from prune.patches"),
    (dict(inputs=np.where(X == X.max(), np.inf, X)), "inputs must be finite; 1 of 36"),
    (dict(inputs=X[0]), r"shape \(rows, inputs\)"),
    (dict(inputs=X[:0]), r"no axis empty; got \(0, 4\)"),
    (dict(inputs=X[None]), "join all axes before the last"),
    (dict(kernel=np.ones((1, 4, 3)), inputs=np.stack([X, X])), "3 outputs .* 2 groups"),
    (dict(inputs=prune.Hessian(np.full((4, 4), np.nan), 2)), "2 rows is not finite"),
    (dict(inputs=prune.Hessian(np.eye(4), 0)), "0 rows"),
    (dict(density=1.1), r"density must be in \[0, 1\], got 1.1"),
    (dict(density=-0.1), "density must be in"),
    (dict(density=np.nan), "density must be in"),
    (dict(mask=np.eye(3)), r"got shape \(3, 3\)"),
    (dict(mask=np.full((4, 3), 0.5)), "zeros and ones"),
    (dict(mask=np.eye(4)[:, :3]), "keeps 6 of 12 weights, but the mask has only 3"),
    (dict(pattern=(2, 4)), "pass density=None, got 0.5"),
    (dict(pattern=(2, 3), density=None), "m divides the 4 inputs"),
    (dict(pattern=(3, 2), density=None), "keeps n of every m"),
    (dict(damping=-1), "damping must be 0 or more, got -1"),
    (dict(damping=np.inf), "damping must be"),
    (dict(block_size=0), "block_size is 0; expected at least 1"),
]


@pytest.mark.parametrize("power", [-700, 500])
@pytest.mark.parametrize("block_size", [None, 2])
def test_the_size_of_weights_does_not_matter(power, block_size, rng):
    """Also where their squares are below, or above, the range of float64."""
    kernel, x = rng.normal(size=(6, 5)), rng.normal(size=(20, 6))
    with jax.enable_x64(True):
        new, mask = prune.obs(kernel, x, 0.4, block_size=block_size)
        shifted = np.ldexp(kernel, power)
        far, far_mask = prune.obs(shifted, x, 0.4, block_size=block_size)
    np.testing.assert_array_equal(far_mask, mask)
    np.testing.assert_array_equal(far, np.ldexp(new, power))


def test_patterns_and_patches_read_iterators_once(rng):
    x, kernel = rng.normal(size=(3, 5, 5, 2)), rng.normal(size=(3, 3, 2, 4))
    whole = prune.patches(x, kernel.shape, strides=2, padding=[(1, 1), (1, 1)])
    once = prune.patches(
        x, iter(kernel.shape), strides=iter([2, 2]), dilation=np.int64(1),
        padding=iter([(1, 1), iter((1, 1))]),
    )  # fmt: skip
    np.testing.assert_array_equal(whole, once)
    rows = np.asarray(whole[0])
    flat = kernel.reshape(18, 4)
    a = prune.obs(flat, rows, None, pattern=(1, 2))
    b = prune.obs(flat, rows, None, pattern=iter((1, 2)))
    np.testing.assert_array_equal(a.mask, b.mask)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(strides="2"), r"strides is \('2',\); expected whole numbers"),
        (
            dict(strides=(1, 1, 1)),
            r"strides is \(1, 1, 1\); expected one",
        ),
        (dict(dilation=0), "all at least 1"),
        (dict(strides=1.5), r"strides is \(1.5,\); expected whole numbers"),
        (dict(padding="FULL"), "padding must be 'SAME', 'VALID', .* got .*'FULL'"),
        (dict(padding=1), r"for each of 2 axes, got \[\(1,\)\]"),
        (dict(padding=[(1, 1)]), r"for each of 2 axes, got \[\(1, 1\)\]"),
        (dict(x=[[1.0]]), "images are one array, got a list of 1"),
        (dict(kernel_shape=(3,)), r"\(3,\) is not the shape of a kernel"),
    ],
)
def test_patches_say_what_is_wrong(wrong, message):
    arguments = dict(x=np.ones((1, 4, 4, 2)), kernel_shape=(3, 3, 2, 1)) | wrong
    with pytest.raises(ValueError, match=message):
        prune.patches(**arguments)


def test_hessians_are_continued_alone():
    with pytest.raises(ValueError, match="state is float64 of shape .*, expected a H"):
        prune.accumulate(X, X)
    with pytest.raises(ValueError, match="call it outside jit"):
        jax.jit(lambda m: prune.obs(KERNEL, X, None, mask=m))(HALF)


@pytest.mark.parametrize("wrong, message", WRONG)
def test_what_is_wrong_is_said(wrong, message):
    arguments = dict(kernel=KERNEL, inputs=X, density=0.5) | wrong
    with pytest.raises(ValueError, match=message):
        prune.obs(**arguments)


def test_what_is_wrong_around_it_is_said(rng):
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda k: prune.obs(k, X, 0.5))(KERNEL)
    with pytest.raises(ValueError, match="do not continue a Hessian"):
        prune.accumulate(prune.hessian(X), X[:, :3])
    images = rng.normal(size=(2, 5, 5, 4))
    for shape, knobs, message in [
        ((3, 3, 3, 6), {}, "a multiple of 3 channels"),
        ((3, 4, 6), {}, "need 1 spatial axes"),
        ((3, 3, 2, 5), {}, "5 outputs cannot be divided into 2 groups"),
        ((3, 3, 4, 5), dict(padding="VALID", dilation=3), r"spans \(7, 7\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            prune.patches(images, shape, **knobs)
