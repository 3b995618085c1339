"""Figures of node removal draw what they are given, with labelled axes."""

import numpy as np

from sparsejax import plots
from sparsejax.experiments.circle_removal import charts, subset_charts

at = np.linspace(-1, 1, 20)
hill = np.exp(-(at**2))
matrix = np.eye(5)
maps = np.stack([np.full((7, 7), i - 3.0) for i in range(7)])
several = np.abs(np.random.default_rng(0).normal(size=(6, 3))) + 0.1


def figures():
    yield plots.densities(
        at,
        [plots.Curve("p", hill, hill / 2, (0.0, 0.3)), plots.Curve("q", hill)],
        title="t",
        xlabel="loss (nats)",
        line=(0.5, "all nodes"),
    )
    yield charts.densities_by_node(
        np.stack([at] * 7),
        [(f"node {i}", hill, hill) for i in range(7)],
        labels=("on", "off"),
        title="t",
        xlabel="gradient",
    )
    yield charts.paths(
        matrix, matrix[:2], (matrix[0], matrix[0]), count=10, title="t", measure="loss"
    )
    yield charts.square_maps(
        maps, [f"{i}" for i in range(7)], extent=1.0, radius=0.5, title="t",
        measure="gradient", signed=True,
    )  # fmt: skip
    yield charts.square_maps(
        maps[6:], [""], extent=2.0, radius=None, title="t", measure="loss", signed=False
    )
    yield charts.cube()
    yield subset_charts.by_size(
        {"best": several, "mean": several[:, :1]},
        title="t",
        ylabel="loss (nats)",
        band=("90%", several[:, 0], 2 * several[:, 0]),
    )
    yield subset_charts.by_degree(several, title="t", measure="log loss")
    yield subset_charts.pairs(matrix, np.arange(5) - 2.0, title="t", measure="loss")


def test_saves_the_same_bytes_twice(tmp_path):
    for pair in zip(figures(), figures(), strict=True):
        for name, figure in zip("ab", pair, strict=True):
            plots.save(figure, tmp_path / f"{name}.svg")
        assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_densities_show_exact_sampled_and_fit_in_one_colour():
    axes = next(figures()).axes[0]
    exact, sampled, fit = axes.lines[:3]
    assert exact.get_color() == sampled.get_color() == fit.get_color()
    np.testing.assert_array_equal(exact.get_ydata(), hill)
    top = fit.get_ydata().max()
    np.testing.assert_allclose(top, 1 / (0.3 * np.sqrt(2 * np.pi)), rtol=0.02)
    assert axes.get_xlabel() == "loss (nats)"
    assert axes.get_ylabel() == "probability density"


def test_maps_share_a_scale_that_is_symmetric_where_signed():
    pictures = [axes.images[0] for axes in list(figures())[3].axes[:7]]
    limits = {picture.get_clim() for picture in pictures}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high < 0
    assert pictures[0].get_extent() == [-1, 1, -1, 1]


def test_pairs_number_every_node_and_name_what_colours_mean():
    left, right, bar = list(figures())[8].axes
    assert [t.get_text() for t in left.get_yticklabels()] == list("01234")
    assert right.images[0].get_clim() == (-1, 1)
    assert "loss" in bar.get_ylabel()


def test_no_curve_is_lost_for_want_of_colours():
    many = [plots.Curve(f"p{i}", hill) for i in range(9)]
    figure = plots.densities(at, many, title="t", xlabel="x")
    assert len({line.get_color() for line in figure.axes[0].lines}) == 9
