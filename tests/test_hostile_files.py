"""Files that are damaged or made to harm: each is read or refused in one line of ours.

The table names readers and damages; `fuzz_readers.py` says what the readers are.
"""

import csv
import functools
import gzip
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import fuzz_readers as fuzz
import numpy as np
import pytest

from sparsejax import _untrusted, data, dissect, pretrained, runs
from sparsejax.data import _idx as idx


@functools.cache
def readers():
    return fuzz.readers()


def good(reader, file=0):
    return readers()[reader].seeds[file][1]


def broken(content, at, new):
    return content[:at] + new + content[at + len(new) :]


def zipped(entries, kind=0, link=""):
    """A zip of these entries, of which one may be a link."""
    raw = fuzz._zipped({k: v for k, v in entries.items() if k != link}, kind)
    if link:
        file = fuzz.io.BytesIO(raw)
        with zipfile.ZipFile(file, "a") as archive:
            info = zipfile.ZipInfo(link)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, entries[link])
        raw = file.getvalue()
    return raw


def flagged(raw, bit=1):
    """A zip whose entries say that they are encrypted."""
    for head, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.index(head) + place
        raw = broken(raw, at, bytes([raw[at] | bit]))
    return raw


def packed(raw, kind=99):
    """A zip whose first entry is compressed in a way that nobody knows."""
    for head, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        raw = broken(raw, raw.index(head) + place, struct.pack("<H", kind))
    return raw


