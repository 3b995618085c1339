"""How often units are active where labels are.

A unit's mask in an image is where its map, brought to the size of the label map, is
strictly above its threshold. All counts are of pixels, whole numbers, summed over
images, so that it is all one in what pieces the images come.
"""

import itertools as it
from collections.abc import Iterable, Sized
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Int64, Num

from sparsejax import _threads
from sparsejax._labels import check_numbers, check_table, parts
from sparsejax.data import Labels
from sparsejax.dissect._thresholds import check_finite, check_quantile
from sparsejax.dissect._upsample import upsample

UNIONS = ("unit", "image", "none")
_VALUES = 1 << 20  # of upsampled maps at a time


class Tally(NamedTuple):
    """Numbers of pixels. With label number 0, which stands for none, all are zero.

    Attributes:
        labeled: with a label, shape (labels + 1,).
        active: in a unit's masks, shape (units,).
        both: in a unit's masks and with a label, shape (units, labels + 1).
        touching: in masks that touch a pixel labelled in a category, shape (units,
            categories).
        beside: in masks in images that have a label of a category, same shape.
        pixels: of all label maps.
        category: of every label, shape (labels + 1,).
    """

    labeled: Int64[np.ndarray, " labels"]
    active: Int64[np.ndarray, " units"]
    both: Int64[np.ndarray, "units labels"]
    touching: Int64[np.ndarray, "units categories"]
    beside: Int64[np.ndarray, "units categories"]
    pixels: int
    category: Int[np.ndarray, " labels"]


def tally(
    chunks: Iterable[Any],
    thresholds: Float[ArrayLike, " units"],
    labels: Labels,
) -> Tally:
    """Count pixels of masks and labels, an image at a time, only of units with a mask.

    Args:
        chunks: of any number of examples each,
            activations (n, height, width, units), or (n, units) for units that have no
            places: their masks are whole images;
            label maps (n, layers, rows, columns), where layers may overlap and 0 means
            unlabelled;
            labels of whole images (n, any), padded with 0, which count as pixels of
            theirs do. A label counts once at a pixel.
        thresholds: of the units.
        labels: the table.

    Raises:
        ValueError: for shapes that do not fit, labels beyond the table, activations
            that are not finite, and if there are no examples.

    Example:
        >>> labels = Labels(("", "cat"), ("object",), np.array([-1, 0]))
        >>> maps, cats = np.array([[[[0.0], [4.0]]]]), np.array([[[[0, 0, 0, 1]]]])
        >>> chunk = maps, cats, np.zeros((1, 0), int)
        >>> found = tally([chunk], np.array([2.0]), labels)
        >>> found.active.tolist(), found.both.tolist(), iou(found).tolist()
        ([2], [[0, 1]], [[0.0, 0.5]])

    Reference: Bau et al., "Network Dissection: Quantifying Interpretability of Deep
    Visual Representations", 2017 (arXiv 1704.05796), section 2.3.
    """
    limits, category = np.asarray(thresholds), check_table(labels)

    def empty(*shape):
        return np.zeros(shape, np.int64)

    units, kinds = len(limits), len(labels.categories)
    found = Tally(
        labeled=empty(len(category)),
        active=empty(units),
        both=empty(units, len(category)),
        touching=empty(units, kinds),
        beside=empty(units, kinds),
        pixels=0,
        category=category,
    )
    example = pixels = 0
    with _threads.one_thread():
        for maps, layers, whole in it.chain.from_iterable(
            _examples(*parts(chunk), units) for chunk in chunks
        ):
            layers, whole = valid(layers, whole, len(category), example)
            _count(found, maps - limits, layers, whole)
            pixels += layers[0].size
            example += 1
    if not example:
        raise ValueError("there are no examples to count")
    return found._replace(pixels=pixels)


def iou(tally: Tally, union: str = "unit") -> Float[np.ndarray, "units labels"]:
    """Intersection over union of every unit's masks with every label's pixels.

    Which masks count in the union with a label:
        "unit": those that touch a pixel labelled in the label's category, as in the
            authors' NetDissect-Lite;
        "image": those in images with a label of the category, as in the paper;
        "none": all of them.

    So scores of "unit" are at least those of "image", and these those of "none".

    Raises:
        ValueError: for another union.

    Example:
        >>> labels = Labels(("", "cat"), ("object",), np.array([-1, 0]))
        >>> maps, cats = np.array([[[[0.0], [4.0]]]]), np.array([[[[0, 0, 0, 1]]]])
        >>> chunk = maps, cats, np.zeros((1, 0), int)
        >>> iou(tally([chunk], np.array([2.0]), labels)).tolist()  # one of two pixels
        [[0.0, 0.5]]
    """
    if union not in UNIONS:
        raise ValueError(f"union is {union!r}; expected one of {', '.join(UNIONS)}")
    everywhere = np.broadcast_to(tally.active[:, None], tally.touching.shape)
    masks = dict(zip(UNIONS, (tally.touching, tally.beside, everywhere)))[union]
    either = masks[:, tally.category] + tally.labeled - tally.both
    return _ratio(tally.both, either)


