"""Pictures with known optima; what they may and may not depend on."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import features

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.slow]


def KEY():
    return jax.random.key(2)


STILL = features.compose()
SIZE = (6, 5, 2)


def linear(params, x):
    return x.reshape(-1) @ params


def convnet(params, x):
    kernel, dense = params
    h = jax.lax.conv_general_dilated(
        x[None], kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    h = checkpoint_name(jax.nn.relu(h), "hidden")
    return jnp.tanh(h.reshape(-1) @ dense)


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 3, 2, 7)), rng.normal(size=(4 * 3 * 7, 4))


def draw(params, node, units, fn=convnet, size=SIZE, **knobs):
    knobs = {"key": KEY(), "steps": 8, "progress": False, **knobs}
    return features.render(fn, params, node, units, size=size, **knobs)


@pytest.mark.parametrize("make", [features.pixels, features.fourier])
@pytest.mark.defaults
def test_a_linear_unit_shows_its_filter(make, rng):
    weights = rng.normal(size=(60, 3))
    found = draw(
        weights, features.logit(), None, linear, steps=300, parametrization=make(),
        transform=STILL, learning_rate=0.5, bounds=(-1.0, 2.0),
    )  # fmt: skip
    for unit, image in enumerate(found.images):
        filter_ = weights[:, unit].reshape(SIZE)
        wanted = np.where(filter_ > 0, 2.0, -1.0)
        large = abs(filter_) > 0.2
        np.testing.assert_allclose(image[large], wanted[large], atol=0.1)
        most = (filter_ * wanted).sum()
        assert 0.97 * most < found.values[unit] <= most
    wanted = found.images.reshape(3, -1) @ weights
    np.testing.assert_allclose(found.values, np.diag(wanted), rtol=1e-10)


def test_first_steps_go_along_the_filter(rng):
    """Before the bounds are felt the picture is the gradient's sign."""
    weights = rng.normal(size=(60, 1))
    found = draw(
        weights, features.logit(), [0], linear, steps=3, transform=STILL,
        parametrization=features.pixels(0.0), learning_rate=0.01,
    )  # fmt: skip
    signs = np.sign(found.images.reshape(-1) - 0.5)
    np.testing.assert_array_equal(signs, np.sign(weights[:, 0]))


@pytest.mark.parametrize("size", [(4,), (4, 1), (2, 2, 1)], ids=str)
def test_a_quadratic_is_shown_at_its_top(size, rng):
    top = rng.uniform(-0.7, 0.7, size=(4, 2))

    def fn(params, x):
        return -((x.reshape(-1, 1) - params) ** 2).sum(0)

    found = draw(
        top, features.logit(), None, fn, size=size, steps=400, transform=STILL,
        bounds=(-1.0, 1.0),
    )  # fmt: skip
    assert found.images.shape == (2, *size)
    np.testing.assert_allclose(found.images.reshape(2, 4).T, top, atol=1e-3)
    np.testing.assert_allclose(found.values, 0, atol=1e-5)


def test_channels_may_have_bounds_of_their_own(params):
    low, high = np.array([-2.0, 5.0]), np.array([-1.0, 9.0])
    images = draw(params, "hidden", [0, 1], bounds=(low, high)).images
    assert (images > low).all() and (images < high).all()


def test_history_and_values_are_the_objectives(params):
    found = draw(params, "hidden", [2, 5], transform=STILL, steps=30)

    def run(x):
        return np.maximum(np.asarray(convolve(x, params[0])), 0)

    wanted = [run(x)[..., u].mean() for x, u in zip(found.images, (2, 5))]
    np.testing.assert_allclose(found.values, wanted, rtol=1e-10)
    assert found.history.shape == (2, 30)
    assert (found.history[:, -1] > found.history[:, 0]).all()
    again = draw(params, "hidden", [2, 5], transform=STILL, steps=29)
    np.testing.assert_allclose(found.history[:, -1], again.values, rtol=1e-10)


def convolve(x, kernel):
    places = np.lib.stride_tricks.sliding_window_view(np.asarray(x), (3, 3), (0, 1))
    return np.einsum("yxcij,ijcu->yxu", places, kernel)


def test_the_same_key_the_same_picture(params):
    one, two = (draw(params, "hidden", [0, 3]) for _ in range(2))
    np.testing.assert_array_equal(one.images, two.images)
    other = draw(params, "hidden", [0, 3], key=jax.random.key(9))
    assert abs(one.images - other.images).max() > 0.01


@pytest.mark.parametrize("units, batch_size", [([5], None), ([6, 5, 1], 2), (None, 3)])
def test_a_picture_does_not_depend_on_the_others(units, batch_size, params):
    everything = draw(params, "hidden", None, steps=40)
    assert everything.units.tolist() == list(range(7))
    some = draw(params, "hidden", units, steps=40, batch_size=batch_size)
    for number, image, value in zip(some.units, some.images, some.values):
        np.testing.assert_allclose(image, everything.images[number], atol=1e-9)
        np.testing.assert_allclose(value, everything.values[number], rtol=1e-9)


