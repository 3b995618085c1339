"""Sheets of pictures: what is where."""

import numpy as np

from sparsejax.experiments.features import figures as features


def test_a_sheet_has_every_picture_under_its_number(rng):
    images = rng.uniform(size=(18, 2, 32, 32, 3))
    axes = features.sheet(images, np.arange(100, 118), title="t").axes[0]
    board = axes.images[0].get_array()
    assert [text.get_text() for text in axes.texts][-1] == "117"
    left, top = axes.texts[-1].get_position()
    assert (left, round(top)) == (34, 87)  # the second column of the second row
    tile = board[88 : 88 + 32, 34 : 34 + 32]
    np.testing.assert_allclose(tile[..., :3], images[17, 0])
    assert (tile[..., 3] == 1).all() and (board[: 88 - 32, 32:34, 3] == 0).all()
