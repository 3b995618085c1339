"""Keys of everything that draws: typed and one, or refused in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import data, dissect
from sparsejax.data import augmentations

IMAGES = data.Split(np.zeros((2, 8, 8, 1), "f4"), np.zeros(2, "i4"))
DRAW = {
    "circle": lambda key: data.circle(key, 3),
    "spiral": lambda key: data.spiral(key, 3),
    "scenes": lambda key: data.scenes(key, 1, size=16),
    "textures": lambda key: data.textures(key),
    "plant": lambda key: data.plant(key, IMAGES),
    "variations": lambda key: augmentations.variations(
        augmentations.noise(), key, jnp.zeros(2), 2
    ),
    "rotation": lambda key: dissect.rotation(key, 2),
}
BAD = {
    "an integer": (lambda: 0, "key must come from jax.random.key, got the int 0"),
    "none": (lambda: None, "key must come from jax.random.key, got None"),
    "a word": (lambda: "a", "key must come from jax.random.key, got the str 'a'"),
    "an old key": (lambda: jax.random.PRNGKey(0), "not jax.random.PRNGKey"),
    "old numbers": (lambda: np.array([0, 1], np.uint32), "not jax.random.PRNGKey"),
    "an array": (lambda: jnp.zeros(2), "got float32 of shape .2,."),
    "several": (lambda: jax.random.split(jax.random.key(0), 3), "must be one key, got"),
}


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_key(draw, bad):
    make, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        DRAW[draw](make())
