"""Every figure draws, in its own style, without a display or global state."""

import matplotlib
import numpy as np
import pytest

from sparsejax import plots
from sparsejax.experiments.lottery import charts

density = 0.8 ** np.arange(6)
curves = np.linspace(0.97, 0.9, 6)[:, None] + np.array([0, 0.01])


def figures():
    yield plots.against_density(
        {"lottery ticket": (density, curves), "random": (density[1:], curves[1:])},
        title="Half of the weights do as well",
        ylabel="test accuracy",
        published=(0.5, 0.905, "published"),
    )
    yield charts.weights_per_layer(
        {"dense_0": [[100, 100], [80, 81]]}, {"dense_0": 100}, title="t"
    )
    yield charts.idle_units({"hidden_0": ([0, 3], [0, 1], 32)}, title="t")
    yield charts.filters(np.zeros((9, 4, 5)), list("abcdefghi"), title="t")


@pytest.mark.parametrize("index", range(4))
def test_saves_the_same_bytes_twice_and_leaves_settings_alone(tmp_path, index):
    before = dict(matplotlib.rcParams)
    for name in ("a.svg", "b.svg"):
        plots.save(list(figures())[index], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert dict(matplotlib.rcParams) == before
    assert len(list(tmp_path.iterdir())) == 2


def test_against_density_puts_dense_networks_left_and_labels_axes():
    axes = next(figures()).axes[0]
    left, right = axes.get_xlim()
    assert left > right and axes.get_xscale() == "log"
    assert axes.get_title(loc="left") == "Half of the weights do as well"
    assert "weights left" in axes.get_xlabel() and axes.get_ylabel() == "test accuracy"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["lottery ticket", "random", "published"]


def test_live_units_are_what_remains():
    figure = charts.idle_units({"hidden_0": ([0, 3], [0, 1], 32)}, title="t")
    live = figure.axes[0].collections[0].get_paths()[0].vertices
    assert live[:, 1].max() == 32
    at_last = live[live[:, 0] == 1][:, 1]
    assert set(at_last) == {0, 28}
