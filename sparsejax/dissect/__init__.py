"""Network dissection: which units stand for which concepts, before and after pruning.

`dissect` runs any JAX function over labelled images; `thresholds`, `tally` and `iou`
are its parts, for activations from elsewhere. Its result gives a `Table`, the best
label of every unit, and `consistency` compares two of them.

A count of detectors alone says little. `consistency` tells what chance would give;
`rotation` and parameters from a random start are the controls for `dissect`;
`normalized` scores take out that large labels, such as colours, are hard to fit and
small ones easy.
"""

from sparsejax.dissect._consistency import Consistency, consistency, drift
from sparsejax.dissect._dissection import Dissection, dissect
from sparsejax.dissect._rotation import rotation
from sparsejax.dissect._table import Count, Table, assign, read_table, write_table
from sparsejax.dissect._tally import UNIONS, Tally, iou, normalized, tally
from sparsejax.dissect._thresholds import thresholds
from sparsejax.dissect._upsample import upsample

__all__ = [
    "UNIONS",
    "Consistency",
    "Count",
    "Dissection",
    "Table",
    "Tally",
    "assign",
    "consistency",
    "dissect",
    "drift",
    "iou",
    "normalized",
    "read_table",
    "rotation",
    "tally",
    "thresholds",
    "upsample",
    "write_table",
]


def __dir__() -> list[str]:
    return list(__all__)
