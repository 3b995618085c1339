"""Figures of explanations draw what they are given."""

import numpy as np
import pytest

from sparsejax import plots
from sparsejax.experiments.relevance import charts

draw = np.random.default_rng(0)
images, maps = draw.uniform(size=(2, 6, 6)), draw.normal(size=(2, 6, 6))
falling, rising = np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.5, 1.0])


def grid():
    columns = {"gradient": maps, "nothing": np.zeros((2, 6, 6))}
    return charts.relevance_grid(images, ["3 / 3", "5 / 8"], columns, title="t")


def biases():
    parts = {"input": [2.0, -1.0], "a/bias": [-0.5, 3.0], "b/bias": [1.0, 0.5]}
    singles = {"a[0]": np.linspace(-1, 3, 5), "b[1]": np.linspace(-3, 1, 5)}
    return charts.bias_parts(["3", "5"], parts, [2.5, 2.5], singles, title="t")


def curves():
    found = {"good": (falling**2, rising), "bad": (falling, rising**2)}
    random = (falling, rising)
    return charts.removal_curves([0, 0.5, 1], found, random, title="t")


def randomized():
    series = {"one": [0.5, 0.2], "two": [0.9, np.nan]}
    return charts.randomized_layers(["last", "first"], series, title="t")


@pytest.mark.parametrize("make", [grid, biases, curves, randomized])
def test_saves_the_same_bytes_twice(tmp_path, make):
    for name in ("a.svg", "b.svg"):
        plots.save(make(), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("make", [grid, biases, curves, randomized])
def test_axes(check_axes, make):
    check_axes(make())


def test_maps_have_scales_of_their_own_and_signs():
    axes = grid().axes[:6]
    shown = [panel.images[0].get_array() for panel in axes]
    for i in range(2):
        np.testing.assert_allclose(shown[3 * i], images[i])
        expected = maps[i] / np.abs(maps[i]).max()
        np.testing.assert_allclose(shown[3 * i + 1], expected)
        assert not shown[3 * i + 2].any()
    assert [panel.get_title(loc="left") for panel in axes[:3]] == [
        "image", "gradient", "nothing"
    ]  # fmt: skip
    assert [panel.get_ylabel() for panel in axes[::3]] == ["3 / 3", "5 / 8"]
    assert axes[1].images[0].get_clim() == (-1, 1)


def test_bars_start_where_the_last_of_their_sign_ends():
    left, right = biases().axes
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in left.patches]
    assert ends == [(0, 2), (0, -1), (0, -0.5), (0, 3), (2, 3), (3, 3.5)]
    np.testing.assert_allclose(left.lines[0].get_xdata(), [2.5, 2.5])
    assert [bar.get_width() for bar in right.patches] == [1, -1]


def test_the_legend_is_in_the_order_of_areas():
    words = [
        [text.get_text() for text in axes.get_legend().get_texts()]
        for axes in curves().axes
    ]
    assert words == [
        ["0.375  good", "0.500  bad", "0.500  random order"],
        ["0.500  good", "0.375  bad", "0.500  random order"],
    ]


def test_every_method_starts_as_itself():
    (axes,) = randomized().axes
    starts = [line.get_ydata()[0] for line in axes.lines[:2]]
    assert starts == [1, 1]
    words = [text.get_text() for text in axes.get_xticklabels()]
    assert words == ["as trained", "last", "and first"]
