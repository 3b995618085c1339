"""Labels of units, and tables in files."""

import numpy as np
import pytest

from sparsejax import dissect
from sparsejax.data import Labels

LABELS = Labels(
    ("", "cat", "dog", "red", "blue"), ("object", "color"), np.array([-1, 0, 0, 1, 1])
)
SCORES = np.array(
    [
        [0.0, 0.01, 0.06, 0.08, 0.0],  # red
        [0.0, 0.05, 0.05, 0.0, 0.0],  # cat, the first of two
        [0.0, 0.0, 0.0, 0.0, 0.0],  # nothing
        [0.0, 0.0, 0.2, 0.1, 0.0],  # dog
        [0.0, 0.0, 0.0, 0.06, 0.0],  # red
    ]
)


def test_labels_of_units():
    found = dissect.assign(SCORES, LABELS)
    assert found.label == ("red", "cat", "", "dog", "red")
    assert found.category == ("color", "object", "", "object", "color")
    assert found.score.tolist() == [0.08, 0.05, 0, 0.2, 0.06]


def test_detectors_and_concepts():
    found = dissect.assign(SCORES, LABELS)
    assert found.detectors().tolist() == [True, False, False, True, True]
    assert found.detectors(strict=False).tolist() == [True, True, False, True, True]
    assert found.detectors(0.07).tolist() == [True, False, False, True, False]
    assert not found.detectors(0, strict=False)[2]
    assert found.concepts() == (("color", "red"), ("object", "dog"))
    assert found.by_category() == {"color": (2, 1), "object": (1, 1)}
    assert found.by_category(strict=False) == {"color": (2, 1), "object": (2, 2)}
    assert found.by_category(0.5) == {}


def test_labels_of_some_categories():
    found = dissect.assign(SCORES, LABELS, categories=["object"])
    assert found.label == ("dog", "cat", "", "dog", "")
    with pytest.raises(ValueError, match="no category 'part'; there are object, color"):
        dissect.assign(SCORES, LABELS, categories=["part"])
    with pytest.raises(ValueError, match=r"shape \(5, 3\); expected \(units, 5\)"):
        dissect.assign(SCORES[:, :3], LABELS)


def test_files(tmp_path):
    found = dissect.assign(SCORES / 3, LABELS)
    found = found._replace(label=("red, or so", *found.label[1:]))
    dissect.write_table(tmp_path / "table.csv", found)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert lines[0] == "unit,category,label,score"
    assert [line.split(",")[0] for line in lines[1:]] == ["4", "1", "5", "2", "3"]
    again = dissect.read_table(tmp_path / "table.csv")
    assert (again.label, again.category) == (found.label, found.category)
    np.testing.assert_array_equal(again.score, found.score)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows or no columns unit"),
        ("unit,label,score\n1,a,0.1\n", "no columns category"),
        ("unit,category,label,score\n0,c,a,0.1\n", "row 2: unit '0'"),
        ("unit,category,label,score\n1,c,a,0.1\n1,c,a,0.1\n", "row 3: unit '1'"),
        ("unit,category,label,score\n1,c,a,nan\n", "score 'nan'"),
        ("unit,category,label,score\n1,c\n", "score None"),
        (
            "unit,category,label,score\n1,c,a,1\n3,c,a,1\n",
            "to unit 3, but lacks unit 2",
        ),
    ],
)
def test_bad_files(text, message, tmp_path):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        dissect.read_table(tmp_path / "table.csv")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="nothing.csv cannot be read"):
        dissect.read_table(tmp_path / "nothing.csv")
