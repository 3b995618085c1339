"""Textured digits against a slow drawing, pixel by pixel."""

import math

import jax
import numpy as np
import pytest

from sparsejax import data

SETS = ("train", "shuffled", "same", "swapped")


def wave(label, down, across, contrast):
    angle, period = math.pi * label / 5, (3.0, 5.0)[label // 5]
    along = across * math.cos(angle) + down * math.sin(angle)
    return 0.5 + 0.5 * contrast * math.cos(2 * math.pi * along / period)


@pytest.mark.parametrize("jitter, contrast", [(0, 1.0), (1, 0.5), (4, 0.0)])
def test_every_pixel_is_the_digits_or_its_textures(jitter, contrast):
    found = data.textures(jax.random.key(1), jitter=jitter, contrast=contrast)
    plain = data.digits()
    for name in SETS:
        split = getattr(found, name)
        digits = plain.train if name in ("train", "shuffled") else plain.test
        np.testing.assert_array_equal(split.y, digits.y)
        assert split.x.dtype == np.float32 and split.x.shape == (
            len(split.y),
            16,
            16,
            1,
        )
        assert split.region.dtype == bool and split.region.shape == split.x.shape
        assert (split.region.sum(axis=(1, 2, 3)) == 64).all()
        inside = split.x[split.region].reshape(-1, 8, 8, 1)
        np.testing.assert_array_equal(inside, digits.x)
        for i in range(0, len(split.y), 97):
            for down in range(16):
                for across in range(16):
                    if not split.region[i, down, across, 0]:
                        wanted = wave(split.texture[i], down, across, contrast)
                        found_ = split.x[i, down, across, 0]
                        assert found_ == pytest.approx(wanted, abs=1e-6)


def test_textures_give_the_label_away_in_training_alone():
    found = data.textures(jax.random.key(0))
    for split in (found.train, found.same):
        np.testing.assert_array_equal(split.texture, split.y)
    assert not (found.swapped.texture == found.swapped.y).any()
    assert set(found.swapped.texture) == set(range(10))
    shuffled = found.shuffled
    np.testing.assert_array_equal(
        np.bincount(shuffled.texture), np.bincount(shuffled.y)
    )
    chance = (shuffled.texture == shuffled.y).mean()
    assert abs(chance - 0.1) < 4 * math.sqrt(0.09 / len(shuffled.y))


def corner(split):
    """Of every box, down and across."""
    flat = split.region[..., 0].reshape(len(split.y), -1)
    return np.stack(np.divmod(flat.argmax(axis=1), 16), axis=1)


@pytest.mark.parametrize("jitter", [0, 1, 4])
def test_boxes_move_as_far_as_asked_and_both_backgrounds_have_them_alike(jitter):
    found = data.textures(jax.random.key(0), jitter=jitter)
    for first, second in (("train", "shuffled"), ("same", "swapped")):
        a, b = (corner(getattr(found, name)) for name in (first, second))
        np.testing.assert_array_equal(a, b)
        moves = {tuple(pair) for pair in (a - 4).tolist()}
        span = range(-jitter, jitter + 1)
        assert moves <= {(i, j) for i in span for j in span}
        assert jitter > 1 or len(moves) == (2 * jitter + 1) ** 2


def test_same_key_same_images_and_other_key_other_textures():
    def make(seed):
        return data.textures(jax.random.key(seed), jitter=1)

    for a, b in zip(jax.tree.leaves(make(3)), jax.tree.leaves(make(3)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (make(3).swapped.texture != make(4).swapped.texture).any()
    assert (corner(make(3).train) != corner(make(4).train)).any()


@pytest.mark.parametrize(
    "options, message",
    [({"jitter": 5}, "jitter is 5; expected 0 to 4"), ({"jitter": -1}, "jitter is -1"),
     ({"contrast": 1.5}, r"contrast is 1.5; expected a number in \[0, 1\]")],
)  # fmt: skip
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        data.textures(jax.random.key(0), **options)
