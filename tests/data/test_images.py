"""Folders and zips of images."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from sparsejax import data


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


@pytest.mark.parametrize("as_zip", [False, True])
def test_images_of_a_size_are_read_when_asked_for(write, as_zip):
    stripes = np.zeros((16, 32, 3), np.uint8)
    stripes[:, 9:16] = 255  # the middle square of 14 pixels begins at column 9
    file = io.BytesIO()
    Image.fromarray(stripes).save(file, "PNG")
    files = {"a/1.png": file.getvalue(), "b/1.png": png(51, (20, 9)),
             "b/2.png": b"no image"}  # fmt: skip
    split, names = data.image_folder(write(files, as_zip), size=2)
    images = split.x
    assert names == ["a", "b"] and split.y.tolist() == [0, 1, 1]
    assert images.shape == (3, 2, 2, 3) and len(images) == 3
    assert images[0].shape == (2, 2, 3) and images[:2].shape == (2, 2, 2, 3)
    left, right = images[0][:, 0], images[0][:, 1]
    assert left.min() > 0.7 and right.max() < 0.3
    np.testing.assert_allclose(images[1], 0.2)
    np.testing.assert_array_equal(images[np.array([1, 0])], images[:2][::-1])
    np.testing.assert_array_equal(images.only([1])[0], images[1])
    with pytest.raises(ValueError, match="b/2.png does not decode"):
        images[1:]


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
    with pytest.raises(ValueError, match="size must be positive"):
        data.image_folder(tmp_path, size=0)
    with pytest.raises(ValueError, match="train.zip is missing"):
        data.cifar10(tmp_path)
