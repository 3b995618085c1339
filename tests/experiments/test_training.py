"""Networks that experiments train themselves."""

import numpy as np
import pytest

from sparsejax.experiments import subjects
from sparsejax.experiments._study import training


def circle(seed=0, dataset="circle"):
    return training.untrained(dataset, "mlp", seed=seed)


def test_circles_are_those_of_the_seed():
    (a, _), (b, _), (c, _) = (circle(seed).train_data for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert len(a) == 1000 and len(circle().x) == 10000
    inside = 1 - float(circle(dataset="circle_published").y.mean())
    assert inside == pytest.approx(0.6267, abs=0.02)


def test_a_trained_network_is_a_subject():
    subject = subjects.trained("circle", widths=(6,), epochs=5, seed=1)
    assert subject.title == "mlp on circle, seed 1"
    logits = np.asarray(subject.bound()(subject.x))
    assert (logits.argmax(1) == subject.y).mean() > 0.8
    before = training.untrained("circle", "mlp", (6,), epochs=5, seed=1)
    assert (before.x == subject.x).all() and before.train_data[0].shape == (1000, 2)
    again = training.fit(before)["dense_0"]["kernel"]
    np.testing.assert_array_equal(again, subject.params["dense_0"]["kernel"])


def test_points_have_no_convolutions():
    with pytest.raises(ValueError, match="circle has points, not images"):
        training.untrained("circle", "convnet")
