"""IDX files written by hand, read back, and broken in every way that has a message."""

import gzip
import hashlib
import math
import os
import re
import struct
import zlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from sparsejax import data
from sparsejax.data import _idx as idx

NAMES = ("mnist", "fashion_mnist")
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def encode(array, code=8):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.tobytes()


def parse_slowly(path):
    """The shape and the list of bytes in an IDX file, one value at a time."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = zlib.decompress(content, wbits=31)
    ndim = content[3]
    shape = [struct.unpack_from(">I", content, 4 + 4 * i)[0] for i in range(ndim)]
    values = [content[4 + 4 * ndim + i] for i in range(math.prod(shape))]
    return tuple(shape), values


def write_dataset(folder, rng, n=5, ends="", spell=lambda name: name, **replaced):
    """Four random files; `replaced` maps `train_images`, ... to other arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for file, count in zip(FILES, (n, n, n - 2, n - 2), strict=True):
        part = file[: file.index("-idx")].replace("-", "_")
        shape = (count, 28, 28) if part.endswith("images") else (count,)
        high = 256 if part.endswith("images") else 10
        array = rng.integers(0, high, shape, dtype=np.uint8)
        arrays[part] = array = replaced.get(part, array)
        content = encode(array)
        content = gzip.compress(content) if ends == ".gz" else content
        (folder / (spell(file) + ends)).write_bytes(content)
    return arrays


def assert_is(dataset, arrays):
    for split, part in ((dataset.train, "train"), (dataset.test, "t10k")):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        assert isinstance(split.x, np.ndarray) and isinstance(split.y, np.ndarray)
        assert split.x.shape == (*images.shape, 1) and split.x.dtype == np.float32
        assert split.y.shape == labels.shape and split.y.dtype == np.int32
        exact = images.astype(np.float64)[..., None] / 255
        np.testing.assert_array_equal(split.x, exact.astype(np.float32))
        np.testing.assert_array_equal(split.y, labels)


def fails(*words):
    """Expects a `ValueError` with these words in this order."""
    return pytest.raises(ValueError, match="(?s)" + ".*".join(map(re.escape, words)))


@pytest.fixture(autouse=True)
def no_data_dir(monkeypatch):
    monkeypatch.delenv("SPARSEJAX_DATA_DIR", raising=False)


# ---------------------------------------------------------------- read


@pytest.mark.parametrize("name", ["some-ubyte", "some-ubyte.gz"])
@pytest.mark.parametrize("shape", [(7,), (2, 3), (3, 4, 5), (1, 1, 1, 2)])
def test_read_agrees_with_a_slow_parser(tmp_path, rng, name, shape):
    array = rng.integers(0, 256, shape, dtype=np.uint8)
    content = encode(array)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    read = idx.read(path)
    assert read.dtype == np.uint8
    assert parse_slowly(path) == (read.shape, read.ravel().tolist())
    np.testing.assert_array_equal(read, array)


def test_read_goes_by_content_and_not_by_name(tmp_path, rng):
    array = rng.integers(0, 256, (4, 2), dtype=np.uint8)
    (tmp_path / "plain.gz").write_bytes(encode(array))
    (tmp_path / "zipped").write_bytes(gzip.compress(encode(array)))
    np.testing.assert_array_equal(idx.read(tmp_path / "plain.gz"), array)
    np.testing.assert_array_equal(idx.read(str(tmp_path / "zipped")), array)


