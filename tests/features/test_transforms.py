"""Resampling against SciPy; motions against what they say they do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from sparsejax import features

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("float64")]

FILLS = [0.5, -2.0, None]


def scipys(image, matrix, fill):
    places = image.shape[:-1]
    inner, shift = matrix[:-1, :-1], matrix[:-1, -1]
    middle = (np.array(places) - 1) / 2
    options = {"mode": "nearest"} if fill is None else {"cval": fill}
    options = {"mode": "grid-constant", "order": 1, **options}

    def one(channel):
        return ndimage.affine_transform(
            channel, inner, shift + middle - inner @ middle, **options
        )

    return np.stack([one(image[..., c]) for c in range(image.shape[-1])], -1)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("size", [(9, 1), (8, 3), (7, 10, 3), (6, 6, 1)], ids=str)
def test_resampling_is_scipys(size, fill, rng):
    axes = len(size) - 1
    for _ in range(5):
        image = rng.normal(size=size)
        matrix = np.eye(axes + 1)
        matrix[:axes] += 0.4 * rng.normal(size=(axes, axes + 1))
        matrix[:axes, -1] *= 4
        found = features.resample(image, matrix, fill)
        np.testing.assert_allclose(found, scipys(image, matrix, fill), atol=1e-12)


@pytest.mark.parametrize("fill", FILLS)
def test_motions_in_turn_are_resampled_once(fill, rng, getkey):
    """First to last: the image that the second moves is the first one's."""
    motions = features.scale(2, 2), features.jitter(3)
    image, key = rng.normal(size=(9, 9, 2)), getkey()
    found = features.warp(*motions, fill=fill)(key, image)
    shift = motions[1](jax.random.fold_in(key, 1), 2, jnp.float64)[:2, 2]
    assert (abs(shift) <= 3).all() and (shift == shift.round()).all() and shift.any()
    matrix = np.diag([0.5, 0.5, 1.0])
    matrix[:2, 2] = shift / 2
    np.testing.assert_allclose(found, scipys(image, matrix, fill), atol=1e-12)


def test_jitter_reaches_every_place_alike():
    draw = jax.vmap(lambda k: features.jitter(2)(k, 1, jnp.float64)[0, 1])
    shifts, counts = np.unique(
        draw(jax.random.split(jax.random.key(0), 5000)), return_counts=True
    )
    assert shifts.tolist() == [-2, -1, 0, 1, 2] and abs(counts - 1000).max() < 120


def test_scale_makes_things_larger(rng, getkey):
    image = rng.normal(size=(11, 11, 1))
    found = features.warp(features.scale(2, 2))(getkey(), image)
    np.testing.assert_allclose(found[1::2, 1::2], image[3:8, 3:8], atol=1e-12)


def test_rotate_is_scipys_rotation(rng):
    draw = jax.vmap(lambda k: features.rotate(30)(k, 2, jnp.float64))
    matrices = np.asarray(draw(jax.random.split(jax.random.key(0), 200)))
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert angles.min() < -25 and angles.max() > 25 and abs(angles).max() <= 30
    image = rng.normal(size=(9, 9))
    options = {"reshape": False, "order": 1, "mode": "grid-constant", "cval": 0.5}
    wanted = ndimage.rotate(image, -angles[0], **options)
    found = features.resample(image[..., None], jnp.asarray(matrices[0]), 0.5)
    np.testing.assert_allclose(found[..., 0], wanted, atol=1e-10)


def test_pad_then_the_rest(rng, getkey):
    image = rng.normal(size=(4, 5, 2))
    found = features.compose(features.pad(2, 0.25))(getkey(), image)
    wanted = np.pad(image, [(2, 2), (2, 2), (0, 0)], constant_values=0.25)
    np.testing.assert_array_equal(found, wanted)


def test_no_transform_is_no_change(rng, getkey):
    image = rng.normal(size=(4, 1))
    assert features.compose()(getkey(), image) is image


@pytest.mark.parametrize("size", [(28, 28, 1), (20, 3), (5, 40, 4)], ids=str)
def test_standard_keeps_size_and_means_the_same_for_a_key(size, rng):
    image = rng.uniform(size=size)
    transform = features.standard(size[:-1])
    runs = [transform(jax.random.key(i), image) for i in (0, 0, 1)]
    assert runs[0].shape == size
    np.testing.assert_array_equal(runs[0], runs[1])
    assert abs(runs[0] - runs[2]).max() > 0.01


def test_what_cannot_be_done(getkey):
    with pytest.raises(ValueError, match="two axes of places, this image has 1"):
        features.warp(features.rotate(5))(getkey(), jnp.ones((4, 1)))
    for make in (features.jitter, features.pad):
        with pytest.raises(ValueError, match="0 pixels or more, got -1"):
            make(-1)
    with pytest.raises(ValueError, match="0 < low <= high"):
        features.scale(1.1, 0.9)
