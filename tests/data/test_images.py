"""Folders and zips of images, and patches planted in them."""

import io
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

from sparsejax import data
from sparsejax.data import planted


def png(value, size=(8, 8)):
    file = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def write(tmp_path):
    def write(files, as_zip):
        if as_zip:
            with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
                for name, raw in files.items():
                    archive.writestr(name, raw)
            return tmp_path / "images.zip"
        for name, raw in files.items():
            (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "images" / name).write_bytes(raw)
        return tmp_path / "images"

    return write


@pytest.mark.parametrize("as_zip", [False, True])
def test_classes_are_folders(write, as_zip):
    files = {"dog/1.png": png(51), "cat/b.png": png(255), "cat/a.png": png(0),
             "readme.txt": b""}  # fmt: skip
    split, names = data.image_folder(write(files, as_zip))
    assert names == ["cat", "dog"] and split.y.tolist() == [0, 0, 1]
    np.testing.assert_allclose(split.x[:, 0, 0, 0], [0, 1, 0.2])
    split, _ = data.image_folder(write(files, as_zip), most=1)
    assert split.y.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.png": png(0)}, "no images in folders"),
        ({"a/1.png": png(0)[:40]}, "a/1.png does not decode"),
        ({"a/1.png": png(0), "a/2.png": png(0, (4, 8))}, "4x8 pixels, others 8x8"),
    ],
)
def test_bad_folders(write, files, message):
    with pytest.raises(ValueError, match=message):
        data.image_folder(write(files, True))


def test_what_is_no_folder(tmp_path):
    with pytest.raises(ValueError, match="no folder of images"):
        data.image_folder(tmp_path / "nothing.zip")
    with pytest.raises(ValueError, match="train.zip is missing"):
        data.cifar10(tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_change_their_region_and_nothing_else(getkey, rng, channels):
    x = rng.uniform(0.3, 0.35, (200, 12, 9, channels)).astype("f4")
    split = data.Split(x, rng.integers(0, 10, 200).astype("i4"))
    found = data.plant(getkey(), split, share=0.25)
    assert (found.patch >= 0).sum() == 50
    changed = (found.x != x).any(-1)
    np.testing.assert_array_equal(changed, found.region)
    has = found.patch >= 0
    np.testing.assert_array_equal(found.region.any((1, 2)), has)
    np.testing.assert_array_equal(found.y[~has], split.y[~has])
    np.testing.assert_array_equal(
        found.y[has], np.array([0, 3, 5, 8])[found.patch[has]]
    )
    again = data.plant(jax.random.key(3), split, share=0.25)
    np.testing.assert_array_equal(again.x, data.plant(jax.random.key(3), split,
                                                      share=0.25).x)  # fmt: skip


def test_drawings_are_told_apart_and_small_images_refused(getkey):
    drawn = {planted.drawing(name)[0].tobytes() for name in planted.NAMES}
    assert len(drawn) == 4
    split = data.Split(np.zeros((2, 5, 9, 1), "f4"), np.zeros(2, "i4"))
    with pytest.raises(ValueError, match="6x6"):
        data.plant(getkey(), split)
