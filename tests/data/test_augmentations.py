"""Variations of one sample: pure in their keys, of its shape, within its range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.data import augmentations as augment


def test_crops_are_the_parts_that_they_are_drawn_as(getkey):
    ramp = jnp.broadcast_to(jnp.linspace(0, 1, 32)[:, None, None], (32, 16, 1))
    found = jax.jit(augment.crop((0.25, 0.25)))(getkey(), ramp)
    inner = np.asarray(found[2:-2, :, 0])
    np.testing.assert_allclose(np.diff(inner, axis=0), 0.5 / 31, atol=1e-6)
    np.testing.assert_allclose(np.diff(inner, axis=1), 0, atol=1e-6)
    whole = jax.jit(augment.crop((1, 1)))(getkey(), ramp)
    np.testing.assert_allclose(whole, ramp, atol=1e-6)


def test_images_stay_images_and_keys_decide(getkey):
    x = jax.random.uniform(getkey(), (8, 6, 3))
    vary, key = jax.jit(augment.standard(x.shape)), getkey()
    found = vary(key, x)
    assert found.shape == x.shape and 0 <= found.min() and found.max() <= 1
    np.testing.assert_array_equal(found, vary(key, x))
    assert not np.array_equal(found, vary(getkey(), x))


def test_flips_turn_half_of_them(getkey):
    x = jax.random.uniform(getkey(), (4, 4, 1))
    many = jax.vmap(augment.flip(), (0, None))(jax.random.split(getkey(), 200), x)
    turned = [np.array_equal(one, x[:, ::-1]) for one in many]
    assert 70 < sum(turned) < 130
    assert all(t or np.array_equal(o, x) for t, o in zip(turned, many, strict=True))


def test_noise_has_its_scale_and_nothing_is_the_sample_itself(getkey):
    x = jnp.zeros((5000, 2))
    found = augment.noise((0.1, 1.0))(getkey(), x)
    np.testing.assert_allclose(found.std(0), [0.1, 1.0], rtol=0.05)
    np.testing.assert_array_equal(augment.compose()(getkey(), x), x)


@pytest.mark.parametrize(
    "kind", [tuple, list, iter, np.array, lambda of: (value for value in of)]
)
def test_several_numbers_are_read_once_and_make_one_function(getkey, kind):
    image = jax.random.uniform(getkey(), (8, 8, 1))
    for make, of, x in ((augment.crop, (0.25, 0.5), image),
                        (augment.noise, (0.1, 1.0), jnp.ones(2))):  # fmt: skip
        found = make(kind(of))
        assert found is make(of)
        first, again = (augment.variations(found, getkey(), x, 2) for _ in range(2))
        assert (first != again).any()
    assert augment.noise(np.float32(0.5)) is augment.noise(0.5)


def test_bad_input():
    for area in ((0, 1), (0.5,), 0.5, (0.2, 0.5, 1)):
        with pytest.raises(ValueError, match="area"):
            augment.crop(area)
    with pytest.raises(ValueError, match="most"):
        augment.brightness(2)


def test_hue_turns_colours_about_grey(getkey, rng):
    x = jax.numpy.asarray(rng.uniform(0.4, 0.6, (5, 4, 3)), "float32")
    found = augment.variations(augment.hue(0.5), getkey(), x, 200)
    np.testing.assert_allclose(found.mean(-1), np.broadcast_to(x.mean(-1), (200, 5, 4)),
                               rtol=1e-5)  # fmt: skip

    def spread(x):
        return np.asarray(x - x.mean(-1, keepdims=True))

    def lengths(x):
        return (spread(x) ** 2).sum(-1)

    wanted = np.broadcast_to(lengths(x), (200, 5, 4))
    np.testing.assert_allclose(lengths(found), wanted, atol=1e-5)
    # angles to the first colour: as many on every side, and all the same in an image
    a, b = spread(found), spread(x)
    cosines = (a * b).sum(-1) / np.sqrt(lengths(found) * lengths(x))
    assert np.ptp(cosines, axis=(1, 2)).max() < 0.02
    assert abs(cosines.mean()) < 0.15 and cosines.min() < -0.95
    red = jax.numpy.zeros((1, 1, 3)).at[..., 0].set(0.5)
    turned = augment.variations(augment.hue(1 / 3), getkey(), red, 2000)[:, 0, 0]
    np.testing.assert_allclose(turned.max(0), 0.5, atol=0.02)  # green and blue, too
    with pytest.raises(ValueError, match="three channels, got 1"):
        augment.hue()(getkey(), x[..., :1])
    with pytest.raises(ValueError, match=r"most must be in \[0, 0.5\]"):
        augment.hue(0.7)
