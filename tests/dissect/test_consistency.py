"""Consistency by hand, its chance levels over all permutations, published tables."""

import itertools as it
import math
import os
from pathlib import Path

import numpy as np
import pytest

from sparsejax import dissect

SHARES = {f"{name}{of}" for name in ("still_detector", "same_label")
          for of in ("", "_by_chance")}  # fmt: skip


def table(text):
    """Units by their label's first letter; capitals are detectors."""
    score = np.array([0.1 if c.isupper() else 0.01 for c in text])
    return dissect.Table(tuple(text.lower()), ("object",) * len(text), score)


def test_by_hand():
    found = dissect.consistency(table("AABBCdd"), table("AcBAcDd"))
    assert found.dense == 5 and found.pruned == 4
    assert found.still_detector == 3 / 5 and found.same_label == 2 / 3
    assert found.still_detector_by_chance == 4 / 7
    assert found.same_label_by_chance == pytest.approx((2 * 2 + 2 * 1) / (5 * 4))
    assert found.jaccard == 3 / 6 and found.survival == 2 / 3


def test_a_network_with_itself():
    found = dissect.consistency(table("AABcD"), table("AABcD"))
    shares = found.still_detector, found.same_label, found.jaccard, found.survival
    assert shares == (1, 1, 1, 1) and found.dense == found.pruned == 4


def test_chance_levels_are_means_over_permutations():
    dense, text = table("AABcd"), "ABBad"
    ways = [
        dissect.consistency(dense, table("".join(t))) for t in it.permutations(text)
    ]
    first = ways[0]

    def mean(values):
        return math.fsum(values) / len(ways)

    assert mean(w.still_detector for w in ways) == pytest.approx(
        first.still_detector_by_chance
    )
    both = [w.still_detector * w.dense for w in ways]
    agree = [
        0 if math.isnan(w.same_label) else w.same_label * b for w, b in zip(ways, both)
    ]
    assert sum(agree) / sum(both) == pytest.approx(first.same_label_by_chance)
    assert len({w.same_label_by_chance for w in ways}) == 1


@pytest.mark.parametrize(
    ("dense", "pruned", "nans"),
    [
        ("abc", "ABc", SHARES),
        ("ABc", "abc", {"same_label", "same_label_by_chance"}),
        ("ABc", "abC", {"same_label"}),
        ("abc", "abc", set(dissect.Consistency._fields) - {"dense", "pruned"}),
    ],
)
def test_shares_of_nothing_are_nan(dense, pruned, nans):
    found = dissect.consistency(table(dense), table(pruned))
    nans = nans | ({"survival"} if dense.islower() else set())
    assert {k for k, v in found._asdict().items() if math.isnan(v)} == nans


def test_categories_and_thresholds_count():
    a = dissect.Table(("bed",), ("object",), np.array([0.05]))
    b = dissect.Table(("bed",), ("scene",), np.array([0.05]))
    assert dissect.consistency(a, b).dense == 0
    assert dissect.consistency(a, b, strict=False).same_label == 0
    assert dissect.consistency(a, a, threshold=0.04).same_label == 1
    with pytest.raises(ValueError, match="tables have 1 and 3 units"):
        dissect.consistency(a, table("abc"))


def test_drift():
    dense = np.array([[0, 0.1, 0.3], [0, 0.2, 0.1]])
    pruned = np.array([[0, 0.5, 0.1], [0, 0.25, 0.0]])
    np.testing.assert_allclose(dissect.drift(dense, pruned), [-0.2, 0.05])
    with pytest.raises(ValueError, match="scores have shapes"):
        dissect.drift(dense, pruned[:1])


def test_published_tables_of_two_networks():
    folder = Path(os.environ.get("SPARSEJAX_DATA_DIR", "missing")) / "netdissect"
    if not folder.is_dir():
        pytest.skip("needs SPARSEJAX_DATA_DIR with netdissect/*.csv")

    def read(name):
        return dissect.read_table(folder / f"netdissect_ResNet-152_{name}.csv")

    imagenet, places = read("imagenet"), read("places365")
    for found, units, concepts in ((imagenet, 990, 169), (places, 1092, 236)):
        assert found.detectors().sum() == units and len(found.score) == 2048
        assert len(found.concepts()) == concepts
    kinds = {kind: c.concepts for kind, c in places.by_category().items()}
    assert kinds == {
        "scene": 132, "object": 51, "texture": 36, "part": 13, "material": 4,
    }  # fmt: skip
    found = dissect.consistency(imagenet, places)
    assert found.still_detector == pytest.approx(0.533, abs=5e-4)
    assert found.still_detector_by_chance == 1092 / 2048
    assert found.same_label == 2 / 528
    assert found.same_label_by_chance == pytest.approx(0.0072, 0.01)
