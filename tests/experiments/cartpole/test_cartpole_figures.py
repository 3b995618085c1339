"""Figures of agents: what is drawn where."""

import numpy as np
from PIL import Image

from sparsejax.experiments.cartpole import drawings, film
from sparsejax.rl import environments, gym


def test_returns_by_weights_joins_what_was_kept():
    walks = [
        drawings.Walk("ticket", [100, 50, 20, 25], [500, 500, 40, 500], [1, 1, 0, 1]),
        drawings.Walk("pruned", [100, 9], [500, 500], [True, True]),
    ]
    figure = drawings.returns_by_weights(walks, 500.0, title="t")
    lines = figure.axes[0].lines
    np.testing.assert_array_equal(lines[0].get_xdata(), [100, 50, 25])
    np.testing.assert_array_equal(lines[1].get_xdata(), [20])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["ticket", "pruned", "undone"]


def test_learning_has_a_line_a_seed_and_their_median(rng):
    returns = rng.uniform(0, 500, (3, 5))
    figure = drawings.learning([1, 2, 3, 4, 5], returns, 500.0, title="t")
    np.testing.assert_allclose(
        figure.axes[0].lines[3].get_ydata(), np.median(returns, 0)
    )
    assert (
        len(drawings.learning([1], returns[:1, :1], 500.0, title="t").axes[0].lines)
        == 2
    )


def test_inputs_kept_orders_subsets_by_size():
    returns = np.arange(8.0)[None]
    figure = drawings.inputs_kept(("a", "b", "c"), returns, ["agent"], title="t")
    above, below = (axes.images[0].get_array() for axes in figure.axes[:2])
    np.testing.assert_array_equal(above[0], [0, 1, 2, 4, 3, 5, 6, 7])
    np.testing.assert_array_equal(below.sum(0), [0, 1, 1, 1, 2, 2, 2, 3])


def test_units_kept_and_decisions_draw(rng):
    figure = drawings.units_kept(rng.uniform(0, 500, (2, 9)), 500.0, title="t")
    assert len(figure.axes[0].lines) == 4
    plane = ("x", "y", (-1.0, 1.0, -2.0, 2.0))
    margin = rng.standard_normal((5, 6))
    figure = drawings.decisions(
        [margin, margin], [plane, plane], [([0], [0]), ([0], [0])], ("l", "r"),
        title="t",
    )  # fmt: skip
    drawn = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(drawn, np.sign(margin))


def test_film_has_a_frame_for_every_few_steps(tmp_path):
    env = environments.load("CartPole-v1")
    episode = gym.record(env, lambda seen: seen[:, 2] > 0)
    path = tmp_path / "film.gif"
    film.balance_film(path, episode.observations, episode.actions, title="t")
    with Image.open(path) as picture:
        assert picture.n_frames == -(-len(episode.observations) // 4)
