"""Masks are data: trees of zeros and ones that say what of a network is kept.

`Masks.weights` has the structure of the parameters; a leaf is a full array of 0 and 1,
or a 0-d 1 where the parameter is never pruned (a bias, say). `Masks.nodes` holds for
each named activation an array of 0 and 1, one entry for each decision: a vector over
its units, or an array over heads, positions or layers. Both are plain pytrees, so
`vmap` over masks, `grad` with respect to masks and files of masks need nothing of ours.

Functions here take any tree of masks: `Masks`, its `weights`, its `nodes`, or one
array. Leaves of no axes are never sampled and never counted.
"""

from sparsejax.masks._apply import apply, blend, scale, zero, zero_leaf
from sparsejax.masks._counting import count, counts, density, is_nested, overlap, sizes
from sparsejax.masks._masks import Masks, check, check_kind
from sparsejax.masks._nodes import check_fits, check_units
from sparsejax.masks._ones import ones
from sparsejax.masks._samplers import bernoulli, fixed_size, flip_path, subsets

__all__ = [
    "Masks",
    "apply",
    "bernoulli",
    "blend",
    "check",
    "check_fits",
    "check_kind",
    "check_units",
    "count",
    "counts",
    "density",
    "fixed_size",
    "flip_path",
    "is_nested",
    "ones",
    "overlap",
    "scale",
    "sizes",
    "subsets",
    "zero",
    "zero_leaf",
]


def __dir__() -> list[str]:
    return list(__all__)