LABELS = encode(np.arange(10, dtype=np.uint8))
ZIPPED = gzip.compress(LABELS, mtime=0)
BAD_CRC = ZIPPED[:-8] + bytes(4) + ZIPPED[-4:]
BAD_LENGTH = ZIPPED[:-4] + bytes(4)
BAD_STREAM = ZIPPED[:10] + b"\xff" + ZIPPED[11:]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["is empty; get a fresh copy"]),
        (ZIPPED[:2], ["is a truncated gzip file", "get a fresh copy"]),
        (ZIPPED[:12], ["is a truncated gzip file", "get a fresh copy"]),
        (ZIPPED[:-1], ["is a truncated gzip file", "get a fresh copy"]),
        (BAD_CRC, ["is a corrupt gzip file (CRC check failed", "get a fresh copy"]),
        (BAD_LENGTH, ["is a corrupt gzip file (", "get a fresh copy"]),
        (BAD_STREAM, ["is a corrupt gzip file (", "get a fresh copy"]),
        (ZIPPED + b"more", ["is a corrupt gzip file (", "get a fresh copy"]),
        (
            b"\x89PNG\r\n",
            ["not an IDX file", "89 50 4e 47, expected 00 00 08", "check"],
        ),
        (b"\0", ["is not an IDX file", "the bytes 00, expected"]),
        (b"\0\0\x08", ["is not an IDX file", "the bytes 00 00 08, expected"]),
        (b"\0\0\x08\0\1", ["is not an IDX file", "00 00 08 00, expected"]),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\7", ["is not an IDX file"]),
        (gzip.compress(b"", mtime=0), ["is not an IDX file"]),
        (encode(np.ones(3), code=0x0E), ["type code 0x0e, expected 0x08", "convert"]),
        (LABELS[:7], ["is too short: it ends within its header of 8 bytes", "get"]),
        (LABELS[:-1], ["is too short", "shape (10,), 10 bytes, but 9 follow", "get"]),
        (
            LABELS + b"\0",
            ["is too long", "shape (10,), 10 bytes, but 11 follow", "get"],
        ),
        (
            encode(np.zeros((0, 28), np.uint8)),
            ["holds no data", "shape (0, 28)", "get"],
        ),
    ],
)
def test_unreadable_files_say_what_is_wrong(tmp_path, content, words):
    path = tmp_path / "labels"
    path.write_bytes(content)
    with fails(str(path), *words) as caught:
        idx.read(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with fails(f"{tmp_path / 'gone'} does not exist; check the path"):
        idx.read(tmp_path / "gone")


def test_folder_instead_of_a_file(tmp_path):
    with fails(f"{tmp_path} cannot be read (", "check the path"):
        idx.read(tmp_path)


@hypothesis.settings(deadline=None)
@hypothesis.given(
    content=st.sampled_from([LABELS, ZIPPED]),
    edits=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 255)), max_size=4),
    stop=st.none() | st.integers(0, 39),
)
def test_damaged_files_are_read_or_named(tmp_path_factory, content, edits, stop):
    damaged = bytearray(content)
    for position, value in edits:
        damaged[position % len(damaged)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(bytes(damaged[:stop]))
    try:
        assert idx.read(path).size > 0
    except ValueError as error:
        assert str(error).startswith(str(path))


# ---------------------------------------------------------------- which folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ends", ["", ".gz"])
@pytest.mark.parametrize("spell", [str, lambda name: name.replace("-idx", ".idx")])
def test_both_spellings_raw_and_gzipped(tmp_path, rng, name, ends, spell):
    arrays = write_dataset(tmp_path, rng, ends=ends, spell=spell)
    assert_is(data.load(name, tmp_path), arrays)
    assert_is(getattr(data, name)(str(tmp_path)), arrays)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("mnist", "mnist"),
        ("fashion_mnist", "fashion_mnist"),
        ("fashion_mnist", "fashion-mnist"),
        ("fashion_mnist", "fashion"),
    ],
)
def test_own_subfolder_comes_before_loose_files(tmp_path, rng, name, folder):
    write_dataset(tmp_path, rng)
    arrays = write_dataset(tmp_path / folder, rng)
    assert_is(data.load(name, tmp_path), arrays)
    assert_is(data.load(name, tmp_path / folder), arrays)


def test_own_subfolder_counts_even_in_the_folder_of_the_other(tmp_path, rng):
    digits = write_dataset(tmp_path / "mnist", rng)
    clothes = write_dataset(tmp_path / "mnist" / "fashion", rng)
    assert_is(data.mnist(tmp_path), digits)
    assert_is(data.fashion_mnist(tmp_path / "mnist"), clothes)


