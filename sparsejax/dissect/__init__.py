"""Network dissection: which units stand for which concepts, before and after pruning.

`dissect` runs any JAX function over labelled images; `thresholds`, `tally` and `iou`
are its parts, for activations from elsewhere. Its result gives a `Table`, the best
label of every unit, and `consistency` compares two of them.

A count of detectors alone says little. `consistency` tells what chance would give;
`rotation` and parameters from a random start are the controls for `dissect`;
`normalised` scores take out that large labels, such as colours, are hard to fit and
small ones easy.
"""

from sparsejax.dissect._consistency import Consistency as Consistency
from sparsejax.dissect._consistency import consistency as consistency
from sparsejax.dissect._consistency import drift as drift
from sparsejax.dissect._dissection import Dissection as Dissection
from sparsejax.dissect._dissection import dissect as dissect
from sparsejax.dissect._rotation import rotation as rotation
from sparsejax.dissect._table import Count as Count
from sparsejax.dissect._table import Table as Table
from sparsejax.dissect._table import assign as assign
from sparsejax.dissect._table import read_table as read_table
from sparsejax.dissect._table import write_table as write_table
from sparsejax.dissect._tally import UNIONS as UNIONS
from sparsejax.dissect._tally import Tally as Tally
from sparsejax.dissect._tally import iou as iou
from sparsejax.dissect._tally import normalised as normalised
from sparsejax.dissect._tally import tally as tally
from sparsejax.dissect._thresholds import thresholds as thresholds
from sparsejax.dissect._upsample import upsample as upsample
