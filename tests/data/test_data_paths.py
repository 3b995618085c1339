"""Files may be named by strings, by `Path` and by anything else that is a path."""

import io
import os
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

from sparsejax import data, dissect, pretrained
from sparsejax.data import _cifar
from sparsejax.data import _idx as idx


class Other(os.PathLike):
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a file of every kind."""
    root = tmp_path_factory.mktemp("paths")
    image = io.BytesIO()
    Image.new("RGB", (32, 32)).save(image, "PNG")
    for name in ("train.zip", "test.zip"):
        with zipfile.ZipFile(root / name, "w") as archive:
            for kind in _cifar._CLASSES:
                archive.writestr(f"{kind}/1.png", image.getvalue())
    (root / "folder" / "cat").mkdir(parents=True)
    (root / "folder" / "cat" / "1.png").write_bytes(image.getvalue())
    (root / "a.idx").write_bytes(b"\0\0\x08\x01\0\0\0\x02\x05\x06")
    text = b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}'
    (root / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"\7")
    table = dissect.Table(("cat",), ("object",), np.array([0.5]))
    dissect.write_table(root / "table.csv", table)
    scenes = data.scenes(jax.random.key(0), 2, size=16)
    data.write_broden(root / "broden", scenes.labeled, scenes.labels)
    return root


READ = {
    "image_folder": (data.image_folder, "folder"),
    "image_folder of a zip": (data.image_folder, "train.zip"),
    "cifar10": (data.cifar10, "."),
    "broden": (data.broden, "broden"),
    "idx": (idx.read, "a.idx"),
    "safetensors": (pretrained.safetensors, "a.safetensors"),
    "read_table": (dissect.read_table, "table.csv"),
}
REFUSED = {
    "mnist": (data.mnist, "is missing"),
    "fashion_mnist": (data.fashion_mnist, "is missing"),
    "load": (lambda path: data.load("mnist", path), "is missing"),
    "pth": (
        lambda path: pretrained.pth(os.path.join(path, "a.idx")),
        "not a whole zip",
    ),
}


@pytest.mark.parametrize("kind", [str, Other, lambda path: path])
@pytest.mark.parametrize("name", [*READ, *REFUSED])
def test_paths_that_are_read(root, kind, name):
    if name in REFUSED:
        read, message = REFUSED[name]
        with pytest.raises(ValueError, match=message):
            read(kind(root))
    else:
        read, file = READ[name]
        read(kind(root / file))


@pytest.mark.parametrize("kind", [str, Other, lambda path: path])
def test_paths_that_are_written(tmp_path, kind):
    table = dissect.Table(("cat",), ("object",), np.array([0.5]))
    dissect.write_table(kind(tmp_path / "table.csv"), table)
    assert dissect.read_table(kind(tmp_path / "table.csv")).label == ("cat",)
    scenes = data.scenes(jax.random.key(0), 1, size=16)
    data.write_broden(kind(tmp_path / "broden"), scenes.labeled, scenes.labels)
    assert data.broden(kind(tmp_path / "broden")).count == 1
