"""Network dissection: which units stand for which concepts, before and after pruning.

`dissect` runs any JAX function over labelled images; `thresholds`, `tally` and `iou`
are its parts, for activations from elsewhere. Its result gives a `Table`, the best
label of every unit, and `consistency` compares two of them.

A count of detectors alone says little. `consistency` tells what chance would give;
`rotation` and parameters from a random start are the controls for `dissect`;
`normalized` scores take out that large labels, such as colours, are hard to fit and
small ones easy.
"""

from sparsejax.dissect.consistency import Consistency as Consistency
from sparsejax.dissect.consistency import consistency as consistency
from sparsejax.dissect.consistency import drift as drift
from sparsejax.dissect.dissection import Dissection as Dissection
from sparsejax.dissect.dissection import dissect as dissect
from sparsejax.dissect.rotation import rotation as rotation
from sparsejax.dissect.table import Count as Count
from sparsejax.dissect.table import Table as Table
from sparsejax.dissect.table import assign as assign
from sparsejax.dissect.table import read_table as read_table
from sparsejax.dissect.table import write_table as write_table
from sparsejax.dissect.tally import UNIONS as UNIONS
from sparsejax.dissect.tally import Tally as Tally
from sparsejax.dissect.tally import iou as iou
from sparsejax.dissect.tally import normalized as normalized
from sparsejax.dissect.tally import tally as tally
from sparsejax.dissect.thresholds import thresholds as thresholds
from sparsejax.dissect.upsample import upsample as upsample
