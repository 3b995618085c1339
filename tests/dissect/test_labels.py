"""What is no number of a label, wherever labels are taken: refused with the range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import data, dissect

TABLE = data.Labels(("", "a", "b", "c"), ("object", "part"), np.array([-1, 0, 1, 1]))
MAPS = np.zeros((2, 1, 4, 4), int)
WHOLE = np.zeros((2, 1), int)
IMAGES = np.zeros((2, 4, 4, 3), np.float32)


def run(pixels, whole, labels):
    def fn(params, x):
        return checkpoint_name(params * x, "maps").sum()

    dissect.dissect(fn, jnp.ones(()), "maps", [(IMAGES, pixels, whole)], labels,
                    quantile=0.1, progress=False)  # fmt: skip


TAKERS = {
    "tally": lambda pixels, whole, labels, _: dissect.tally(
        [(IMAGES, pixels, whole)], np.zeros(3), labels
    ),
    "dissect": lambda pixels, whole, labels, _: run(pixels, whole, labels),
    "write_broden": lambda pixels, whole, labels, folder: data.write_broden(
        folder / "new", [(IMAGES, pixels, whole)], labels
    ),
}
NUMBERS = [  # at the second image
    (-1, "has label -1, but the table goes from 0 .none. to 3"),
    (4, "has label 4, but the table goes from 0 .none. to 3"),
    (2**40, "has label 1099511627776, but"),
    (1.0, "is float64; expected numbers of labels, whole ones from 0 .none. to 3"),
    (np.nan, "is float64; expected numbers"),
    (np.float32(0.5), "is float32; expected numbers"),
    (True, "is bool; expected numbers of labels, whole ones from 0 .none. to 3"),
    ("a", "is <U1; expected numbers"),
]


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("part", ["map", "whole"])
@pytest.mark.parametrize(("bad", "message"), NUMBERS)
def test_numbers_of_labels(tmp_path, taker, part, bad, message):
    right = {"map": MAPS, "whole": WHOLE}[part]
    wrong = np.full(right[0].shape, bad)
    if isinstance(bad, int) and not isinstance(bad, bool):
        wrong = np.stack([right[0], wrong])  # the first image is right
    else:
        wrong = np.stack([wrong] * 2)
    given = {"map": MAPS, "whole": WHOLE} | {part: wrong}
    with pytest.raises(ValueError, match=message) as error:
        TAKERS[taker](given["map"], given["whole"], TABLE, tmp_path)
    if wrong.dtype.kind == "i":
        assert "example 1:" in str(error.value) or "image 1 " in str(error.value)


CATEGORIES = [
    ([-1, 0, 1], "4 names and categories of shape .3,."),
    ([-1, 0, 1, 2], "label 3 .'c'. has category 2; expected 0 to 1"),
    ([-1, 0, -1, 1], "label 2 .'b'. has category -1; expected 0 to 1"),
    ([-1.0, 0.0, 1.0, 1.0], "are float64; expected whole numbers, -1 for label 0"),
    ([True, False, True, True], "are bool; expected whole numbers"),
    (["", "object", "part", "part"], "are <U6; expected whole numbers"),
]


@pytest.mark.parametrize("taker", [*TAKERS, "assign"])
@pytest.mark.parametrize(("category", "message"), CATEGORIES)
def test_categories_of_labels(tmp_path, taker, category, message):
    table = data.Labels(TABLE.names, TABLE.categories, np.array(category))
    with pytest.raises(ValueError, match=message):
        if taker == "assign":
            dissect.assign(np.zeros((3, 4)), table)
        else:
            TAKERS[taker](MAPS, WHOLE, table, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array([0, -1])}, "whole numbers from 0 on, one for each of 2 images"),
        ({"y": np.array([0.0, 1])}, "got float64 of shape .2,."),
        ({"y": np.array([True, False])}, "got bool of shape .2,."),
        ({"y": np.zeros((2, 1), int)}, "got int64 of shape .2, 1."),
        ({"y": np.zeros(3, int)}, "got int64 of shape .3,."),
        ({"classes": (0, 3, 5)}, "each of 4 patches means a class, a number from 0 on"),
        ({"classes": (0, 3, 5, -1)}, "each of 4 patches"),
        ({"classes": (0, 3, 5, 0.5)}, "each of 4 patches"),
        ({"classes": 3}, "each of 4 patches"),
        ({"classes": "0358"}, "each of 4 patches"),
    ],
)
def test_labels_of_planted_images(change, message):
    split = data.Split(np.zeros((2, 8, 8, 1), "f4"), change.pop("y", np.zeros(2, int)))
    with pytest.raises(ValueError, match=message):
        data.plant(jax.random.key(0), split, **change)


def test_classes_of_patches_may_come_from_anywhere():
    split = data.Split(np.zeros((40, 8, 8, 1), "f4"), np.zeros(40, "i4"))
    plain = data.plant(jax.random.key(0), split, classes=(1, 2, 3, 4), share=1)
    for classes in (np.arange(1, 5), iter([1, 2, 3, 4]), [1, 2, 3, 4]):
        found = data.plant(jax.random.key(0), split, classes=classes, share=1)
        np.testing.assert_array_equal(found.y, plain.y)


@pytest.mark.parametrize("categories", ["part", ["part"], ("part",)])
def test_one_category_is_one_name(categories):
    scores = np.array([[0, 0.9, 0.2, 0.1]])
    for some in (categories, iter([categories]) if categories == "part" else None):
        assert dissect.assign(scores, TABLE, categories=some or "part").label == ("b",)
