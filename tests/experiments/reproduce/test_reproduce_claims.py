"""The tables of claims: the words by their rule, and claims that can be asked."""

import math

import pytest

from sparsejax import experiments
from sparsejax.experiments.reproduce import parts, report
from sparsejax.experiments.reproduce.claim import (
    WORDS,
    Claim,
    Results,
    agreement,
    answer,
    told,
)
from sparsejax.experiments.reproduce.sources import SOURCES

CLAIMS = [claim for table in SOURCES.values() for claim in table]


@pytest.mark.parametrize(
    "published, ours, higher, word",
    [
        (963, [955, 986], False, "agrees"),  # within the range
        (1.0, [1.1, 1.2, 1.3], False, "agrees"),  # within two deviations
        (1.0, [1.15, 1.2, 1.25], False, "differs"),
        (1.0, [1.08, 1.081], False, "near"),
        (952, [952], False, "agrees"),
        (1000, [1009], False, "agrees"),  # within a hundredth
        (1000, [1011], False, "near"),
        (0.9, [0.95, 0.95], True, "better"),
        (0.9, [0.85, 0.85], True, "near"),
        (0.9, [0.5, 0.5], True, "differs"),
        ((5.0, 6.0), [5.5], False, "agrees"),
        ((5.0, 6.0), [6.5, 6.5], False, "near"),
        ((5.0, 6.0), [8.0, 8.1], False, "differs"),
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


def test_words_are_counted_in_a_sentence():
    words = ["agrees", "holds", "near", "better", "differs", "partly", "missing"]
    records: list[dict] = [
        {"kind": "claim", "word": word, "aside": False} for word in words
    ]
    records.append({"kind": "claim", "word": "fails", "aside": True})
    records.append({"kind": "measured", "part": "rules", "rows": []})
    assert set(report.counts(records)) == set(words) <= set(WORDS)
    assert report.finding(records) == (
        "4 of 6 published numbers and statements are found again (1 agrees, 1 better, "
        "1 near, 1 holds, 1 differs, 1 partly); 1 missing"
    )
