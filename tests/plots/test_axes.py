"""What every figure keeps to, however little there is to draw."""

import re

import matplotlib
import numpy as np
import pytest
from test_pruning_figures import figures as pruning_figures
from test_removal_figures import figures as removal_figures

from sparsejax import plots
from sparsejax.experiments.cartpole import drawings as cartpole
from sparsejax.experiments.circle_removal import subset_charts
from sparsejax.experiments.features.figures import sheet
from sparsejax.experiments.lottery import charts as lottery_charts
from sparsejax.experiments.node_sweep import charts
from sparsejax.experiments.spade import figures as spade
from sparsejax.plots.style import COLORS, colors, themed

DENSITIES = {
    "levels": [1.0, 0.5, 0.25, 0.01],
    "two near levels": [1.0, 0.97],
    "levels of a short run": [1.0, 0.8, 0.64],
    "one level": [1.0],
    "one sparse level": [0.03],
}
VALUES = {"low": 0.0, "middle": 0.5, "high": 1.0, "absent": np.nan}


def accuracies(densities, value, **options):
    values = np.full((len(densities), 1), value)
    return plots.against_density({"a": (densities, values)}, title="t",
                                 ylabel="accuracy", **options)  # fmt: skip


def counts(densities, value):
    values = np.full((len(densities), 2), value)
    panels = {"detectors": {"a": (densities, values)}, "of none": {}}
    return plots.counts_against_density(panels, title="t")


def short():
    """Figures of runs with one seed, one level, a few steps."""
    one = np.full((1, 1), 0.5)
    yield lottery_charts.weights_per_layer(
        {"a": [[90]], "b": [[90]]}, {"a": 90, "b": 9}, title="t"
    )
    yield lottery_charts.weights_per_layer({"a": [[90], [85]]}, {"a": 90}, title="t")
    yield lottery_charts.idle_units(
        {"a": ([0], [0], 1), "b": ([0, 1], [0, 0], 3)}, title="t"
    )
    yield subset_charts.by_size({"a": [[0.5], [0.45]]}, title="t", ylabel="loss")
    yield subset_charts.by_degree(np.ones((1, 1)), title="t", measure="loss")
    yield cartpole.learning([10], np.ones((1, 1)), 200.0, title="t")
    yield cartpole.learning([10, 20], np.full((2, 2), 200.0), 200.0, title="t")
    yield cartpole.units_kept(np.ones((1, 2)), 200.0, title="t")
    walk = cartpole.Walk("a", [48, 47], [200.0, 199.0], [True, True])
    yield cartpole.returns_by_weights([walk], 200.0, title="t")
    yield spade.gains({"a": (0.0, 0.0, 0.0)}, title="t")
    random = ([1], one.repeat(3, 0), one.repeat(3, 0))
    found = {"a": ([1.0, 0.99], [0.0, 1.0])}
    yield charts.kept_units(found, random=random, title="t", whole=(0.99, 1.0))
    yield charts.unit_scores({"a": (["0"], [0.0], None)}, title="t", xlabel="loss")


def usual():
    for figures in (pruning_figures, removal_figures):
        yield from figures()


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("densities", DENSITIES)
@pytest.mark.parametrize("logit", [False, True])
def test_shares_of_few_levels(check_axes, densities, value, logit):
    figure = accuracies(DENSITIES[densities], VALUES[value], logit=logit)
    check_axes(figure)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == (["no values"] if value == "absent" else [])


@pytest.mark.parametrize("value", [0.0, 1.0, 7.0, 0.5, np.nan])
@pytest.mark.parametrize("densities", DENSITIES)
def test_counts_of_few_levels(check_axes, densities, value):
    figure = counts(DENSITIES[densities], value)
    check_axes(figure)
    left, right = figure.axes[0].get_xlim()
    assert right < min(DENSITIES[densities]) and 1 >= left / 1.3
    assert figure.axes[0].get_ylim()[0] == 0
    assert [text.get_text() for text in figure.axes[1].texts] == ["no values"]


def test_short_runs_and_usual_ones(check_axes):
    for figure in [*short(), *usual()]:
        check_axes(figure)


def test_colours_are_seen_on_white_and_on_black():
    """A contrast of 1.5 with both papers, for as many lines as there may be."""

    def light(color):  # relative luminance
        rgb = np.array(matplotlib.colors.to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark = light("#1b1d21")
    for count in (len(COLORS), 7, 12):
        for color in colors(count):
            assert 1.05 / (light(color) + 0.05) > 1.5
            assert (light(color) + 0.05) / (dark + 0.05) > 1.5


# ---- On dark pages


def rules(svg):
    return dict(re.findall(r'\[style\*="([^"]+)"\]\{\w+:(#\w+)!important\}', svg))


def test_greys_change_their_places_and_colours_stay():
    styles = ("fill: #ffffff", "stroke: #000000", "stroke: #0072b2", "fill: #202122",
              "fill: #fdfcfb", "stroke: #e5e5e5")  # fmt: skip
    paths = "".join(f'<path style="{style}"/>' for style in styles)
    svg = themed(f"<svg><style>*{{}}</style>{paths}</svg>")
    dark = {"fill: #ffffff": "#1b1d21", "stroke: #000000": "#e9eaed"}
    assert rules(svg) == {**dark, "stroke: #e5e5e5": "#303236"}
    assert svg.index("*{}") < svg.index("@media (prefers-color-scheme: dark)")
    assert svg.endswith(f"{paths}</svg>")  # as it was, for who reads no media queries


def test_every_drawing_has_a_dark_side(tmp_path):
    """Its paper, its ink and whatever grey is in it; and no white that has no rule."""
    channels = sheet(np.ones((3, 1, 8, 8, 1)), [0, 1, 2], title="t")
    for figure in [*short(), *pruning_figures(), channels]:
        plots.save(figure, tmp_path / "a.svg")
        svg = (tmp_path / "a.svg").read_text()
        body = svg.partition("</style>")[2]
        grays = re.findall(r"(?:fill|stroke): #(?:([0-9a-f])\1{5}|e5e5e5)\b", body)
        assert grays and svg.count("@media (prefers-color-scheme: dark)") == 1
        used = re.finditer(r"(?:fill|stroke): #(?:([0-9a-f])\1{5}|e5e5e5)\b", body)
        assert {match[0] for match in used} == rules(svg).keys()
        assert "text{fill:#e9eaed}" in svg
        assert not re.findall(r"(?:fill|stroke): (?!none|#|url)\w+", body)  # names
