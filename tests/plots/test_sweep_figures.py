"""Figures of sweeps show what they are given."""

import matplotlib
import numpy as np
import pytest

from sparsejax import plots

LOSSES, ACCURACIES = np.linspace(2, 0.1, 5), np.linspace(0.1, 0.9, 5)
BAND = np.array([[1.0, 0.5], [1.2, 0.6], [1.5, 0.7]])


def kept_units():
    return plots.kept_units(
        {"greedy": (LOSSES, ACCURACIES), "Shapley value": (LOSSES + 1, ACCURACIES)},
        random=([1, 3], BAND, BAND / 2),
        title="Two units are enough",
        whole=(0.1, 0.9),
    )


def unit_scores():
    return plots.unit_scores(
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
    middle = lines["random units, 5% to 95%"]
    np.testing.assert_allclose(middle.get_ydata(), BAND[1] / 2)
    assert list(middle.get_xdata()) == [1, 3]


def test_unit_scores_sorts_units_and_says_how_many_it_leaves_out():
    first, second = unit_scores().axes
    labels = [text.get_text() for text in first.get_yticklabels()]
    assert labels == ["1", "0", "2"]
    assert [bar.get_width() for bar in first.patches] == [0.5, 0.1, -0.2]
    (segments,) = (c.get_segments() for c in first.collections)
    np.testing.assert_allclose(segments[0][:, 0], [0.5 - 0.196, 0.5 + 0.196])
    assert second.get_title(loc="left") == "hidden_1 (and 10 lower)"
    assert len(second.patches) == 40 and second.patches[0].get_width() == 49