def png(width, height):
    """A PNG that says it has this size, and has nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body
        + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )  # fmt: skip


def table(**cells):
    """index.csv of the Broden folder with other cells in its first row."""
    head, *rows = csv.reader(dict(readers()["broden"].seeds)["index.csv"].decode()
                             .splitlines())  # fmt: skip
    rows[0] = [cells.get(name, cell) for name, cell in zip(head, rows[0])]
    return "\n".join(map(",".join, [head, *rows])).encode()


def graph(**changes):
    """The JSON of a graph with other values."""
    whole = json.loads(good("graph"))
    for key, new in changes.items():
        at, *rest = key.split("__")
        if rest:
            whole[at][rest[0]] = new
        else:
            whole[at] = new
    return json.dumps(whole).encode()


def header(**changes):
    """A safetensors file of one array with other entries."""
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24], **changes}
    return fuzz.safetensors_file({"a": entry}, 24)


def pickled(piece):
    return fuzz.torch_zip(b"\x80\x02" + piece + b".")


def run_config(**fields):
    whole = json.loads(dict(readers()["run"].seeds)["config.json"])
    return json.dumps({**whole, "config": {**whole["config"], **fields}}).encode()


def npy(array):
    return fuzz._npy(np.asarray(array))


def lying(shape):
    """An array of 8 bytes whose header says another shape."""
    raw = npy(np.zeros(1))
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = struct.unpack_from("<H", raw, 8)[0]
    return raw[:10] + text.ljust(size - 1) + b"\n" + raw[10 + size :]


LAUGHS = b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))
TUPLE = b"(" + b"N" * 1000 + b"tq\x01"
LONG = b"\x8b\x00\x00\x01\x00" + b"\x7f" * 2**16
ORDERED, REBUILD = (
    b"ccollections\nOrderedDict\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
)
SAVED = fuzz.torch_pickle()
SMALL = fuzz.picture("PNG")
TWO = {"s/cat/1.png": SMALL, "s/dog/2.png": SMALL}
DEEP = b"[" * 100_000
TWICE = b'{"a": {}, "a": {}}'
LABELS = fuzz.idx_file(np.arange(10))
FILES = fuzz.cifar_files(fuzz.cifar_binary, ".bin")
BATCH = fuzz.cifar_images()["test_batch"]
BIN, TAR = "cifar-10-batches-bin/test_batch.bin", "cifar-10-binary.tar"
PY = "cifar-10-batches-py/test_batch"


def tarred(more=None, kind=b"0", style=tarfile.USTAR_FORMAT, **renamed):
    """An archive of all batches, and of one entry more, which may be no file."""
    names = [renamed.get(name.partition(".")[0], name) for name in FILES]
    bodies = [*FILES.values(), *[b""] * (more is not None)]
    names += [more] * (more is not None)
    kinds = {len(FILES): kind}
    return fuzz.tar(names, bodies, style, kinds)


def sized(text):
    """An archive whose first entry says another size, with the checksum of that."""
    head = bytearray(tarred()[:512])
    head[124:136], head[148:156] = text, b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + tarred()[512:]


def python_batch(state=b"", typed="u1", labels=None):
    pixels, of = BATCH
    of = of if labels is None else np.array(labels)
    return fuzz.cifar_python(pixels, of, typed, state)


# reader, damage, file, what is in it (or what makes that), words of the message
TABLE = [
    ("idx", "empty", "f", b"", "is empty; get a fresh copy"),
    ("idx", "truncated gzip", "f", gzip.compress(LABELS)[:-9], "truncated gzip file"),
    ("idx", "bad crc", "f", lambda: broken(gzip.compress(LABELS), -8, bytes(4)) + b"",
     "corrupt gzip file"),
    ("idx", "shape of 2^128", "f", b"\0\0\x08\x04" + b"\xff" * 16, "is too short"),
    ("mnist", "truncated", "mnist.npz", lambda: good("mnist")[:-30], "cannot be read"),
    ("mnist", "pickles", "mnist.npz", lambda: zipped({"x_train.npy": npy(
        np.array([None]))}), "x_train.npy is not an array"),
    ("mnist", "no labels", "mnist.npz", lambda: zipped({"x_train.npy": npy([1])}),
     "lacks y_train, x_test, y_test"),
    ("mnist", "an array twice", "mnist.npz", lambda: zipped(
        {"a.npy": npy([1]), "b.npy": npy([2])}).replace(b"b.npy", b"a.npy"),
     "it has the array 'a.npy' twice"),
    ("cifar", "truncated", BIN, FILES["test_batch.bin"][:-1], "rows of 3,073: it is"),
    ("cifar", "empty", BIN, b"", "test_batch.bin: it has 0 bytes"),
    ("cifar", "labels", BIN, b"\x0a" + bytes(3072), "the label 10, expected 0 to 9"),
    ("cifar_py", "runs code", PY, b"cposix\nsystem\n(X\x01\x00\x00\x00atR.",
     "names posix.system; only tensors and arrays"),
    ("cifar_py", "objects", PY, lambda: python_batch(typed="O8"), "not an array of"),
    ("cifar_py", "no bytes", PY, lambda: python_batch(b"]"), '"data" has no bytes'),
    ("cifar_py", "few bytes", PY, lambda: python_batch(b"U\x01a"), "has 1 bytes for"),
    ("cifar_py", "labels", PY, lambda: python_batch(labels=[3, 10]), "the label 10"),
    ("cifar_py", "few labels", PY, lambda: python_batch(labels=[3]), "a list of 2 lab"),
    ("cifar_py", "repeated strings", PY, lambda: python_batch(
        b"c_codecs\nencode\nq\x07X\x00\x00\x01\x00" + b"a" * 2**16 + b"q\x08U\x06latin1"
        b"q\x09\x87R0" + b"h\x07h\x08h\x09\x86R0" * 5000 + b"U\x01a"), "test_batch"),
    ("cifar_py", "truncated", PY, lambda: python_batch()[:-40], "test_batch: "),
    ("cifar_py", "no pickle", PY, b"<html>", "test_batch: its pickle is refused: at"),
    ("cifar_py", "two values", PY, b"NN.", "pickle is refused: it ends with 2 values"),
    ("cifar_py", "no dictionary", PY, b"].", "not a dictionary with"),
    ("tar", "truncated", TAR, lambda: tarred()[:20_000], "archive is truncated"),
    ("tar", "no end", TAR, lambda: tarred().rstrip(b"\0"), "archive is truncated"),
    ("tar", "truncated gzip", TAR, lambda: gzip.compress(tarred())[:-999], "EOFError"),
    ("tar", "bad crc", TAR, lambda: broken(gzip.compress(tarred()), -8, bytes(4)),
     "CRC check|EOFError"),
    ("tar", "no tar", TAR, b"<html>" * 200, "checksum is wrong|octal number"),
    ("tar", "bad checksum", TAR, lambda: broken(tarred(), 0, b"e"), "checksum is"),
    ("tar", "lacks files", TAR, lambda: tarred(test_batch="other"), "lacks test_batch"),
    ("tar", "a file twice", TAR, lambda: tarred("x/test_batch.bin"),
     "has test_batch.bin twice"),
    ("tar", "..", TAR, lambda: tarred(test_batch="../test_batch.bin"), "leads out of"),
    ("tar", "absolute", TAR, lambda: tarred("/etc/hosts"), "'/etc/hosts' leads out of"),
    ("tar", "a link", TAR, lambda: tarred("test_batch.bin", b"2"), "is a link, which"),
    ("tar", "a hard link", TAR, lambda: tarred("x", b"1"), "'x' is a link, which"),
    ("tar", "a device", TAR, lambda: tarred("x", b"3"), "'x' is not a file"),
    ("tar", "sparse", TAR, lambda: tarred("x", b"S"), "'x' is not a file"),
    ("tar", "a long name", TAR, lambda: tarred("a" * 120, style=tarfile.GNU_FORMAT),
     "name of more than 100 bytes"),
    ("tar", "another name", TAR, lambda: tarred("a" * 120, style=tarfile.PAX_FORMAT),
     "gives another name or size"),
    ("tar", "size of 2^33", TAR, lambda: sized(b"77777777777\0"), "is truncated"),
    ("tar", "size of 2^80", TAR, lambda: sized(b"\x80" + b"\xff" * 11), "octal number"),
    ("tar", "size below 0", TAR, lambda: sized(b"-0000000001\0"), "not an octal"),
    ("image", "no image", "set/cat/1.png", b"text", "1.png does not decode"),
    ("image", "truncated", "set/cat/1.png", SMALL[:40], "1.png does not decode"),
    ("image", "bad crc", "set/cat/1.png", broken(SMALL, 30, b"\0"), "not decode"),
    ("image", "13,000 x 13,000", "set/cat/1.png", png(13_000, 13_000),
     "SPARSEJAX_MAX_BYTES|decompression bomb"),
    ("image", "2^31 x 2^31", "set/cat/1.png", png(2**31 - 1, 2**31 - 1), "not decode"),
    ("zip", "truncated", "set.zip", zipped(TWO)[:-30], "nor a zip of one"),
    ("zip", "no zip", "set.zip", b"PK\x03\x04", "nor a zip of one"),
    ("zip", "bad crc", "set.zip", lambda: zipped(TWO).replace(SMALL[50:60], bytes(10)),
     "1.png does not decode: Bad CRC-32"),
    ("zip", "encrypted", "set.zip", lambda: flagged(zipped(TWO)), "password required"),
    ("zip", "unknown compression", "set.zip", lambda: packed(zipped(TWO)),
     "does not decode: That compression method is not supported"),
    ("zip", "version", "set.zip", lambda: broken(
        zipped(TWO), zipped(TWO).index(b"PK\x01\x02") + 6, b"\xff"), "file version"),
    ("zip", "..", "set.zip", lambda: zipped({**TWO, "../x.png": SMALL}),
     "entry '../x.png', which leaves the archive"),
    ("zip", "absolute", "set.zip", lambda: zipped({**TWO, "/s/cat/3.png": SMALL}),
     "which leaves the archive"),
    ("zip", "drive", "set.zip", lambda: zipped({**TWO, "C:\\x.png": SMALL}),
     "which leaves the archive"),
    ("zip", "too deep", "set.zip", lambda: zipped({**TWO, "a/" * 99 + "x.png": SMALL}),
     "lies too deep"),
    ("zip", "link", "set.zip", lambda: zipped({**TWO, "s/cow": b"cat"}, link="s/cow"),
     "s/cow is a link, which leads nowhere in an archive; unpack it"),
    ("broden", "map outside", "index.csv", lambda: table(object="../../x.png"),
     "line 2: '../../x.png' leads out of the folder"),
    ("broden", "absolute image", "index.csv", lambda: table(image="/etc/hosts"),
     "'/etc/hosts' leads out of the folder"),
    ("broden", "category outside", "category.csv", b"name\n../../x\n",
     "'../../x' leads out of the folder"),
    ("broden", "huge map", "index.csv", lambda: table(sh="9" * 18), "65,536 pixels"),
    ("broden", "huge label", "index.csv", lambda: table(object="9" * 30),
     "label 65536"),
    ("broden", "label of 5,000 digits", "index.csv", lambda: table(object="9" * 5000),
     "label 65536"),
    ("broden", "100,000 maps", "index.csv",
     lambda: table(object=";".join(["000000_object_0.png"] * 100_000)),
     "cannot be read|SPARSEJAX_MAX_BYTES"),
    ("broden", "a column twice", "index.csv",
     lambda: table().replace(b"color", b"object"), "has the column 'object' twice"),
    ("broden", "a category twice", "category.csv", b"name\nobject\nobject\n",
     "category.csv: it has the category 'object' twice"),
    ("broden", "no numbers", "label.csv", b"number,name\n1.5,a\n",
     "'1.5', not a number"),
    ("broden", "no text", "index.csv", b"\xff\xfe\0", "index.csv cannot be read"),
    ("safetensors", "deep", "f", len(DEEP).to_bytes(8, "little") + DEEP, "too deeply"),
    ("safetensors", "no object", "f", fuzz.safetensors_file([1], 0),
     "not a whole safe"),
    ("safetensors", "a name twice", "f", len(TWICE).to_bytes(8, "little") + TWICE,
     "it has the key 'a' twice"),
    ("safetensors", "shape of text", "f", header(shape="23"), "whole numbers"),
    ("safetensors", "shape of floats", "f", header(shape=[2.0, 3.0]), "whole numbers"),
    ("safetensors", "below 0", "f", header(shape=[-2, -3]), "not a whole safetensors"),
    ("safetensors", "0 x 2^70", "f", header(shape=[0, 2**70], data_offsets=[0, 0]),
     "not a whole safetensors"),
    ("safetensors", "beyond the end", "f", header(data_offsets=[0, 2**60]), "data to"),
    ("safetensors", "long names", "f", header(dtype="x" * 10**6 + "\n"), "a type 'xxx"),
    ("safetensors", "header of 2^63", "f", b"\xff" * 8 + b"{}", "header would end"),
    ("pth", "nested tuples", "f", pickled(b"}(" + LAUGHS + b"Nu"), "a tuple for a key"),
    ("pth", "huge integers", "f", pickled(
        ORDERED + b")R(X\x01\x00\x00\x00a" + REBUILD + b"("
        + fuzz._pid("0", 12) + b"K\x00" + LONG + b"q\x02h\x02\x86q\x03h\x03N"
        + b"}tRu"), "a tensor that is none"),
    ("pth", "own get", "f", pickled(b"}X\x03\x00\x00\x00getX\x01\x00\x00\x00as"),
     "'get' is str, no tensor"),
    ("pth", "calls of long tuples", "f", pickled(
        TUPLE + b"0" + b"ctorch\ndevice\nh\x01R0" * 1000 + b"N"), "1,000 arguments"),
    ("pth", "runs code", "f", pickled(b"cposix\nsystem\n(X\x01\x00\x00\x00atR"),
     "names posix.system; only tensors"),
    ("pth", "repeated numbers", "f", lambda: fuzz.torch_zip(
        fuzz.torch_pickle((2**40,), (0,))), "'a' would take 4,398,046,511,104 bytes"),
    ("pth", "bad crc", "f", lambda: broken(
        fuzz.torch_zip(SAVED), fuzz.torch_zip(SAVED).index(bytes(48)), b"\1"), "CRC"),
    ("pth", "encrypted", "f", lambda: flagged(fuzz.torch_zip(SAVED)), "encrypted"),
    ("pth", "compressed", "f", lambda: fuzz.torch_zip(SAVED, bytes(2**20), 8),
     "compressed or overlap"),
    ("pth", "truncated", "f", lambda: fuzz.torch_zip(SAVED)[:-40], "not a whole zip"),
    ("pth", "truncated, old", "f", lambda: fuzz.torch_sequence(SAVED)[:-9],
     "truncated"),
    ("pth", "a record twice", "f", lambda: zipped(
        {"net/data.pkl": SAVED, "net/data/0": bytes(48), "net/data/1": bytes(48)})
        .replace(b"data/1", b"data/0"), "has the record 'net/data/0' twice"),
    ("pth", "name in lines", "f", lambda: fuzz.torch_zip(fuzz.torch_pickle(
        (99,), (1,)).replace(b"\x01\0\0\0a", b"\x01\0\0\0\n")), "reaches number 98"),
    ("npz", "truncated", "f.npz", lambda: good("npz")[:-20], "f.npz cannot be read"),
    ("npz", "bad crc", "f.npz", lambda: broken(good("npz", 1), 170, b"\7"), "CRC"),
    ("npz", "encrypted", "f.npz", lambda: flagged(good("npz", 1)), "encrypted"),
    ("npz", "unknown compression", "f.npz", lambda: packed(good("npz", 1)),
     "compressed as no .npz is"),
    ("npz", "bz2", "f.npz", lambda: zipped({"a.npy": npy([1])}, 12), "as no .npz is"),
    ("npz", "shape of 2^60", "f.npz", lambda: zipped({"a.npy": lying((2**60,))}),
     "is not an array: 8 bytes for"),
    ("npz", "below 0", "f.npz", lambda: zipped({"a.npy": lying((-1, -1))}),
     "f.npz cannot be read"),
    ("npz", "pickles", "f.npz", lambda: zipped({"a.npy": pickle.dumps(1)}),
     "is not an array"),
    ("npz", "objects", "f.npz", lambda: zipped({"a.npy": npy(np.array([None]))}),
     "is not an array"),
    ("npz", "no array", "f.npz", lambda: zipped({"a.txt": b"1"}),
     "a.txt is not an array"),
    ("graph", "deep", "f", DEEP, "nested too deeply"),
    ("graph", "a key twice", "f", lambda: good("graph").replace(
        b"{", b'{"shape": [3], ', 1), "has the key 'shape' twice"),
    ("graph", "deep functions", "f", lambda: graph(functions=json.loads(
        '{"a":' * 400 + "1" + "}" * 400)), "this flow graph is damaged"),
    ("graph", "lists for objects", "f", lambda: graph(functions=[]), "damaged"),
    ("graph", "text for numbers", "f", lambda: graph(inputs=["0", "1", "2"]),
     "expected a list of int"),
    ("graph", "floats for numbers", "f", lambda: graph(outputs=[1.5, 2, 3]),
     "expected a list of int, got 'float', 'int'"),
    ("graph", "degrees of 2^62", "f", lambda: graph(nodes__degree=[2**62] * 9), "args"),
    ("graph", "degrees below 0", "f", lambda: graph(nodes__degree=[-1] * 9), "below 0"),
    ("graph", "inputs of 10^5 x 10^5", "f", lambda: graph(shape=[10**5, 10**5]),
     "input_names, expected 10000000000"),
    ("graph", "infinite weights", "f", lambda: graph(nodes__consts=[float("inf")] * 9),
     "not finite"),
    ("graph", "huge integers", "f", lambda: graph(nodes__args=[10**400]), "damaged"),
    ("graph", "a picture of others", "f", lambda: graph(image=[7, 7]), "an image of"),
    ("run", "deep config", "config.json", DEEP, "nested too deeply"),
    ("run", "config of a list", "config.json", b"[]", "is not the config of a run"),
    ("run", "a key twice", "config.json", lambda: run_config().replace(
        b"{", b'{"kind": "x", ', 1), "config.json .*has the key 'kind' twice"),
    ("run", "types", "config.json", lambda: run_config(network_seed="a"),
     "network_seed"),
    ("run", "nested", "config.json", lambda: run_config(nodes=[["a"]]), "nodes"),
    ("run", "unknown field", "config.json", lambda: run_config(x=1), "see 'x'"),
    ("run", "half a line", "metrics.jsonl", b'{"seed": 1}\n{"se', "metrics.jsonl"),
    ("run", "deep metrics", "metrics.jsonl", DEEP, "metrics.jsonl cannot be read"),
    ("run", "metrics of numbers", "metrics.jsonl", b"1\n", "line 1"),
    ("run", "types of metrics", "metrics.jsonl", b'{"seed": "a"}\n', "line 1"),
    ("table", "no text", "f.csv", b"\xff\xfe\0", "cannot be read as CSV"),
    ("table", "a column twice", "f.csv", b"unit,category,label,score,score\n",
     "it has the column 'score' twice"),
    ("table", "a cell of 1 MB", "f.csv", b"unit,category,label,score\n" + b"9" * 2**20,
     "cannot be read as CSV: field larger than"),
    ("table", "no finite score", "f.csv", b"unit,category,label,score\n1,c,a,1e999\n",
     "score '1e999'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("reader", "file", "content", "words"),
    [pytest.param(r, *row, id=f"{r}: {damage}") for r, damage, *row in TABLE],
)
def test_damage_ends_in_one_line_of_ours(tmp_path, reader, file, content, words):
    reader = readers()[reader]
    content = content() if callable(content) else content
    fuzz.place(reader, tmp_path, file, content)
    message = fuzz.attempt(reader, tmp_path)
    assert re.search(words, message), message


@pytest.mark.parametrize("name", list(fuzz.NAMES))
def test_mutated_files_are_read_or_refused(name):
    ends = fuzz.fuzz(name, readers()[name], iter(range(200)), 0, None)
    assert ends["wrong"] == 0 and ends["refused"] > 50


def test_every_reader_is_fuzzed():
    assert set(fuzz.NAMES) == set(readers())


def test_a_pickle_has_so_many_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("sparsejax._pickles._STEPS", 100)
    (tmp_path / "f").write_bytes(pickled(b"N0" * 100 + b"N"))
    with pytest.raises(ValueError, match="it has more than 100 steps"):
        pretrained.pth(tmp_path / "f")


# ---- How far files may unfold

FLAT = np.zeros(10**6, np.uint8)
LARGE = {
    "tar": lambda: gzip.compress(
        fuzz.tar([*FILES, "x"], [*FILES.values(), bytes(10**6)])
    ),
    "idx": lambda: gzip.compress(fuzz.idx_file(FLAT)),
    "image": lambda: _flat_png(300),
    "zip": lambda: zipped({"s/cat/1.png": SMALL + bytes(10**6)}, zipfile.ZIP_BZIP2),
    "npz": lambda: zipped({"a.npy": npy(FLAT)}, zipfile.ZIP_DEFLATED),
    "pth": lambda: fuzz.torch_zip(fuzz.torch_pickle((10**6,), (0,))),
}


def _flat_png(side):
    file = fuzz.io.BytesIO()
    fuzz.Image.new("L", (side, side)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("name", LARGE)
def test_one_limit_for_all_readers(tmp_path, monkeypatch, name):
    reader, content = readers()[name], LARGE[name]()
    files = {} if name == "image" else reader.files
    reader = fuzz.Reader(reader.seeds, reader.read, files=files)
    fuzz.place(reader, tmp_path, reader.seeds[0][0], content)
    assert fuzz.attempt(reader, tmp_path) == ""
    monkeypatch.setenv("SPARSEJAX_MAX_BYTES", "3e5")
    message = fuzz.attempt(reader, tmp_path)
    assert "more than 300,000; if that is meant, set the environment" in message
    monkeypatch.setenv("SPARSEJAX_MAX_BYTES", "1e8")
    assert fuzz.attempt(reader, tmp_path) == ""
    monkeypatch.setenv("SPARSEJAX_MAX_BYTES", "much")
    message = fuzz.attempt(reader, tmp_path)
    assert "SPARSEJAX_MAX_BYTES is 'much'; expected a number of bytes" in message


def test_images_have_a_limit_together(tmp_path, monkeypatch):
    path = tmp_path / "set.zip"
    images = {f"s/cat/{i}.png": _flat_png(100) for i in range(30)}
    path.write_bytes(zipped(images, zipfile.ZIP_DEFLATED))
    monkeypatch.setenv("SPARSEJAX_MAX_BYTES", "5e5")
    with pytest.raises(ValueError, match="its 30 images would take 900,000 bytes"):
        data.image_folder(path)
    lazy, _ = data.image_folder(path, size=8)  # read when they are asked for
    assert lazy.x[:2].shape == (2, 8, 8, 3)


def test_what_we_write_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(_untrusted, "_MOST", 10**5)
    arrays = {"a": np.zeros(10**6, np.uint8), "b": np.ones(3)}
    runs.write_arrays(tmp_path / "a.npz", arrays)
    back = runs.read_arrays(tmp_path / "a.npz")
    assert all((back[name] == arrays[name]).all() for name in arrays)


def test_arrays_of_all_kinds_come_back(tmp_path):
    arrays = {
        "scalar": np.array(3.0, "f4"), "text": np.array(["a", "bc"]),
        "empty": np.zeros((0, 3)), "file": np.array(True),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"), "when": np.array("2020-01-01", "M8[D]"),
        "record": np.zeros(2, [("a", "i4"), ("b", "f8")]), "a.npy": np.ones(1, "c16"),
    }  # fmt: skip
    runs.write_arrays(tmp_path / "a.npz", arrays)
    for name, array in runs.read_arrays(tmp_path / "a.npz").items():
        assert array.dtype == arrays[name].dtype and array.flags.writeable
        np.testing.assert_array_equal(array, arrays[name])


BOMB = """
import resource, sys, numpy as np
from pathlib import Path
from sparsejax import data, pretrained, runs
from sparsejax.data import _idx as idx
read = {"idx": idx.read, "zip": data.image_folder, "npz": runs.read_arrays,
        "image": data.image_folder,
        "tar": lambda path: data.cifar10(Path(path).parent)}[sys.argv[1]]
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
try:
    read(sys.argv[2])
    end = "read"
