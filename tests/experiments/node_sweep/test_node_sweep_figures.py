"""Figures of sweeps show what they are given."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from sparsejax import plots
from sparsejax.experiments.node_sweep import charts
from sparsejax.plots.style import COLORS

LOSSES, ACCURACIES = np.linspace(2, 0.1, 5), np.linspace(0.1, 0.9, 5)
BAND = np.array([[1.0, 0.5], [1.2, 0.6], [1.5, 0.7]])


def kept_units():
    return charts.kept_units(
        {"greedy": (LOSSES, ACCURACIES), "Shapley value": (LOSSES + 1, ACCURACIES)},
        random=([1, 3], BAND, BAND / 2),
        title="Two units are enough",
        whole=(0.1, 0.9),
    )


def unit_scores():
    return charts.unit_scores(
        {
            "hidden_0": (["0", "1", "2"], [0.1, 0.5, -0.2], [0.05, 0.1, 0.02]),
            "hidden_1": ([str(i) for i in range(50)], np.arange(50.0), None),
        },
        title="hidden_1/49 matters most",
        xlabel="nats",
    )


@pytest.mark.parametrize("draw", [kept_units, unit_scores])
def test_saves_the_same_bytes_twice_and_leaves_settings_alone(tmp_path, draw):
    before = dict(matplotlib.rcParams)
    for name in ("a.svg", "b.svg"):
        plots.save(draw(), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert dict(matplotlib.rcParams) == before


def test_kept_units_shows_every_curve_in_both_panels():
    figure = kept_units()
    loss, accuracy = figure.axes
    assert figure.get_suptitle() == "Two units are enough"
    assert loss.get_yscale() == "log" and accuracy.get_yscale() == "linear"
    assert {axes.get_xlabel() for axes in figure.axes} == {"units kept"}
    assert loss.get_ylabel() == "loss (nats)" and accuracy.get_ylabel() == "accuracy"
    lines = {line.get_label(): line for line in accuracy.lines}
    np.testing.assert_allclose(lines["greedy"].get_ydata(), ACCURACIES)
    assert lines["greedy"].get_linewidth() > lines["Shapley value"].get_linewidth()
    assert set(lines["whole network"].get_ydata()) == {0.9}
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"random units, median", "random units, 5% to 95%"} <= set(names)


def test_kept_units_draws_nothing_between_sizes_that_were_not_measured():
    _, accuracy = kept_units().axes
    lines = {line.get_label(): line for line in accuracy.lines}
    middle = lines["random units, median"]
    expected = [np.nan, BAND[1, 0] / 2, np.nan, BAND[1, 1] / 2]
    np.testing.assert_array_equal(middle.get_ydata(), expected)
    assert list(middle.get_xdata()) == [0, 1, 2, 3] and middle.get_marker() == "o"
    bars = [c for c in accuracy.collections if hasattr(c, "get_segments")]
    ends = np.array([segment[:, 1] for segment in bars[0].get_segments()])
    np.testing.assert_allclose(ends, BAND[[0, 2]].T / 2)


def test_kept_units_draws_all_of_many_curves():
    figure = charts.kept_units(
        {f"score {i}": (LOSSES + i, ACCURACIES) for i in range(9)},
        random=([1, 3], BAND, BAND / 2),
        title="",
        whole=(0.1, 0.9),
        xlabel="units kept (of 4; 6 always on)",
    )
    shown = [li for li in figure.axes[0].lines if li.get_label().startswith("score")]
    assert len(shown) == len({str(line.get_color()) for line in shown}) == 9
    assert figure.axes[1].get_xlabel() == "units kept (of 4; 6 always on)"


def test_points_are_labelled_lines_and_share_those_of_one_place():
    at = np.linspace(0, 1, 50)
    figure = charts.densities_and_points(
        at,
        [plots.Curve("keep 0.5", np.ones(50))],
        {"keep 1": 0.2, "keep 0": 0.9, "keep 0.999": 0.2},
        title="",
        xlabel="log of the loss",
        line=(0.2, "whole network"),
    )
    (axes,) = figure.axes
    dashed = [
        line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"
    ]
    assert dashed == [0.2, 0.9]
    texts = [text.get_text().replace("\n", " ") for text in axes.texts]
    assert texts == ["keep 1, keep 0.999: one value", "keep 0: one value"]


def test_unit_scores_sorts_units_and_says_how_many_it_leaves_out():
    first, second = unit_scores().axes
    labels = [text.get_text() for text in first.get_yticklabels()]
    assert labels == ["1", "0", "2"]
    assert [bar.get_width() for bar in first.patches] == [0.5, 0.1, -0.2]
    blue, orange = COLORS[:2]
    colors = [to_hex(bar.get_facecolor()) for bar in (*first.patches, *second.patches)]
    assert colors == [blue, blue, orange, *[blue] * 40]
    (segments,) = (c.get_segments() for c in first.collections)
    np.testing.assert_allclose(segments[0][:, 0], [0.5 - 0.196, 0.5 + 0.196])
    assert second.get_title(loc="left") == "hidden_1 (and 10 lower)"
    assert len(second.patches) == 40 and second.patches[0].get_width() == 49
