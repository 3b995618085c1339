"""Variations of one sample: pure in their keys, of its shape, within its range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.data import augmentations as augment


def test_crops_are_the_parts_that_they_are_drawn_as(getkey):
    ramp = jnp.broadcast_to(jnp.linspace(0, 1, 32)[:, None, None], (32, 16, 1))
    found = augment.crop((0.25, 0.25))(getkey(), ramp)
    inner = np.asarray(found[2:-2, :, 0])
    np.testing.assert_allclose(np.diff(inner, axis=0), 0.5 / 31, atol=1e-6)
    np.testing.assert_allclose(np.diff(inner, axis=1), 0, atol=1e-6)
    whole = augment.crop((1, 1))(getkey(), ramp)
    np.testing.assert_allclose(whole, ramp, atol=1e-6)


def test_images_stay_images_and_keys_decide(getkey):
    x = jax.random.uniform(getkey(), (8, 6, 3))
    vary, key = augment.standard(x.shape), getkey()
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


def test_bad_input():
    with pytest.raises(ValueError, match="area"):
        augment.crop((0, 1))
    with pytest.raises(ValueError, match="most"):
        augment.brightness(2)
