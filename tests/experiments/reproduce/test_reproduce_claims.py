"""The tables of claims: the words by their rule, and claims that can be asked."""

import math

import numpy as np
import pytest

from sparsejax import experiments, runs
from sparsejax.experiments.reproduce import factors, parts, report
from sparsejax.experiments.reproduce.claim import (
    WORDS,
    Claim,
    Results,
    agreement,
    answer,
    told,
)
from sparsejax.experiments.reproduce.sources import SOURCES, order, weights

CLAIMS = [claim for table in SOURCES.values() for claim in table]


@pytest.mark.parametrize(
    "published, ours, higher, word",
    [
        (963, [955, 986], False, "agrees"),  # within the range
        (1.0, [1.04, 1.09, 1.14], False, "agrees"),  # within two deviations
        (1.0, [1.1, 1.2, 1.3], False, "compatible"),  # but the mean is far
        (0.002, [0.044, 0.0004, 0.011], True, "compatible"),  # as within a range
        (1.0, [1.15, 1.2, 1.25], False, "differs"),
        (1.0, [1.08, 1.081], False, "near"),
        (952, [952], False, "agrees"),
        (1000, [1009], False, "agrees"),  # within a hundredth
        (1000, [1011], False, "near"),
        (0.9, [0.95, 0.95], True, "better"),
        (0.9, [0.85, 0.85], True, "near"),
        (0.9, [0.5, 0.5], True, "differs"),
        (-0.07, [-0.0701], False, "agrees"),
        (-0.07, [0.07], False, "differs"),
        (0.0, [0.0], False, "agrees"),
        (0.0, [1e-9], False, "differs"),
    ],
)
def test_words_of_numbers(published, ours, higher, word):
    assert agreement(published, ours, higher=higher) == word


def test_what_is_shown_of_networks():
    assert told([1.0, 3.0], "{:.1f}") == "2.0 ± 1.4 (2)"
    assert told([952.0], "{:.0f}") == "952 (1)"
    assert told([952.0, 952.0], "{:.0f}") == "952 (2)"
    assert told([1.0, 3.0], "{:.1f}", "1 of 2") == "2.0 ± 1.4 (1 of 2)"


def asked(tmp_path, ours=None, **fields):
    """The answer to a claim on a part that is there, or is not."""
    results = Results(tmp_path, {"rules": []}, {"spade": "no images"})
    values = None if ours is None else lambda results: ours
    claim = Claim("name", "where", "what", "published", **{"values": values, **fields})
    return answer(claim, results)


def test_statements_are_asked_of_every_network(tmp_path):
    for ours, word in (([True, True], "holds"), ([True, False], "partly"),
                       ([False], "fails"), ([], "unknown")):  # fmt: skip
        found = asked(tmp_path, ours, parts=("rules",))
        assert found.word == word
    assert asked(tmp_path, [True, False], parts=("rules",)).text == "1 of 2"


def test_a_bound_is_asked_of_every_network_however_they_spread(tmp_path):
    for ours, word in (([0.95, 1.0], "holds"), ([0.94, 1.0], "partly"),
                       ([0.5, 0.94], "fails")):  # fmt: skip
        claim = asked(tmp_path, ours, parts=("rules",), value=(0.95, 1.0))
        assert claim.word == word
    assert claim.text == "0.7200 ± 0.3111 (0 of 2)"


def test_bounds_are_of_the_source_or_ours():
    bounds = [claim for claim in CLAIMS if isinstance(claim.value, tuple)]
    printed = {claim.name for claim in bounds if not claim.bound_is_ours}
    assert printed == {"dense accuracy", "flips"}
    assert not any(claim.bound_is_ours for claim in CLAIMS if claim not in bounds)
    for claim in bounds:
        assert claim.said or claim.printed, f"{claim.name}: whose bound is it?"


def test_what_is_not_there(tmp_path):
    left_out = asked(tmp_path, [1.0], parts=("rules", "circle"))
    assert (left_out.word, left_out.said) == ("not run", "Needs `--parts=circle`.")
    missing = asked(tmp_path, [1.0], parts=("rules", "spade"))
    assert (missing.word, missing.said) == ("missing", "no images")
    unchecked = asked(tmp_path, unchecked="It is not published.")
    assert (unchecked.word, unchecked.said) == ("not checked", "It is not published.")
    nan = asked(tmp_path, [1.0, math.nan], value=1.0, parts=("rules",))
    assert nan.word == "unknown"


