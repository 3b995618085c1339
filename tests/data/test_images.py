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