def test_side_by_side_each_finds_its_own(tmp_path, rng):
    digits = write_dataset(tmp_path / "mnist", rng)
    clothes = write_dataset(tmp_path / "fashion", rng)
    assert_is(data.mnist(tmp_path), digits)
    assert_is(data.fashion_mnist(tmp_path), clothes)


def test_loose_files_beside_the_other_data_set(tmp_path, rng):
    digits = write_dataset(tmp_path, rng)
    clothes = write_dataset(tmp_path / "fashion_mnist", rng)
    assert_is(data.mnist(tmp_path), digits)
    assert_is(data.fashion_mnist(tmp_path), clothes)


def test_an_incomplete_subfolder_never_falls_back_to_loose_files(tmp_path, rng):
    write_dataset(tmp_path, rng)
    write_dataset(tmp_path / "mnist", rng)
    (tmp_path / "mnist" / FILES[2]).unlink()
    with fails(f"{tmp_path / 'mnist'} lacks {FILES[2]}; pass --data_dir"):
        data.mnist(tmp_path)


def test_an_incomplete_subfolder_gives_way_to_a_complete_one(tmp_path, rng):
    (tmp_path / "fashion_mnist").mkdir()
    arrays = write_dataset(tmp_path / "fashion", rng)
    assert_is(data.fashion_mnist(tmp_path), arrays)


@pytest.mark.parametrize(
    ("name", "folder", "said"),
    [
        ("fashion_mnist", "mnist", "is named after MNIST"),
        ("mnist", "fashion_mnist", "is named after Fashion-MNIST"),
        ("mnist", "fashion-mnist", "is named after Fashion-MNIST"),
        ("mnist", "fashion", "is named after Fashion-MNIST"),
    ],
)
def test_the_folder_of_the_other_is_refused(
    tmp_path, rng, monkeypatch, name, folder, said
):
    write_dataset(tmp_path / folder, rng)
    monkeypatch.chdir(tmp_path / folder)
    for given in (tmp_path / folder, "."):
        with fails(str(given), said, "pass --data_dir with the folder of"):
            data.load(name, given)


@pytest.mark.parametrize(
    ("name", "counts", "said"),
    [
        (
            "mnist",
            [6000] * 10,
            "has the class counts of Fashion-MNIST, expected MNIST; pass",
        ),
        (
            "fashion_mnist",
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            "has the class counts of MNIST, expected Fashion-MNIST; pass",
        ),
    ],
)
def test_labels_counted_like_the_other_are_refused(tmp_path, rng, name, counts, said):
    labels = np.repeat(np.arange(10, dtype=np.uint8), counts)
    # Full-size label files need as many images: blank ones, which compress to nothing.
    images = np.zeros((len(labels), 28, 28), np.uint8)
    write_dataset(tmp_path, rng, train_labels=labels)
    (tmp_path / FILES[0]).write_bytes(gzip.compress(encode(images), compresslevel=1))
    with fails(str(tmp_path / FILES[1]), said):
        data.load(name, tmp_path)


def test_the_environment_gives_the_default(tmp_path, rng, monkeypatch):
    arrays = write_dataset(tmp_path / "set" / "mnist", rng)
    others = write_dataset(tmp_path / "passed", rng)
    monkeypatch.setenv("SPARSEJAX_DATA_DIR", str(tmp_path / "set"))
    assert_is(data.mnist(), arrays)
    assert_is(data.mnist(""), arrays)  # an empty flag is an unset one
    assert_is(data.mnist(tmp_path / "passed"), others)


def test_home_is_expanded(tmp_path, rng, monkeypatch):
    arrays = write_dataset(tmp_path / "mnist", rng)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_is(data.mnist("~"), arrays)


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("name", NAMES)
def test_no_folder_given(monkeypatch, name, value):
    if value is not None:
        monkeypatch.setenv("SPARSEJAX_DATA_DIR", value)
    with fails("MNIST is missing: it is read from files", "SPARSEJAX_DATA_DIR"):
        data.load(name)


