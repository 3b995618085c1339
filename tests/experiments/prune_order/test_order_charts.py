"""Figures of the order of training and pruning draw what they are given."""

import numpy as np
import pytest
from PIL import Image

from sparsejax import plots
from sparsejax.experiments.prune_order import charts, surfaces

draw = np.random.default_rng(0)
surface = draw.uniform(size=(9, 9))
points = surfaces.Points(draw.uniform(-1, 1, (6, 2)), np.array([0, 1, 0, 1, 1, 0]))
first, second = draw.normal(size=(2, 50))
never = np.arange(50) < 10


def kernels():
    pair = charts.Pair("random", first, second, {"never updated": never}, 0.5)
    offset = (0.59, "source")
    return charts.kernel_pairs([pair], names=("p", "q"), title="t", offset=offset)


def figures():
    draw = np.random.default_rng(1)
    row = [("a", surface), ("b", 1 - surface)]
    yield surfaces.decision_surfaces(("whole", surface), [row, row], points, title="t")
    yield kernels()
    yield charts.moves(
        [("rate 0.1", {"trained": np.abs(first) * 9, "other": np.abs(second)})],
        mark=(6.0055, "Adam"),
        title="t",
    )
    yield charts.accuracies(
        [("a", draw.uniform(size=(3, 4)))] * 2, ["x", "y", "z"], title="t"
    )
    yield charts.shares(
        [
            charts.Share(
                "dead", {"0.1": np.array([0.2, 0.4]), "0.01": np.array([0.0, 0.1])}
            )
        ],
        title="t",
        xlabel="share",
    )
    values = np.array([[0.3, 0.2, 0.4], [0.1, 0.0, 0.2]])
    yield charts.correlations([("a", values, (0.2, 0.1, 0.3))], title="t", ylabel="r")


@pytest.fixture(scope="module")
def drawn():
    return list(figures())


def short():
    """Of runs of one network."""
    half = np.full(1, 0.5)
    yield charts.accuracies([("a", np.ones((4, 1)))], list("abcd"), title="t")
    share = charts.Share("a", {"b": half, "c": 0.01 * half})
    yield charts.shares([share], title="t", xlabel="share")
    yield charts.moves([("a", {"b": np.zeros(3)})], mark=(6.0, "m"), title="t")


def test_axes_of_short_runs_and_usual_ones(check_axes, drawn):
    for figure in [*short(), *drawn]:
        check_axes(figure)


def test_saves_the_same_bytes_twice(tmp_path):
    for name in "ab":
        plots.save(kernels(), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_every_entry_is_in_one_group_and_the_window_is_as_asked(drawn):
    whole, zoom = drawn[1].axes
    drawn = [len(dots.get_offsets()) for dots in whole.collections]
    assert drawn == [40, 10]
    np.testing.assert_array_equal(
        whole.collections[1].get_offsets(), np.stack([first, second], 1)[:10]
    )
    assert zoom.get_xlim() == zoom.get_ylim() == (-0.5, 0.5)
    assert whole.get_xlabel() == "weight, p" and whole.get_ylabel() == "weight, q"


def test_moves_are_shares_of_all_weights(drawn):
    (axes,) = drawn[2].axes
    totals = [patch.get_data().values.sum() for patch in axes.patches]
    np.testing.assert_allclose(totals, 1)


def test_panels_are_labelled_and_go_on_in_a_second_row():
    values = np.random.default_rng(2).uniform(size=(3, 4))
    panels = [(f"rate {i}", values) for i in range(5)]
    found = charts.accuracies(panels, ["x", "y", "z"], title="t")
    assert [axes.get_title("left") for axes in found.axes] == [p[0] for p in panels]
    places = [axes.get_subplotspec() for axes in found.axes]
    assert [place.rowspan.start for place in places] == [0, 0, 0, 0, 1]


def test_every_series_has_a_color():
    series = {str(i): np.array([i / 10]) for i in range(10)}
    axes = charts.shares([charts.Share("a", series)], title="t", xlabel="x").axes[0]
    assert len({str(line.get_color()) for line in axes.lines}) == 10


def test_means_stand_where_networks_are(drawn):
    axes = drawn[4].axes[0]
    dots, mean = axes.lines[:2]
    assert mean.get_xdata() == pytest.approx(np.mean(dots.get_xdata()))
    assert [t.get_text() for t in axes.texts] == ["30.0%", "5.0%"]


def test_a_film_has_every_step_and_stays_at_the_end(tmp_path):
    shots = np.stack([np.full((9, 9), value) for value in (0.0, 0.5, 1.0)])
    last = surfaces.film(
        tmp_path / "a.gif", [("p", shots), ("q", 1 - shots)], [0, 5, 1000], points,
        title="rate 0.1",
    )  # fmt: skip
    assert last.get_suptitle() == "rate 0.1, step 1,000"
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 3
        colors = []
        for frame in range(3):
            film.seek(frame)
            width, height = film.size
            colors.append(film.convert("RGB").getpixel((width // 4, height // 2)))
        assert film.info["duration"] >= 2000
    assert len(set(colors)) == 3
    assert list(tmp_path.iterdir()) == [tmp_path / "a.gif"]