@pytest.mark.parametrize(("budget", "chunks"), [(32 << 20, [7]), (1, [1] * 7)])
def test_chunks_are_as_large_as_memory_lets_them(budget, chunks, params, monkeypatch):
    module, sizes = sys.modules["sparsejax.features._render"], []
    finish = module.ascent.finish

    def watched(*args):
        return sizes.append(len(args[3])) or finish(*args)

    monkeypatch.setattr(module.ascent, "finish", watched)
    monkeypatch.setitem(module._CHUNK, "cpu", (8, budget))
    found = draw(params, "hidden", None, steps=2)
    assert sizes == chunks
    assert len(found.images) == 7


def test_more_pictures_of_a_unit_begin_with_the_first(params):
    one = draw(params, "hidden", [4])
    three = draw(params, "hidden", [4], count=3)
    assert three.images.shape == (1, 3, *SIZE) and three.history.shape == (1, 3, 8)
    np.testing.assert_allclose(three.images[:, 0], one.images, atol=1e-12)


def test_diversity_makes_pictures_differ(params):
    apart = features.diversity("hidden")
    alone = draw(params, "hidden", [4], count=3, steps=60)
    varied = features.channel("hidden") + 10 * apart
    found = draw(params, varied, [4], count=3, steps=60)

    def alike(images):
        def run(x):
            return np.maximum(convolve(x, params[0]), 0)

        acts = jnp.stack([run(x) for x in images[0]])
        return -apart.value({"hidden": acts}, 0).sum()

    assert alike(found.images) < alike(alone.images)


def test_dead_units_are_woken():
    """A unit that grey does not reach, 60 / 2 < 35: 0, and no gradient."""

    def fn(params, x):
        return jax.nn.relu(x.reshape(-1) @ params - 35)

    args = np.ones((60, 1)), features.logit(), [0], fn
    knobs = {"steps": 60, "transform": STILL, "parametrization": features.pixels()}
    still = draw(*args, redirect=0, **knobs)
    assert still.values[0] == 0 and not still.history.any()
    assert draw(*args, redirect=20, **knobs).values[0] > 10


@pytest.mark.parametrize("size", [(9,), (9, 2), (8, 9, 4), (5, 6, 3)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_size_and_type(size, dtype, rng):
    weights = rng.normal(size=(np.prod(size), 2)).astype(dtype)
    found = draw(weights, features.logit(), None, linear, size=size, steps=2)
    assert found.images.shape == (2, *size) and found.images.dtype == dtype


def test_padding_for_networks_of_any_size(params):
    def fn(kernel, x):
        h = jax.lax.conv_general_dilated(
            x[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return checkpoint_name(jax.nn.relu(h), "hidden").mean((0, 1, 2))

    padded = features.compose(features.pad(2), features.warp(features.jitter(1)))
    found = draw(params[0], "hidden", [0], fn, transform=padded)
    assert found.images.shape == (1, *SIZE)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"node": "hiden"}, "no activation 'hiden'; it names 'hidden'"),
        ({"units": [7, 2, -1]}, r"no units \[7, -1\]; there are 7, from 0 to 6"),
        ({"units": []}, "expected a list of numbers"),
        ({"units": [[3]]}, "expected a list of numbers"),
        ({"units": [0.5]}, "expected a list of numbers"),
        ({"size": (6, 5, 2, 1)}, r"size is \(6, 5, 2, 1\)"),
        ({"size": (0, 5, 2)}, "all at least 1"),
        ({"steps": 0}, "steps must be a whole number, 1 or more, got 0"),
        ({"count": 0}, "count must be a whole number, 1 or more"),
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"bounds": (0.0, np.inf)}, "bounds must be finite"),
        ({"color": np.full((2, 2), np.nan)}, "color has values that are NaN"),
        ({"color": np.eye(3)}, r"color has shape \(3, 3\), expected \(2, 2\)"),
        ({"bounds": (1.0, 0.0)}, "lowest and the highest"),
        ({"bounds": (np.zeros(3), 1.0)}, "2 numbers each"),
        ({"node": features.logit(4)}, "no unit 4 in the output, which has 4"),
    ],
)
def test_what_does_not_fit(changes, message, params):
    given = {"node": "hidden", "units": [0], **changes}
    with pytest.raises(ValueError, match=message):
        draw(params, given.pop("node"), given.pop("units"), **given)


def test_an_output_without_units():
    def fn(params, x):
        return (x * params).sum()

    with pytest.raises(ValueError, match="the output.*has no unit axis"):
        draw(np.ones(()), features.logit(), [0], fn)


def test_a_size_that_the_function_does_not_take_says_so(params):
    with pytest.raises(ValueError, match=r"no pictures of size \(9, 9, 2\)"):
        draw(params, "hidden", [0], size=(9, 9, 2))


def test_pictures_that_are_no_numbers(params):
    """A NaN in one kernel reaches every gradient."""
    broken = params[0].copy()
    broken[..., 3] = np.nan
    with pytest.raises(ValueError, match=r"units \[2, 3\] are not finite"):
        draw((broken, params[1]), "hidden", [2, 3])