except ValueError as error:
    end = str(error)
print(f"{peak() - before:.0f} MB: {end}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["idx", "zip", "npz", "image", "tar"])
def test_a_megabyte_unfolds_to_less_than_a_gigabyte(tmp_path, name):
    """By hand: `pytest -s -k megabyte` prints memory above the process's own."""
    zeros = 2**30
    file = tmp_path / ("set.zip" if name == "zip" else "f.npz")
    if name == "idx":
        head = gzip.compress(b"\0\0\x08\1" + struct.pack(">I", zeros))
        file.write_bytes(head + gzip.compress(bytes(2**26)) * (zeros >> 26))
    elif name == "tar":  # an entry that says it has a gigabyte
        file = tmp_path / "cifar-10-binary.tar.gz"
        head = gzip.compress(sized(b"%011o\0" % zeros)[:512])
        file.write_bytes(head + gzip.compress(bytes(2**26)) * (zeros >> 26))
    elif name == "image":
        file = tmp_path / "set"
        (file / "cat").mkdir(parents=True)
        (file / "cat" / "1.png").write_bytes(_flat_png(13_000))
    else:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            entry = "s/cat/1.png" if name == "zip" else "a.npy"
            with archive.open(entry, "w") as raw:
                raw.write(npy(FLAT)[:128] if name == "npz" else SMALL)
                for _ in range(zeros >> 26):
                    raw.write(bytes(2**26))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", BOMB, name, str(file)],
                          capture_output=True, text=True, check=True)  # fmt: skip
    size = file.stat().st_size if file.is_file() else len(_flat_png(13_000))
    print(f"\n{name}: {size / 2**20:.2f} MB, {done.stdout.strip()}")
    assert "SPARSEJAX_MAX_BYTES" in done.stdout
    assert int(done.stdout.split()[0]) < 1024


