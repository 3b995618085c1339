"""The forms in which people have data sets: equal arrays from each, in one order."""

import functools
import gzip
import io
import pickle
import zipfile
from pathlib import Path

import fuzz_readers as fuzz
import numpy as np
import pytest
from PIL import Image

from sparsejax import data
from sparsejax.data import _sources as sources

ROOT = Path(__file__).parents[2]
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse",
          "ship", "truck")  # fmt: skip
PARTS = {  # every class is in every batch
    name: (pixels, np.random.default_rng(i).permutation(10))
    for i, (name, (pixels, _)) in enumerate(fuzz.cifar_images(10).items())
}


@pytest.fixture(autouse=True)
def no_data_dir(monkeypatch):
    monkeypatch.delenv("SPARSEJAX_DATA_DIR", raising=False)


def python_3(pixels, labels, protocol=2):
    """A batch as a newer Python writes it."""
    batch = {"data": pixels.astype(np.uint8), "labels": labels.tolist()}
    return pickle.dumps(batch, protocol)


def batches(write, end):
    return {name + end: write(*part) for name, part in PARTS.items()}


def packed(write, end, folder, zipped):
    """An archive as it is published, with its folder and a file of names."""
    files = batches(write, end)
    names = [f"{folder}/", *(f"{folder}/{name}" for name in files), f"{folder}/x.meta"]
    raw = fuzz.tar(names, [b"", *files.values(), b"names"], kinds={0: b"5"})
    return gzip.compress(raw, 1) if zipped else raw