def normalized(
    tally: Tally, quantile: float | int, union: str = "unit"
) -> Float[np.ndarray, "units labels"]:
    """`iou` over what a unit could reach at best with a label of that size.

    Masks that cover a share q of all pixels and a label that covers p have an IoU of at
    most min(p, q) / max(p, q): 0.05 is far for labels of more than 20 q. Interpolation
    makes masks somewhat larger or smaller than q, so a score may pass 1 a little.

    Args:
        tally: the counts.
        quantile: q.
        union: as in `iou`.

    Example:
        >>> labels = Labels(("", "cat"), ("object",), np.array([-1, 0]))
        >>> maps, cats = np.array([[[[0.0], [4.0]]]]), np.array([[[[0, 0, 0, 1]]]])
        >>> chunk = maps, cats, np.zeros((1, 0), int)
        >>> counts = tally([chunk], np.array([2.0]), labels)
        >>> normalized(counts, 0.5).tolist()  # the IoU of 0.5 is the most there can be
        [[0.0, 1.0]]
    """
    check_quantile(quantile)
    p = tally.labeled / tally.pixels
    best = np.minimum(p, quantile) / np.maximum(p, quantile)
    return _ratio(iou(tally, union), best)


def _ratio(a: Num[np.ndarray, "..."], b: Num[np.ndarray, "..."]):
    """a / b, zero where b is."""
    b = np.broadcast_to(b, a.shape)
    return np.divide(a, b, out=np.zeros(a.shape), where=b > 0)


def _count(found: Tally, above, layers, whole) -> None:
    """Add what one image has: `above` are its maps less the thresholds."""
    size, shape = layers[0].size, layers.shape[1:]
    rows = _once(layers.reshape(len(layers), size))
    counts = np.bincount(rows.ravel(), minlength=len(found.labeled))
    counts[0], counts[whole] = 0, size
    found.labeled[:] += counts
    here = np.flatnonzero(counts)  # the labels of this image, from now on 1, 2, ...
    number = np.zeros(len(counts), np.int64)
    number[here] = np.arange(1, len(here) + 1)
    rows, whole, width = number[rows], number[whole], len(here) + 1
    kinds = found.category[here, None] == np.arange(found.touching.shape[1])
    active = np.flatnonzero((above > 0).any((0, 1)))
    step = max(1, _VALUES // size)
    for some in (active[i : i + step] for i in range(0, len(active), step)):
        # Interpolating what exceeds the threshold, instead of comparing what was
        # interpolated: shares are not negative, so that cells at the threshold or
        # below never make a pixel of a mask by rounding.
        mask = upsample(above[..., some], shape) > 0
        place, unit = np.divmod(np.flatnonzero(mask), len(some))
        area = np.bincount(unit, minlength=len(some))
        both = np.zeros(len(some) * width, np.int64)
        for row in rows:
            both += np.bincount(unit * width + row[place], minlength=len(both))
        both = both.reshape(len(some), width)
        both[:, whole] = area[:, None]
        both = both[:, 1:]
        found.active[some] += area
        found.both[np.ix_(some, here)] += both
        found.touching[some] += area[:, None] * ((both > 0) @ kinds)
        found.beside[some] += area[:, None] * kinds.any(0)


def _once(layers):
    """Label maps without what an earlier layer says already."""
    for i in range(1, len(layers)):
        again = (layers[:i] == layers[i]).any(0)
        if (again & (layers[i] > 0)).any():
            layers = layers.copy()
            layers[i][again] = 0
    return layers


def _examples(activations, pixels, whole, units: int):
    """Maps (height, width, units), label maps and whole labels of each example."""
    maps = np.asarray(activations)
    if maps.ndim == 2:
        maps = maps[:, None, None]
    if maps.ndim != 4 or maps.shape[-1] != units:
        raise ValueError(
            f"activations have shape {np.shape(activations)}; expected (n, height, "
            f"width, {units}) or (n, {units}) for {units} thresholds"
        )
    check_finite(maps)
    check_lengths(maps, pixels, whole)
    return zip(maps, pixels, whole)


def check_lengths(x: Sized, pixels: Sized, whole: Sized) -> None:
    lengths = len(x), len(pixels), len(whole)
    if len(set(lengths)) > 1:
        raise ValueError(
            "a batch has {} examples, {} label maps and labels of {} whole "
            "images".format(*lengths)
        )


def valid(
    pixels: Any, whole: Any, labels: int, example: int
) -> tuple[Int[np.ndarray, "layers rows columns"], Int64[np.ndarray, " any"]]:
    """Label maps of an example, and the labels of the whole image, each once."""
    try:
        return _valid(np.asarray(pixels), np.asarray(whole), labels)
    except ValueError as error:
        raise ValueError(f"example {example}: {error}") from None


def _valid(pixels: np.ndarray, whole: np.ndarray, labels: int):
    if pixels.ndim != 3 or not len(pixels) or not pixels[0].size or whole.ndim != 1:
        raise ValueError(
            f"label maps have shape {pixels.shape}, labels of the whole image "
            f"{whole.shape}; expected (layers, rows, columns), at least one of each, "
            "and (any,)"
        )
    check_numbers(pixels, labels, "label map")
    check_numbers(whole, labels, "whole image")
    return pixels, np.unique(whole[whole > 0]).astype(np.int64)
