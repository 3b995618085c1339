"""Figures on pruning for a sample: what is where."""

import numpy as np
import pytest

from sparsejax.experiments.spade import figures


def texts(axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_gains_are_drawn_at_their_points_from_top_to_bottom():
    spread = {"SPADE": (4.0, 2.5, 5.5), "magnitude": (-3.0, -5.0, -1.0)}
    figure = figures.gains(spread, title="t")
    (axes,) = figure.axes
    assert texts(axes) == ["SPADE", "magnitude"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    lines = [line.get_xydata().tolist() for line in axes.lines]
    assert [[2.5, 0], [5.5, 0]] in lines and [[-3.0, 1]] in lines


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_stand_beside_their_images(channels, rng):
    images = rng.uniform(size=(2, 5, 6, channels))
    maps = {"dense": rng.uniform(size=(2, 5, 6)), "SPADE": rng.uniform(size=(2, 5, 6))}
    axes = np.reshape(figures.maps(images, maps, title="t").axes, (2, 3))
    assert [a.get_title(loc="left") for a in axes[0]] == ["image", "dense", "SPADE"]
    shown = axes[1, 2].images[0].get_array()
    np.testing.assert_array_equal(shown, maps["SPADE"][1])
    np.testing.assert_array_equal(axes[1, 0].images[0].get_array(), images[1].squeeze())


def test_planes_show_points_and_rings(rng):
    points = np.array([[0.5, -0.5], [0.1, 0.2]])
    panels = {"dense": (rng.uniform(size=(4, 4)), points)}
    axes = figures.planes(panels, [(0.5, -0.5, 0.2)], title="t").axes[0]
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), points)
    ring = axes.lines[0].get_xydata()
    np.testing.assert_allclose(np.hypot(*(ring - [0.5, -0.5]).T), 0.2)


def test_causes_are_rows_of_classes(rng):
    columns = {"patch": rng.uniform(size=(2, 4, 4, 1)), "dense": np.ones((2, 4, 4, 3))}
    grid = np.reshape(figures.causes(columns, ["a", "b"], title="t").axes, (2, 2))
    assert [a.get_ylabel() for a in grid[:, 0]] == ["a", "b"]
    shown = grid[1, 0].images[0].get_array()
    np.testing.assert_array_equal(shown, columns["patch"][1, ..., 0])
