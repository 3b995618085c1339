"""Every analysis on models of every library: it works, or says one clear line."""

import re

import analyses
import open_models
import pytest

# The cells that end with a line; `results/open_models/README.md` has the whole table.
REFUSED = {
    ("spade", "nnx_scan"): "pass each layer of a stack as a parameter of its own",
    ("remove_nodes", "scanned_gpt"): "every layer that reads them must .* with a bias",
}
# One cell of every column, on cheap rows: the other ones are slow.
QUICK = {
    ("masks", "nnx_scan"),
    ("activations", "nnx_scan"),
    ("edit", "equinox_cnn"),
    ("fit", "nnx_scan"),
    ("remove", "nnx_cnn"),
    ("lottery", "nnx_scan"),
    ("sweep", "nnx_scan"),
    ("hypercube", "nnx_cnn"),
    ("explain", "nnx_scan"),
    ("render", "nnx_scan"),
    ("dissect", "nnx_cnn"),
    ("expand", "nnx_cnn"),
    ("trace", "nnx_scan"),
    ("spade", "nnx_cnn"),
    ("spade", "nnx_scan"),
    ("remove_nodes", "nnx_cnn"),
    ("remove_nodes", "scanned_gpt"),
    ("compact", "scanned_gpt"),
}


def cells():
    for row in analyses.OWN:
        for column in analyses.COLUMNS:
            marks = [] if (column, row) in QUICK else [pytest.mark.slow]
            yield pytest.param(column, row, marks=marks)


@pytest.mark.parametrize("column, row", [*cells()])
def test_it_works_or_says_one_clear_line(column, row):
    cell = analyses.cell(column, row)
    line = REFUSED.get((column, row))
    assert cell.worked == (line is None), cell.lines
    assert line is None or re.search(line, cell.lines[-1])


@pytest.mark.parametrize("column", "explain render dissect expand trace spade".split())
def test_functions_of_batches_say_how_they_take_one_example(column):
    case = analyses.Case("linen_cnn")
    case.__dict__["one"] = case.fn  # which flattens its input from the second axis on
    with pytest.raises(
        ValueError, match=r"pass lambda params, x: fn\(params, x\[None]"
    ):
        analyses.COLUMNS[column](case)


def test_all_rows_are_in_the_zoo():
    others = {"linen_cnn_train", "linen_scan_remat"}  # of which names are tested
    assert {*analyses.OWN} == {*open_models.MODELS} - others
    assert {column for column, _ in QUICK} == {*analyses.COLUMNS}
