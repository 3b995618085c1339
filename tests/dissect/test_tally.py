"""Tallies against loops over pixels, and units whose IoU is known in closed form."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsejax import dissect
from sparsejax.data import Labels


def table(*categories):
    """Labels 1, 2, ... of these categories."""
    kinds = tuple(dict.fromkeys(categories))
    names = ("", *(f"{c}_{i}" for i, c in enumerate(categories, 1)))
    return Labels(names, kinds, np.array([-1, *map(kinds.index, categories)]))


ONE = table("object")
MANY = table("object", "object", "part", "texture", "part", "scene", "texture")


def value(cells, row, column, shape):
    """A map of cells at a pixel."""
    (y, v), (x, u) = (
        divmod(min(max((i + 0.5) * n / s - 0.5, 0), n - 1), 1)
        for i, n, s in zip((row, column), cells.shape, shape)
    )

    def at(i, j):
        return cells[min(int(i), cells.shape[0] - 1), min(int(j), cells.shape[1] - 1)]

    top = (1 - u) * at(y, x) + u * at(y, x + 1)
    return (1 - v) * top + v * ((1 - u) * at(y + 1, x) + u * at(y + 1, x + 1))


def by_loops(maps, pixels, whole, limits, labels, union):
    """Sets of pixels, image after image: masks, labels, both, and the IoU."""
    units, count = maps.shape[-1], len(labels.names)
    active, labeled = np.zeros(units), np.zeros(count)
    both, counted = np.zeros((units, count)), np.zeros((units, count))
    for image, layers, extra in zip(maps, pixels, whole):
        everywhere = list(np.ndindex(layers.shape[1:]))
        has = {label: set() for label in range(1, count)}
        for place in everywhere:
            for label in [*(layer[place] for layer in layers), *extra]:
                if label:
                    has[label].add(place)
        of_kind = {}
        for label, places in has.items():
            kind = labels.category[label]
            of_kind[kind] = of_kind.get(kind, set()) | places
            labeled[label] += len(places)
        for k in range(units):
            mask = {
                place
                for place in everywhere
                if value(image[..., k], *place, layers.shape[1:]) > limits[k]
            }
            active[k] += len(mask)
            for label, places in has.items():
                concerned = of_kind[labels.category[label]]
                joins = {"none": mask, "image": concerned, "unit": mask & concerned}
                both[k, label] += len(mask & places)
                counted[k, label] += len(mask) if joins[union] else 0
    either = counted + labeled - both
    return active, labeled, both, both / np.where(either, either, 1)


def setting(seed, n=3, cells=(2, 4), size=(8, 8), layers=2, units=4):
    """Numbers that are exact in float32, and stay so between cells."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(-8, 9, size=(n, *cells, units)).astype(np.float32)
    coarse = rng.integers(0, 6, size=(n, layers, size[0] // 2, size[1] // 2))
    coarse *= rng.random(coarse.shape) < 0.4
    pixels = np.kron(coarse, np.ones((2, 2), int)).astype(np.int32)
    whole = rng.integers(0, 8, size=(n, 3)).astype(np.int32)
    whole *= rng.random(whole.shape) < 0.3
    limits = rng.integers(2, 8, size=units).astype(np.float32)
    return maps, pixels, whole, limits


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([(1, 1), (2, 4), (8, 8)]),
    st.integers(1, 3),
    st.sampled_from(dissect.UNIONS),
)
def test_loops(seed, cells, layers, union):
    maps, pixels, whole, limits = setting(seed, cells=cells, layers=layers)
    found = dissect.tally([(maps, pixels, whole)], limits, MANY)
    active, labeled, both, scores = by_loops(maps, pixels, whole, limits, MANY, union)
    np.testing.assert_array_equal(found.active, active)
    np.testing.assert_array_equal(found.labeled, labeled)
    np.testing.assert_array_equal(found.both, both)
    assert found.pixels == pixels[:, 0].size
    np.testing.assert_allclose(dissect.iou(found, union), scores, rtol=1e-15)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_unions_are_ordered_and_chunks_change_no_count(seed, size):
    maps, pixels, whole, limits = setting(seed, n=7)
    found = dissect.tally([(maps, pixels, whole)], limits, MANY)
    unit, image, none = (dissect.iou(found, union) for union in dissect.UNIONS)
    assert (unit >= image).all() and (image >= none).all()
    assert (unit <= 1).all() and (none >= 0).all()
    parts = (slice(i, i + size) for i in range(0, 7, size))
    chunks = ((maps[p], pixels[p], whole[p]) for p in parts)
    again = dissect.tally(chunks, limits, MANY)
    for a, b in zip(found, again):
        np.testing.assert_array_equal(a, b)


def test_units_in_pieces_change_no_count(monkeypatch):
    maps, pixels, whole, limits = setting(0, units=9)
    found = dissect.tally([(maps, pixels, whole)], limits, MANY)
    module = sys.modules["sparsejax.dissect._tally"]
    monkeypatch.setattr(module, "_VALUES", 200)  # three units at a time
    again = dissect.tally([(maps, pixels, whole)], limits, MANY)
    for a, b in zip(found, again):
        np.testing.assert_array_equal(a, b)


def planted(maps, pixels, quantile, labels=ONE):
    """Tally at the thresholds of a quantile; no labels of whole images."""
    whole = np.zeros((len(maps), 0), np.int32)
    limits = dissect.thresholds(maps, quantile)
    return dissect.tally([(maps, pixels, whole)], limits, labels)


@pytest.mark.parametrize("p", [0.01, 0.02, 0.1])
@pytest.mark.parametrize("q", [0.01, 0.02, 0.05])
def test_the_best_unit_for_a_concept(p, q, rng):
    inside = np.zeros(10_000, bool)
    inside[rng.permutation(10_000)[: round(p * 10_000)]] = True
    maps = (inside + rng.random(10_000) / 2).reshape(4, 50, 50, 1)
    found = planted(maps, inside.reshape(4, 1, 50, 50).astype(np.int32), q)
    best = min(p, q) / max(p, q)
    assert dissect.iou(found, "none")[0, 1] == pytest.approx(best, rel=1e-12)
    assert dissect.normalized(found, q, "none")[0, 1] == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_mask_partly_inside_a_concept(share):
    m, g = 40, 100
    pixels = np.zeros((1, 1, 20, 20), np.int32)
    pixels.ravel()[:g] = 1
    maps = np.zeros((1, 20, 20, 1))
    hits = round(share * m)
    maps.ravel()[g - hits : g - hits + m] = 1
    found = planted(maps, pixels, 0.2)
    wanted = share * m / (m + g - share * m)
    assert dissect.iou(found)[0, 1] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("shift", [0, 1, 3, 8])
def test_a_shifted_box(shift):
    pixels, maps = np.zeros((1, 1, 20, 20), np.int32), np.zeros((1, 20, 20, 1))
    pixels[:, :, 4:12, 2:10] = 1
    maps[:, 4:12, 2 + shift : 10 + shift] = 1
    found = planted(maps, pixels, 0.2)
    wanted = (8 - shift) / (8 + shift)
    assert dissect.iou(found)[0, 1] == pytest.approx(wanted, rel=1e-12)


def test_a_noisy_unit(rng):
    p, gap, limit = 0.05, 2, 2.5
    inside = rng.random((8, 1, 250, 250)) < p
    maps = gap * inside[:, 0, ..., None] + rng.normal(size=(8, 250, 250, 1))
    chunk = maps, inside.astype(np.int32), np.zeros((8, 0), np.int32)
    found = dissect.tally([chunk], np.array([limit]), ONE)

    def tail(t):
        return 0.5 * math.erfc(t / math.sqrt(2))

    wanted = p * tail(limit - gap) / (p + (1 - p) * tail(limit))
    assert wanted == pytest.approx(0.276, abs=1e-3)
    assert dissect.iou(found, "none")[0, 1] == pytest.approx(wanted, abs=0.005)


def test_a_label_of_whole_images(rng):
    # A unit that fires only in the fifth of images with a scene reaches q / f.
    q, f, n = 0.02, 0.2, 20
    maps = rng.random((n, 10, 10, 1))
    whole = np.where(np.arange(n) < f * n, 1, 2).astype(np.int32)[:, None]
    maps[: round(f * n)] += 1
    limits = dissect.thresholds(maps, q)
    pixels = np.zeros((n, 1, 10, 10), np.int32)
    found = dissect.tally([(maps, pixels, whole)], limits, table("scene", "scene"))
    assert found.labeled.tolist() == [0, 400, 1600]
    for union in dissect.UNIONS:
        scores = dissect.iou(found, union)[0]
        np.testing.assert_allclose(scores, [0, q / f, 0], rtol=1e-12)


@pytest.mark.parametrize("level", [0.1, 1 / 3, -1.7, 0.0])
@pytest.mark.parametrize("size", [(9, 11), (7, 13), (3, 2)])
def test_constant_units_are_never_active(level, size):
    maps = np.full((2, 3, 5, 2), level, np.float32)
    maps[0, 1, 1, 1] -= 1  # one cell less, none more
    found = planted(maps, np.ones((2, 1, *size), np.int32), 0.2)
    assert not found.active.any() and not dissect.iou(found).any()
    named = dissect.assign(dissect.iou(found), ONE)
    assert named.label == ("", "") and not named.detectors(0, strict=False).any()


@pytest.mark.parametrize("level", [0.1, 1 / 3, -1.7])
@pytest.mark.parametrize("pixels", [31, 56, 100])
def test_places_at_the_threshold_are_never_active(level, pixels):
    maps = np.full((1, 9, 9, 1), level, np.float32)
    maps[0, 0, 0] += 1
    found = planted(maps, np.ones((1, 1, pixels, pixels), np.int32), 0.02)
    near = ((np.arange(pixels) + 0.5) * 9 / pixels - 0.5 < 1).sum()
    assert found.active == near**2


def test_a_unit_with_threshold_zero_is_active_around_its_cells():
    maps = np.zeros((1, 20, 20, 1), np.float32)
    maps[0, 10, 10] = 1
    found = planted(maps, np.ones((1, 1, 40, 40), np.int32), 0.005)
    assert found.active == 4 * 4  # the tent over a cell that is twice enlarged


def test_scale_and_rank(rng):
    maps = rng.normal(size=(3, 4, 4, 5)).astype(np.float32)
    pixels = rng.integers(0, 8, size=(3, 2, 16, 16)).astype(np.int32)

    def scores(maps, pixels):
        return dissect.iou(planted(maps, pixels, 0.1, MANY))

    np.testing.assert_array_equal(scores(maps, pixels), scores(4 * maps, pixels))
    small = pixels[..., ::4, ::4]  # a pixel a cell: only the order matters
    np.testing.assert_array_equal(scores(maps, small), scores(np.exp(maps), small))


def test_labels_beyond_a_byte():
    labels = table(*["object"] * 70_000)
    pixels = np.array([[[[300, 44], [70_000, 0]]]], np.int32)
    chunk = np.ones((1, 2, 2, 1)), pixels, np.array([[65_537]])
    found = dissect.tally([chunk], np.zeros(1), labels)
    assert np.flatnonzero(found.both[0]).tolist() == [44, 300, 65_537, 70_000]
    assert found.both[0, [44, 300, 65_537, 70_000]].tolist() == [1, 1, 4, 1]


def test_a_label_counts_once_at_a_pixel():
    pixels = np.array([[[[1, 2]], [[1, 1]], [[2, 1]]]], np.int32)
    chunk = np.ones((1, 1, 1, 1)), pixels, np.array([[2, 2, 0]])
    found = dissect.tally([chunk], np.zeros(1), table("object", "part"))
    assert found.labeled.tolist() == [0, 2, 2] == found.both[0].tolist()
    assert (dissect.iou(found)[0, 1:] == 1).all()


def test_units_without_places_and_images_of_different_sizes():
    units = np.array([[1.0, 0.0], [1.0, 1.0]])
    pixels = [np.ones((1, 2, 3), int), np.zeros((2, 4, 4), int)]
    found = dissect.tally([(units, pixels, [[], []])], np.full(2, 0.5), ONE)
    assert found.active.tolist() == [22, 16] and found.pixels == 22
    assert found.both[:, 1].tolist() == [6, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"pixels": np.full((2, 1, 4, 4), 8)},
            "example 0: label map has label 8, .* 7",
        ),
        ({"pixels": np.full((2, 1, 4, 4), -1)}, "label map has label -1"),
        ({"whole": np.array([[0], [9]])}, "example 1: whole image has label 9"),
        ({"pixels": np.zeros((2, 4, 4), int)}, r"label maps have shape \(4, 4\)"),
        ({"pixels": np.zeros((2, 0, 4, 4), int)}, r"shape \(0, 4, 4\).* at least one"),
        ({"pixels": np.zeros((2, 1, 4, 4))}, "label map is float64"),
        ({"pixels": np.zeros((3, 1, 4, 4), int)}, "2 examples, 3 label maps"),
        ({"maps": np.zeros((2, 4, 4, 2))}, r"expected \(n, height, width, 3\)"),
        ({"maps": np.zeros((2, 4, 3))}, r"activations have shape \(2, 4, 3\)"),
        ({"maps": np.full((2, 4, 4, 3), np.inf)}, "of 3 units are not finite"),
        ({"labels": Labels(("", "a"), ("object",), np.array([-1]))}, "2 names and"),
        ({"labels": Labels(("", "a"), (), np.array([-1, 0]))}, r"1 \('a'\) has cat"),
    ],
)
def test_bad_input(change, message):
    given = {
        "maps": np.zeros((2, 4, 4, 3)),
        "pixels": np.zeros((2, 1, 4, 4), int),
        "whole": np.zeros((2, 1), int),
        "labels": MANY,
    } | change
    chunk = given["maps"], given["pixels"], given["whole"]
    with pytest.raises(ValueError, match=message):
        dissect.tally([chunk], np.zeros(3), given["labels"])


def test_chunks_that_are_none():
    maps, pixels, whole = np.zeros((1, 2, 2, 1)), np.zeros((1, 1, 2, 2), int), [[]]
    for chunks in ((maps, pixels, whole), [(maps, pixels)], [{"maps": maps}]):
        with pytest.raises(ValueError, match="a batch must be .examples, label maps"):
            dissect.tally(chunks, np.zeros(1), ONE)


def test_nothing_and_unknown_unions():
    with pytest.raises(ValueError, match="no examples to count"):
        dissect.tally([], np.zeros(3), MANY)
    found = planted(np.zeros((1, 2, 2, 1)), np.zeros((1, 1, 2, 2), int), 0.5)
    with pytest.raises(ValueError, match="'all'; expected one of unit, image, none"):
        dissect.iou(found, "all")
    with pytest.raises(ValueError, match="quantile must be"):
        dissect.normalized(found, 0)
