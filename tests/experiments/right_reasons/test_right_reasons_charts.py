"""Figures of training on relevance draw what they are given."""

import numpy as np

from sparsejax import plots
from sparsejax.experiments.right_reasons import charts

draw = np.random.default_rng(0)
images = draw.uniform(size=(2, 6, 6))
region = np.zeros((2, 6, 6), bool)
region[0, 1:4, 2:5] = region[1, 2:5, 0:3] = True
both = {"same": np.array([0.9, 0.7]), "swapped": np.array([0.1, 0.3])}


def figures():
    draw = np.random.default_rng(1)
    rows = [charts.Scores("a", both, both), charts.Scores("b", both, both)]
    yield charts.scores(rows, title="t")
    values = draw.uniform(size=(3, 2))
    panels = [charts.Strengths("a", [0.1, 1, 10], values, values / 2)] * 2
    yield charts.strengths(panels, references={"none": 0.2}, title="t")
    maps = [charts.Maps("a", np.array([3, 4]), draw.normal(size=(2, 6, 6)))] * 3
    yield charts.maps(images, np.array([3, 5]), region, maps, title="t")
    yield charts.image_rows([("x", images, ["1", "2"])] * 2, title="t")


def test_saves_the_same_bytes_twice(tmp_path):
    for name in "ab":
        plots.save(list(figures())[2], tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_axes(check_axes):
    for figure in figures():
        check_axes(figure)


def test_bars_are_means_and_dots_networks():
    accuracy, outside = next(figures()).axes
    widths = [bar.get_width() for bar in accuracy.patches]
    np.testing.assert_allclose(widths, [0.8, 0.2] * 2)
    dots = np.concatenate([line.get_xdata() for line in outside.lines])
    np.testing.assert_allclose(dots, [0.9, 0.7, 0.1, 0.3] * 2)
    assert accuracy.get_xlabel() == "test accuracy"


def test_networks_are_thin_and_their_mean_is_thick():
    first, _ = list(figures())[1].axes
    widths = [line.get_linewidth() for line in first.lines]
    assert widths == [0.7, 0.7, 2.4, 0.7, 0.7, 2.4, 1.2]
    thin = np.mean([line.get_ydata() for line in first.lines[:2]], axis=0)
    np.testing.assert_allclose(first.lines[2].get_ydata(), thin)


def test_boxes_lie_around_regions_and_answers_under_maps():
    axes = list(figures())[2].axes[0]
    found = [tuple(image.get_extent()[::3]) for image in axes.images]  # left and top
    assert len(found) == 8 and len(set(found)) == 8
    boxes = [box for box in axes.patches if box.get_width() == 3]
    moves = {
        (round(x - left, 6), round(y - top, 6))
        for (x, y), (left, top) in zip(
            [box.get_xy() for box in boxes], found, strict=True
        )
    }
    assert moves == {(2, 1), (0, 2)} and all(box.get_height() == 3 for box in boxes)
    words = [text.get_text() for text in axes.texts]
    assert words == ["image", *"aaa", "a 3", *["✓ 3"] * 3, "a 5", *["✗ 4"] * 3]
    for image in axes.images:
        top = np.abs(image.get_array()).max()
        assert top == 1 or image.get_clim() == (0, 1)  # each map on its own scale


def test_a_map_of_zeros_is_drawn():
    maps = [charts.Maps("a", np.array([0, 0]), np.zeros((2, 6, 6)))]
    found = charts.maps(images, np.array([3, 5]), region, maps, title="t")
    assert not found.axes[0].images[1].get_array().any()