def class_folders(*names, kinds=LABELS, side=32):
    """A zip of PNGs in class folders, in the order of the batches."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        pairs = [pair for name in names for pair in zip(*PARTS[name], strict=True)]
        for i, (pixels, label) in enumerate(pairs):
            image = pixels.astype(np.uint8).reshape(3, 32, 32).transpose(1, 2, 0)
            raw = io.BytesIO()
            Image.fromarray(image[:side]).save(raw, "PNG")
            archive.writestr(f"{kinds[label]}/{i:04}.png", raw.getvalue())
    return file.getvalue()


def loose(write, end, folder):
    return {f"{folder}/{k}": v for k, v in batches(write, end).items()}


def zips():
    return {"train.zip": class_folders(*fuzz.BATCHES[:-1]),
            "test.zip": class_folders("test_batch")}  # fmt: skip


BIN, PY = "cifar-10-batches-bin", "cifar-10-batches-py"
CIFAR = {  # in the order in which they are read
    "binary": lambda: loose(fuzz.cifar_binary, ".bin", BIN),
    "binary.tar.gz": lambda: {
        "cifar-10-binary.tar.gz": packed(fuzz.cifar_binary, ".bin", BIN, True)
    },
    "binary.tar": lambda: {
        "cifar-10-binary.tar": packed(fuzz.cifar_binary, ".bin", "./" + BIN, False)
    },
    "python": lambda: loose(fuzz.cifar_python, "", PY),
    "python of Keras": lambda: loose(fuzz.cifar_python, "", f"{PY}-target/{PY}"),
    "python 3": lambda: loose(python_3, "", PY),
    "protocol 4": lambda: loose(lambda *batch: python_3(*batch, 4), "", PY),
    "python.tar.gz": lambda: {
        "cifar-10-python.tar.gz": packed(fuzz.cifar_python, "", PY, True)
    },
    "class folders": zips,
}


def place(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@functools.cache
def expected(*names):
    """Images, class after class, one value at a time."""
    x, y = (np.concatenate(part) for part in zip(*(PARTS[name] for name in names)))
    x = x.tolist()
    rows = sorted(range(len(y)), key=lambda i: (y[i], i))
    places = [[32 * row + column for column in range(32)] for row in range(32)]
    images = [[[[x[i][place + 1024 * channel] for channel in range(3)]
                for place in row] for row in places] for i in rows]  # fmt: skip
    return (np.array(images) / 255).astype(np.float32), y[rows]


@pytest.mark.parametrize("place_in", ["", "cifar10"])
@pytest.mark.parametrize("form", CIFAR)
def test_equal_arrays_from_every_form_of_cifar10(tmp_path, form, place_in):
    place(tmp_path / place_in, CIFAR[form]())
    train, test = data.cifar10(tmp_path)
    for split, names in ((train, fuzz.BATCHES[:-1]), (test, fuzz.BATCHES[-1:])):
        x, y = expected(*names)
        np.testing.assert_array_equal(split.x, x)
        np.testing.assert_array_equal(split.y, y)
        assert split.x.dtype == np.float32 and split.y.dtype == np.int32
        assert split.x.flags.c_contiguous and split.x.flags.writeable
    few = data.cifar10(tmp_path, most=1)
    np.testing.assert_array_equal(few.test.x, test.x)
    first = np.unique(train.y, return_index=True)[1]
    np.testing.assert_array_equal(few.train.x, train.x[first])
    if form in ("binary", "python") and not place_in:  # the folder itself
        (folder,) = tmp_path.iterdir()
        np.testing.assert_array_equal(data.cifar10(folder).train.x, train.x)


def test_the_order_of_forms(tmp_path):
    """Taking away the first of those that are there shows the next, by its label."""
    order = ["cifar-10-batches-bin", "cifar-10-binary.tar.gz", "cifar-10-binary.tar",
             PY, f"{PY}-target/{PY}", "cifar-10-python.tar.gz",
             "cifar-10-python.tar"]  # fmt: skip
    for label, name in enumerate(order):
        binary = "bin" in name

        def write(pixels, labels, label=label, binary=binary):
            labels = np.full_like(labels, label)
            return (fuzz.cifar_binary if binary else fuzz.cifar_python)(pixels, labels)

        end = ".bin" * binary
        if ".tar" not in name:
            place(tmp_path, loose(write, end, name))
        else:
            raw = packed(write, end, "x", name.endswith(".gz"))
            place(tmp_path, {name: raw})
    for label, name in enumerate(order):
        assert set(data.cifar10(tmp_path).test.y.tolist()) == {label}
        path = tmp_path / name
        if path.is_dir():  # one file less, and it does not count
            next(path.glob("*test_batch*")).unlink()
        else:
            path.unlink()
    with pytest.raises(ValueError, match=f"missing: .*{BIN} lacks test_batch; .*{PY} "):
        data.cifar10(tmp_path)
    place(tmp_path, zips())
    assert data.cifar10(tmp_path).test.y.tolist() == list(range(10))
    (tmp_path / "test.zip").unlink()
    with pytest.raises(ValueError, match="CIFAR-10 is missing: .*test.zip is missing"):
        data.cifar10(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kinds": LABELS[:5] * 2}, "32x32 pixels of the classes 'airplane', .*'deer'"),
        ({"kinds": ("plane", "car", *LABELS[2:])}, "the classes 'bird', 'car', 'cat'"),
        ({"side": 28}, "test.zip has images of 28x32 pixels"),
    ],
)
def test_zips_of_another_data_set_are_refused(tmp_path, changes, words):
    zip_ = class_folders("test_batch", **changes)
    place(tmp_path, zips() | {"test.zip": zip_})
    with pytest.raises(ValueError, match=f"{words}.*; expected 32x32 pixels of 'airp"):
        data.cifar10(tmp_path)


def test_a_folder_of_some_batches_is_told(tmp_path):
    place(tmp_path, loose(fuzz.cifar_python, "", PY))
    (tmp_path / PY / "data_batch_3").unlink()
    for folder in (tmp_path, tmp_path / PY):
        with pytest.raises(ValueError, match=f"missing: .*{PY} lacks data_batch_3; "):
            data.cifar10(folder)


@pytest.mark.parametrize("name", ["a" * 300, "pyproject.toml", "nothing"])
def test_what_is_not_a_folder_is_told(name):
    with pytest.raises(ValueError, match=f"MNIST is missing: {name} is not a folder"):
        data.mnist(name)


def mnist_arrays():
    rng = np.random.default_rng(1)
    counts = {"train": 7, "t10k": 4}
    images = {k: rng.integers(0, 256, (n, 28, 28), np.uint8) for k, n in counts.items()}
    return images, {k: rng.integers(0, 10, n, np.uint8) for k, n in counts.items()}


def idx_files(folder, zipped=False):
    images, labels = mnist_arrays()
    files = {f"{k}-images-idx3-ubyte": v for k, v in images.items()}
    files |= {f"{k}-labels-idx1-ubyte": v for k, v in labels.items()}
    raw = {name: fuzz.idx_file(array) for name, array in files.items()}
    if zipped:
        raw = {f"{name}.gz": gzip.compress(body) for name, body in raw.items()}
    return {f"{folder}/{name}": body for name, body in raw.items()}


def npz(**changes):
    images, labels = mnist_arrays()
    arrays = {"x_train": images["train"], "y_train": labels["train"],
              "x_test": images["t10k"], "y_test": labels["t10k"]}  # fmt: skip
    return fuzz._saved(**{k: v for k, v in (arrays | changes).items() if v is not None})


MNIST = {
    "mnist": lambda: idx_files("mnist"),
    "MNIST/raw": lambda: idx_files("MNIST/raw"),
    "MNIST/raw, both": lambda: idx_files("MNIST/raw") | idx_files("MNIST/raw", True),
    "mnist/raw, zipped": lambda: idx_files("mnist/raw", True),
    "raw": lambda: idx_files("raw"),
    "files": lambda: idx_files("."),
    "mnist.npz": lambda: {"mnist.npz": npz()},
    "mnist.npz in its folder": lambda: {"mnist/mnist.npz": npz()},
    "mnist.npz beside a folder": lambda: {"mnist.npz": npz(), "mnist/other": b""},
    "beside the other": lambda: {"mnist.npz": npz(), "fashion-mnist/x": b""},
}
FASHION = {
    "fashion-mnist": lambda: idx_files("fashion-mnist", True),
    "FashionMNIST/raw": lambda: idx_files("FashionMNIST/raw"),
}


@pytest.mark.parametrize("form", [*MNIST, *FASHION])
def test_equal_arrays_from_every_form_of_mnist(tmp_path, form):
    place(tmp_path, (MNIST | FASHION)[form]())
    read = data.mnist if form in MNIST else data.fashion_mnist
    images, labels = mnist_arrays()
    for split, part in zip(read(tmp_path), ("train", "t10k"), strict=True):
        exact = (images[part][..., None].astype(np.float64) / 255).astype(np.float32)
        np.testing.assert_array_equal(split.x, exact)
        np.testing.assert_array_equal(split.y, labels[part])
        assert split.y.dtype == np.int32
    folders = {"MNIST/raw": ("MNIST", "MNIST/raw"), "FashionMNIST/raw": (form,)}
    for folder in folders.get(form, ()):
        np.testing.assert_array_equal(read(tmp_path / folder).train.y, labels["train"])


def test_idx_files_come_before_the_npz(tmp_path):
    blank = np.zeros((7, 28, 28), np.uint8)
    place(tmp_path, {"mnist.npz": npz(x_train=blank), **idx_files("MNIST/raw")})
    assert data.mnist(tmp_path).train.x.any()


def test_the_folder_of_the_other_is_refused(tmp_path):
    place(tmp_path, idx_files("FashionMNIST/raw"))
    for folder in ("FashionMNIST", "FashionMNIST/raw"):
        with pytest.raises(ValueError, match="is named after Fashion-MNIST"):
            data.mnist(tmp_path / folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_test": None}, "mnist.npz lacks y_test; get a fresh copy"),
        ({"x_train": np.zeros((7, 28, 28))}, "x_train is float64.*unsigned bytes"),
        ({"y_train": np.zeros(0, np.uint8)}, "y_train is uint8.0,., expected unsigned"),
        ({"x_test": np.zeros((4, 784), np.uint8)}, "mnist.npz: x_test has the shape"),
        ({"y_test": np.zeros(3, np.uint8)}, "x_test holds 4 images.*y_test holds 3"),
        ({"y_train": np.full(7, 17, np.uint8)}, "y_train has the label 17 at index 0"),
        ({"y_train": np.array([None])}, "y_train.npy is not an array"),
    ],
)
def test_another_npz_is_refused(tmp_path, changes, words):
    path = tmp_path / "mnist.npz"
    if changes.get("y_train") is not None and changes["y_train"].dtype == object:
        path.write_bytes(fuzz._zipped({"y_train.npy": fuzz._npy(changes["y_train"])}))
    else:
        path.write_bytes(npz(**changes))
    with pytest.raises(ValueError, match=words):
        data.mnist(tmp_path)


@pytest.mark.parametrize(
    ("read", "file"),
    [
        (data.mnist, "mnist/mnist/train-00000-of-00001.parquet"),
        (data.mnist, "train.parquet"),
        (data.cifar10, "cifar10/plain_text/test-00000-of-00001.parquet"),
    ],
)
def test_parquet_is_told(tmp_path, read, file):
    place(tmp_path, {file: b"PAR1"})
    with pytest.raises(ValueError, match=f"{file} is not read: parquet files are not"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_what_is_missing_is_told_with_its_source(tmp_path, name):
    with pytest.raises(ValueError) as error:
        getattr(data, name)(tmp_path)
    message, source = str(error.value), data.SOURCES[name]
    assert source.title in message and source.origin in message
    assert source.license in message and "checksums: docs/data.md" in message
    for layout in source.layouts:
        assert layout.files.partition(":")[0] in message
    assert "\n" not in message and len(message) < 600


def test_the_page_has_the_table():
    text = (ROOT / "docs" / "data.md").read_text()
    assert sources.table() in text and sources.checksums() in text
