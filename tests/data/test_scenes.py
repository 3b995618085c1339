"""Scenes: what is labelled is what is drawn, and nothing gives another thing away."""

import colorsys
import itertools as it

import jax
import numpy as np
import pytest

from sparsejax import data
from sparsejax.data import _scene_drawing as drawing

N = 1000
KEY = 7


@pytest.fixture(scope="module")
def many():
    return data.scenes(jax.random.key(KEY), N, size=32)


def numbers(found, category):
    labels = found.labels
    return np.flatnonzero(labels.category == labels.categories.index(category))


def test_an_image_depends_on_its_number_alone(many):
    few = data.scenes(jax.random.key(KEY), 3, size=32, first=70)
    for a, b in zip(few.labeled, many.labeled):
        np.testing.assert_array_equal(a, b[70:73])
    np.testing.assert_array_equal(few.targets, many.targets[70:73])
    other = data.scenes(jax.random.key(KEY + 1), 73, size=32)
    assert (other.labeled.images[70:] != few.labeled.images).mean() > 0.9


def test_sizes_show_the_same_scene(many):
    large = data.scenes(jax.random.key(KEY), 100, size=64)
    np.testing.assert_array_equal(large.labeled.whole, many.labeled.whole[:100])
    halved = large.labeled.pixels[:, 0, ::2, ::2]
    assert (halved == many.labeled.pixels[:100, 0]).mean() > 0.96
    shrunk = large.labeled.images.reshape(100, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(shrunk - many.labeled.images[:100]).mean() < 0.04


def test_the_table(many):
    labels, pixels = many.labels, many.labeled.pixels
    assert labels.names[0] == "" and len(set(labels.names)) == len(labels.names) == 27
    kinds = ["object", "part", "material", "texture", "color"]
    for layer, kind in enumerate(kinds):
        found = np.unique(pixels[:, layer])
        np.testing.assert_array_equal(found, [0, *numbers(many, kind)])
    np.testing.assert_array_equal(np.unique(many.labeled.whole),
                                  numbers(many, "scene"))  # fmt: skip
    images = many.labeled.images
    assert images.dtype == np.float32 and 0 <= images.min() and images.max() <= 1
    np.testing.assert_array_equal(np.round(images * 255) / np.float32(255), images)


def test_targets_are_the_labels_that_are_there(many):
    assert set(many.outputs) == set(range(1, 27)) - set(numbers(many, "color"))
    for i in range(200):
        here = {*many.labeled.pixels[i].ravel(), *many.labeled.whole[i]}
        expected = [float(number in here) for number in many.outputs]
        assert many.targets[i].tolist() == expected


def test_surfaces_are_on_objects_and_parts_hide_them(many):
    objects, parts, *surfaces = np.moveaxis(many.labeled.pixels, 1, 0)
    assert (objects[parts > 0] > 0).all()
    material, texture, color = surfaces
    np.testing.assert_array_equal(color > 0, (objects > 0) & (parts == 0))
    assert not ((material > 0) & (texture > 0)).any()
    assert (color[(material > 0) | (texture > 0)] > 0).all()


def test_objects_and_parts_are_neither_rare_nor_everywhere(many):
    for kind in ("object", "part", "material", "texture", "color"):
        for number in numbers(many, kind):
            share = (many.labeled.pixels == number).any(1).mean()
            assert 0.004 < share < 0.05, many.labels.names[number]
    for number in numbers(many, "scene"):
        assert (many.labeled.whole == number).mean() == pytest.approx(0.2, abs=0.05)


def test_what_is_in_one_quarter_does_not_give_anything_away(many):
    """Labels of a quarter's object against each other: chi squared of every table."""
    n, layers, side, _ = many.labeled.pixels.shape
    quarters = many.labeled.pixels.reshape(n, layers, 2, side // 2, 2, side // 2)
    found = quarters.max((3, 5)).transpose(0, 2, 3, 1).reshape(-1, layers)
    scene = np.repeat(many.labeled.whole[:, 0], 4)
    shape, part, material, texture, color = found.T
    found = np.stack([shape, part, material + texture, color, scene], 1)[shape > 0]
    for a, b in it.combinations(range(found.shape[1]), 2):
        # Small parts hide a surface or are too small for the map, now and then.
        both = found[:, [a, b]][(found[:, [a, b]] > 0).all(1)]
        rows, columns = (np.unique(both[:, i], return_inverse=True)[1] for i in (0, 1))
        table = np.zeros((rows.max() + 1, columns.max() + 1))
        np.add.at(table, (rows, columns), 1)
        expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
        freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
        statistic = ((table - expected) ** 2 / expected).sum()
        assert statistic < freedom + 4.5 * np.sqrt(2 * freedom), (a, b)


def test_greys_are_grey_and_hues_vary(many):
    pixels, images = many.labeled.pixels, many.labeled.images
    centers = images.reshape(N, 16, 2, 16, 2, 3).mean((2, 4))
    plain = (pixels[:, 2] == 0) & (pixels[:, 3] == 0)
    inner = np.zeros_like(plain)  # all neighbours of the same object
    same = [np.roll(pixels[:, 4], shift, axis) == pixels[:, 4]
            for shift in (-1, 1) for axis in (1, 2)]  # fmt: skip
    inner = plain & np.all(same, 0)

    def spread(number):
        return np.ptp(centers[inner & (pixels[:, 4] == number)], axis=-1)

    by_name = {many.labels.names[n]: spread(n) for n in numbers(many, "color")}
    assert np.quantile(by_name.pop("grey"), 0.95) < 0.15
    for name, spreads in by_name.items():
        assert np.quantile(spreads, 0.1) > 0.25, name
        assert spreads.std() > 0.05


def test_parts_are_as_large_as_geometry_says_and_black_or_white(getkey):
    few = data.scenes(getkey(), 60, size=256)
    shares, colors = {}, []
    for image, (objects, parts, *_) in zip(few.labeled.images, few.labeled.pixels):
        for down, across in it.product((0, 1), repeat=2):
            quarter = tuple(slice(64 * i, 64 * i + 64) for i in (down, across))
            shape, part = objects[quarter], parts[quarter]
            names = few.labels.names[shape.max()], few.labels.names[part.max()]
            share = (part > 0).sum() / max((shape > 0).sum(), 1)
            shares.setdefault(names, []).append(share)
        colors.append(image[::2, ::2][parts > 0])
    expected = {
        ("disc", "core"): (0.45 / 0.9) ** 2,
        ("disc", "rim"): 1 - (0.7 / 0.9) ** 2,
        ("square", "belt"): 0.22 / 0.76,
        ("square", "cap"): (0.76 - 0.2) / (2 * 0.76),
        ("square", "rim"): 1 - (0.56 / 0.76) ** 2,
    }
    for names, share in expected.items():
        np.testing.assert_allclose(shares[names], share, atol=0.03)
    colors = np.concatenate(colors)
    plain = (colors < 0.25).all(1) | (colors > 0.55).all(1)
    assert plain.mean() > 0.95


@pytest.mark.parametrize("name", drawing.OBJECTS)
def test_outlines_are_distances_inside_the_unit_circle(name, rng):
    """Their slope is at most 1, so parts and edges are as wide as they say."""
    outside = drawing.OBJECTS[name]
    x, y = rng.uniform(-1.1, 1.1, (2, 1, 20000, 1))
    step = 1e-6
    here = outside(x, y)
    slopes = (outside(x + step, y) - here) / step, (outside(x, y + step) - here) / step
    assert np.hypot(*slopes).max() < 1.002
    assert np.hypot(*slopes)[here < 0].min() > 0.7
    assert (here[np.hypot(x, y) > 1.08] > 0).all() and outside(
        0 * x, 0 * y
    ).max() < -0.2


def test_colours_are_those_of_the_cylinder(rng):
    hue, saturation, value = rng.uniform(0, 1, (3, 50))
    expected = [colorsys.hsv_to_rgb(*hsv) for hsv in zip(hue, saturation, value)]
    np.testing.assert_allclose(drawing.rgb(hue, saturation, value), expected, atol=1e-6)


def test_written_and_read(tmp_path, getkey):
    few = data.scenes(getkey(), 12, size=32)
    data.write_broden(tmp_path / "scenes", few.labeled, few.labels)
    read = data.broden(tmp_path / "scenes")
    for a, b in zip(read[0], few.labeled, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(read.labels.category, few.labels.category)


@pytest.mark.parametrize("knobs", [{"size": 30}, {"size": 8}, {"first": -1}, {"n": -1}])
def test_bad_numbers(getkey, knobs):
    with pytest.raises(ValueError, match="size must be 16, 20, 24"):
        data.scenes(getkey(), **{"n": 1, "size": 32, **knobs})