def test_no_such_folder(tmp_path):
    with fails(f"{tmp_path / 'gone'} is not a folder; pass --data_dir"):
        data.mnist(tmp_path / "gone")


def test_all_missing_files_and_folders_are_named(tmp_path):
    with fails("MNIST is missing", f"{tmp_path} lacks {', '.join(FILES)}; pass"):
        data.mnist(tmp_path)
    (tmp_path / "fashion_mnist").mkdir()
    (tmp_path / "fashion").mkdir()
    (tmp_path / "fashion" / f"{FILES[1]}.gz").touch()
    one, two = tmp_path / "fashion_mnist", tmp_path / "fashion"
    lacks = f"{one} lacks {', '.join(FILES)}; {two} lacks {FILES[0]}, {FILES[2]}, "
    with fails("Fashion-MNIST is missing", lacks, "that has fashion_mnist/ or"):
        data.fashion_mnist(tmp_path)


# ---------------------------------------------------------------- what is in the files


@pytest.mark.parametrize(
    ("part", "shape", "words"),
    [
        (
            "t10k_images",
            (3, 28, 27),
            ["has the shape (3, 28, 27)", "(n, 28, 28); check"],
        ),
        ("train_images", (5, 784), ["has the shape (5, 784), expected (n, 28, 28)"]),
        ("t10k_images", (3, 28, 28, 1), ["has the shape (3, 28, 28, 1), expected"]),
        ("train_labels", (5, 1), ["has the shape (5, 1), expected (n,); check"]),
        ("t10k_images", (4, 28, 28), ["holds 4 images", "t10k-l", "3 labels; take"]),
        ("train_labels", (4,), ["holds 5 images", "train-labels", "4 labels; take"]),
        ("train_images", (0, 28, 28), ["holds no data"]),
        ("t10k_labels", (0,), ["holds no data"]),
    ],
)
def test_wrong_shapes_are_named(tmp_path, rng, part, shape, words):
    write_dataset(tmp_path, rng, **{part: np.zeros(shape, np.uint8)})
    with fails(str(tmp_path / part[:4]), *words):
        data.mnist(tmp_path)


@pytest.mark.parametrize("bad", [10, 17, 255])
def test_the_first_label_out_of_range_is_named(tmp_path, rng, bad):
    labels = np.array([0, 9, 3, bad, bad], np.uint8)
    write_dataset(tmp_path, rng, train_labels=labels)
    said = f"has the label {bad} at index 3, expected 0 to 9; get a fresh copy"
    with fails(f"{tmp_path / FILES[1]} {said}"):
        data.mnist(tmp_path)


def test_every_byte_becomes_the_nearest_float32(tmp_path, rng):
    images = np.zeros((5, 28, 28), np.uint8)
    images.flat[:256] = np.arange(256)
    arrays = write_dataset(tmp_path, rng, train_images=images)
    dataset = data.mnist(tmp_path)
    assert_is(dataset, arrays)
    assert dataset.train.x.min() == 0 and dataset.train.x.max() == 1
    assert dataset.train.x.flags.writeable and dataset.train.y.flags.writeable


# ---------------------------------------------------------------- the real one


REAL = os.environ.get("SPARSEJAX_DATA_DIR")  # before the fixture takes it away


@pytest.mark.skipif(not REAL, reason="SPARSEJAX_DATA_DIR is not set")
def test_the_real_mnist():
    train, test = data.mnist(REAL)
    assert train.x.shape == (60_000, 28, 28, 1) and test.x.shape == (10_000, 28, 28, 1)
    assert np.bincount(train.y).sum() == 60_000 and np.bincount(test.y).sum() == 10_000
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(train.y).tolist() == counts
    assert round(float(train.x.mean(dtype=np.float64)), 4) == 0.1307
    digest = hashlib.sha256(encode(train.y.astype(np.uint8))).hexdigest()
    assert digest.startswith("65a50cbb")