# ---- Where names lead


def test_links_lead_anywhere_but_in_circles_and_to_nothing(tmp_path):
    path = tmp_path / "set"
    for name in ("cat", "dog"):
        (path / name).mkdir(parents=True)
        (path / name / "1.png").write_bytes(SMALL)
    (path / "cow").symlink_to(tmp_path / "gone", target_is_directory=True)
    with pytest.raises(ValueError, match="set/cow links to what is not there; mend or"):
        data.image_folder(path)
    (path / "cow").unlink()
    (path / "cow").symlink_to(path / "dog", target_is_directory=True)
    assert data.image_folder(path)[1] == ["cat", "cow", "dog"]
    (path / "cow").unlink()
    (path / ".hidden").symlink_to(tmp_path / "gone")
    with pytest.warns(match="hidden 1"):
        assert data.image_folder(path)[1] == ["cat", "dog"]


def test_links_cannot_multiply(tmp_path, monkeypatch):
    monkeypatch.setattr("sparsejax.data._folders._FOLDERS", 1000)
    for i in range(20):  # 10 ways from each to the next
        (tmp_path / f"{i}").mkdir()
        for j in range(10):
            (tmp_path / f"{i}" / f"{j}").symlink_to(tmp_path / f"{i + 1}")
    (tmp_path / "20").mkdir()
    with pytest.raises(ValueError, match="has more than 1,000 folders, or 64 in one"):
        data.image_folder(tmp_path / "0")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_devices_are_refused(tmp_path):
    pipe = tmp_path / "cat" / "1.png"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    for read in (idx.read, runs.read_arrays, runs.read_json, pretrained.pth,
                 pretrained.safetensors, dissect.read_table):  # fmt: skip
        with pytest.raises(ValueError, match="1.png is a pipe or a device"):
            read(pipe)
    with pytest.raises(ValueError, match="1.png is a pipe or a device"):
        data.image_folder(tmp_path)


# ---- Tables that spreadsheets open

NAMES = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-1", "'tis", "cat",
         "=HYPERLINK(\"http://x\", \"y\")", "a=1", "")  # fmt: skip


def test_units_carry_no_formulas(tmp_path):
    table = dissect.Table(NAMES, NAMES[::-1], np.linspace(0.9, 0.1, len(NAMES)))
    dissect.write_table(tmp_path / "units.csv", table)
    with open(tmp_path / "units.csv", newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")]
    back = dissect.read_table(tmp_path / "units.csv")
    assert (back.label, back.category) == (table.label, table.category)


def test_broden_tables_carry_no_formulas(tmp_path):
    labels = data.Labels(("", *NAMES[:6]), ("object",), np.array([-1] + 6 * [0]))
    pixels = np.arange(1, 7, dtype=np.int32).reshape(1, 1, 2, 3)
    x, whole = np.zeros((1, 4, 6, 3), np.float32), np.zeros((1, 1), np.int32)
    data.write_broden(tmp_path / "set", data.Labeled(x, pixels, whole), labels)
    for path in (tmp_path / "set").glob("*.csv"):
        with open(path, newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")]
    assert data.broden(tmp_path / "set").labels.names == labels.names
