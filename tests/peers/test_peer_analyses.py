"""Every analysis on models of Keras, Haiku and equimo; all work."""

import analyses
import pytest

LIBRARIES = {name: name.split("_")[0] for name in analyses.PEERS}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("column", analyses.COLUMNS)
@pytest.mark.parametrize("row", analyses.PEERS)
def test_it_works(column, row):
    pytest.importorskip(LIBRARIES[row], reason="needs the extra 'zoo'")
    cell = analyses.cell(column, row)
    assert cell.worked, cell.lines