def test_figures_that_are_there_are_shown(tmp_path):
    files = {"map": "rules/map.svg", "page": "rules/index.html"}
    assert asked(tmp_path, parts=("rules",), figures=files).word == "unknown"
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "map.svg").touch()
    found = asked(tmp_path, parts=("rules",), figures=files)
    assert (found.word, found.figures) == ("shown", {"map": "rules/map.svg"})


def test_every_claim_can_be_asked():
    for table in SOURCES.values():
        names = [claim.name for claim in table]
        assert len(names) == len(set(names)) > 5
    for claim in CLAIMS:
        assert set(claim.parts) <= set(parts.PARTS), claim.name
        places = {path.split("/")[0] for path in claim.figures.values()}
        assert places <= set(claim.parts), claim.name
        told = claim.unchecked or claim.values or claim.figures
        assert told, f"{claim.name}: there is nothing to tell"
        assert not claim.said or claim.said.endswith("."), claim.name
        assert claim.value is None or claim.values, claim.name
        assert claim.shown.format(0.5)


def test_every_subject_of_the_issue_has_rows():
    """All parts are there for a claim, but those that others look at."""
    used = {part for claim in CLAIMS for part in claim.parts}
    assert used == set(parts.PARTS) - {"scenes"}


@pytest.mark.parametrize("quick", [False, True])
def test_parts_are_configs_of_experiments(quick):
    names = list(parts.PARTS)
    for name, part in parts.PARTS.items():
        if part.experiment in parts.HERE:
            assert not part.fields(quick)
        else:
            face = getattr(experiments, part.experiment)
            face.Config(**part.fields(quick))
        if part.of is not None:
            assert parts.PARTS[part.of].experiment == "lottery"
            assert names.index(part.of) < names.index(name)
            assert not parts.PARTS[part.of].data or part.data


def test_a_part_brings_what_it_looks_at():
    assert list(parts.wanted(("dissect", "rules"))) == ["rules", "scenes", "dissect"]
    assert list(parts.wanted(())) == list(parts.PARTS)


def test_the_share_that_normal_weights_need():
    squares = np.sort(np.square(np.random.default_rng(0).normal(size=200_000)))[::-1]
    share = np.searchsorted(np.cumsum(squares) / squares.sum(), 0.9) / len(squares)
    assert share == pytest.approx(weights._NORMAL, abs=0.002)


def test_factors_are_compared_with_chance():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 2)).astype("f4")
    noise = factors._explained(kernel)
    assert noise["unit"] == pytest.approx(noise["unit_shuffled"], abs=0.1)
    one = np.multiply.outer(np.arange(1, 10), np.random.default_rng(1).normal(size=16))
    one = factors._explained(one.reshape(3, 3, 16, 1).astype("f4"))
    assert one["unit"] == pytest.approx(1.0) and one["unit_shuffled"] < 0.9


def test_the_cluster_is_where_most_weights_are(tmp_path):
    """Wherever that is: no window around the published place."""
    rng, folder = np.random.default_rng(0), tmp_path / "orders"
    start, kept = np.zeros((1, 20, 20)), np.ones((1, 20, 20))
    after = rng.uniform(0, 2, size=start.shape)
    after[0, :5] = -0.31
    after[0, 5:15] = 0.0  # never moved
    runs.write_arrays(folder / "rate_0.1.npz", {"init/dense_1/kernel": start})
    runs.write_arrays(folder / "rate_0.1_random.npz", {
        "prune_train/dense_1/kernel": after, "kept_weights/dense_1/kernel": kept,
    })  # fmt: skip
    assert order._moved(Results(tmp_path)) == [0.31]


def test_words_are_counted_in_a_sentence():
    words = ["agrees", "holds", "near", "better", "differs", "partly", "missing"]
    records: list[dict] = [
        {"kind": "claim", "word": word, "aside": False, "bound_is_ours": bound}
        for word in words for bound in (False, True)
    ]  # fmt: skip
    aside = {"kind": "claim", "word": "holds", "aside": True, "bound_is_ours": True}
    records.append(aside)
    records.append({"kind": "measured", "part": "rules", "rows": []})
    assert set(report.counts(records)) == set(words) <= set(WORDS)
    assert report.finding(records) == (
        "4 of 12 published numbers and statements are found again (2 agrees, 2 holds, "
        "2 near, 2 better, 2 differs, 2 partly), 2 of the 4 by a bound of ours; "
        "2 missing"
    )
