"""Folders and zips of images."""

import contextlib
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
        (tmp_path / "images").mkdir(exist_ok=True)
        for name, raw in files.items():
            (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                (tmp_path / "images" / name).mkdir()
            else:
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


A, B, C = (png(value) for value in (0, 51, 255))
PAIR = {"cat/1.png": A, "dog/1.png": C}  # right: classes cat and dog, labels 0 and 1
GIF = io.BytesIO()
Image.new("RGB", (8, 8), "white").save(GIF, "GIF")

# Files beside those of PAIR, and what the warning says of them.
PASSED = {
    "checkpoints": ({".ipynb_checkpoints/1.png": B}, "hidden 1$"),
    "checkpoints of a class": ({"cat/.ipynb_checkpoints/1-checkpoint.png": B},
                               "hidden 1$"),
    "a Mac's": ({"__MACOSX/cat/._1.png": b"\0", "cat/._1.png": b"\0",
                 ".DS_Store": b"", "cat/.DS_Store": b"", "__MACOSX/._cat": b""},
                "hidden 4$"),
    "Windows's": ({"cat/Thumbs.db": b"", "desktop.ini": b"", "dog/Desktop.ini": b""},
                  "hidden 3$"),
    "of a NAS": ({"cat/@eaDir/1.png/SYNO.png": B}, "hidden 1$"),
    "git": ({".git/HEAD": b"", ".git/objects/a.png": B, ".gitignore": b""},
            "hidden 2$"),
    "other files": ({"cat/a.txt": b"", "cat/1.xml": b"", "dog/x/LICENSE": b""},
                    r"passed over: no images 3 \(.txt, .xml, no ending\)$"),
    "outside": ({"overview.png": B}, "images outside of the class folders 1$"),
    "files that have no class": ({"readme.txt": b"", "labels.csv": b"a"}, None),
}  # fmt: skip
KEPT = {
    "as they are": PAIR,
    "other endings": {"cat/1.GIF": GIF.getvalue(), "cat/2.PNG": C, "dog/1.Jpeg": C},
    "a folder around": {f"set/{name}": raw for name, raw in PAIR.items()},
    "several around": {f"a/b/c/{name}": raw for name, raw in PAIR.items()},
    "a folder around, with files": {"set/readme.txt": b"", "set/cat/1.png": A,
                                    "set/dog/1.png": C},
    "from here": {f"./{name}": raw for name, raw in PAIR.items()},
}  # fmt: skip
REFUSED = {
    "none": ({"a.png": A}, "no images in folders"),
    "no images": ({"cat/a.txt": b""}, "no images in folders"),
    "nothing": ({}, "no images in folders"),
    "damaged": ({"a/1.png": A[:40]}, "a/1.png does not decode"),
    "sizes": ({"a/1.png": A, "a/2.png": png(0, (4, 8))}, "4x8 pixels, others 8x8"),
    "nested": (PAIR | {"cat/sub/2.png": B},
               "cat/sub/2.png lies in a folder within cat; expected CLASS.*give .*/?cat"
               "; if not, move such images up"),
    "nested in one": ({"cat/1.png": A, "cat/sub/2.png": B}, "folder within cat"),
    "splits": ({"train/cat/1.png": A, "val/cat/1.png": B},
               "train/cat/1.png lies in a folder within train; .*give .*train"),
    "splits in a folder": ({"set/train/cat/1.png": A, "set/val/cat/1.png": B},
                           "set/train/cat/1.png lies in a folder within set/train; "),
    "annotations": ({"images/cat/1.png": A, "notes/1.xml": b""}, "within images"),
    "an empty class": (PAIR | {"cow/": b""}, "folder cow has no images.*it is empty"),
    "a hidden class": (PAIR | {"cow/._1.png": A}, "folder cow has no images.*empty"),
    "not readable": (PAIR | {"cow/1.heic": b"1", "cow/a.npy": b""},
                     r"folder cow has no .* only 2 \(.heic, .npy\); convert"),
}  # fmt: skip


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("name", PASSED)
def test_what_is_passed_over(write, as_zip, name):
    files, message = PASSED[name]
    path = write(PAIR | files, as_zip)
    with pytest.warns(match=message) if message else contextlib.nullcontext():
        split, names = data.image_folder(path)
    assert names == ["cat", "dog"] and split.y.tolist() == [0, 1]
    assert split.x[:, 0, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("name", KEPT)
def test_what_is_read(write, as_zip, name):
    split, names = data.image_folder(write(KEPT[name], as_zip))
    assert names == ["cat", "dog"] and split.y.tolist() in ([0, 1], [0, 0, 1])
    assert split.x[-1].min() == 1


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(write, as_zip, name):
    files, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as error:
        data.image_folder(write(files, as_zip))
    assert "images" in str(error.value) and ("unpack" in str(error.value)) <= as_zip


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("size", [None, 4])
def test_deep_images_keep_their_levels(write, as_zip, size):
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(np.tile(ramp, (64, 1))).save(file, "PNG")
    split, _ = data.image_folder(write({"a/1.png": file.getvalue()}, as_zip), size=size)
    found = np.asarray(split.x[:], np.float64)
    assert found.shape == (1, *(2 * (size or 64,)), 3)
    assert found.mean() == pytest.approx(0.5, abs=1e-6)
    if not size:
        np.testing.assert_allclose(found[0, :, :, 1], np.tile(ramp / 65535, (64, 1)),
                                   atol=1e-7)  # fmt: skip


def test_links_are_followed(write, tmp_path):
    path = write(PAIR, False)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.png").write_bytes(B)
    (path / "cow").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    split, names = data.image_folder(str(path))
    assert names == ["cat", "cow", "dog"] and split.y.tolist() == [0, 1, 2]
    (path / "cow" / "2.png").symlink_to("nowhere.png")
    with pytest.raises(ValueError, match="cow/2.png does not decode: .*No such file"):
        data.image_folder(path)
    (path / "dog" / "up").symlink_to(path, target_is_directory=True)
    with pytest.raises(ValueError, match="dog/up links to a folder around it; remove"):
        data.image_folder(path)


def test_zips_of_other_systems(tmp_path):
    path = tmp_path / "images.zip"
    names = [r"set\cat\1.png", r"set\dog\1.png", r"set\dog\Thumbs.db"]
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, C if "dog" in name else A)
    with pytest.warns(match="hidden 1$"):
        split, found = data.image_folder(path)
    assert found == ["cat", "dog"] and split.x[:, 0, 0, 0].tolist() == [0, 1]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("set/cat/1.png", C)
    with pytest.raises(ValueError, match="has set/cat/1.png twice; make the archive"):
        data.image_folder(path)


def test_archives_with_a_password(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/1.png", A)
    raw = bytearray(path.read_bytes())
    for head, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(head) + place] |= 1  # the flag of encryption
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="1.png does not decode: .*password required"):
        data.image_folder(path)


def test_what_is_no_folder(tmp_path):
    with pytest.raises(ValueError, match="neither a folder of images"):
        data.image_folder(tmp_path / "nothing.zip")
    with pytest.raises(ValueError, match="size must be positive"):
        data.image_folder(tmp_path, size=0)
    with pytest.raises(ValueError, match="most must be positive, got -1"):
        data.image_folder(tmp_path, most=-1)
    with pytest.raises(ValueError, match="CIFAR-10 is missing"):
        data.cifar10(tmp_path)
