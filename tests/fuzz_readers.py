"""Mutated files for every reader: each is read, or refused in one line that names it.

    python tests/fuzz_readers.py --count=100000            all readers, by hand
    python tests/fuzz_readers.py --readers=pth,npz --seed=7 --seconds=600
    python tests/fuzz_readers.py --readers=pth --atheris=CORPUS    guided by coverage

Input i of a reader follows from the seed and i alone. What ends in another error, in
several lines, in more than 5 seconds or in no memory is kept, and the exit status is 1.
With `--atheris` mutations follow coverage, where that package is installed.
"""

import argparse
import contextlib
import dataclasses
import gzip
import io
import itertools as it
import json
import os
import pickle
import pickletools
import random
import re
import resource
import signal
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import types
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from sparsejax import (
    _untrusted,
    data,
    dissect,
    flowgraph,
    models,
    pretrained,
    runs,
    trees,
)
from sparsejax.data import _idx as idx
from sparsejax.experiments._study import config as study_config
from sparsejax.experiments.node_sweep.config import Config

SECONDS = 5.0  # for one input
MEMORY = 2 << 30  # bytes above what the process has
LINE = 1000  # characters of a message
NUMBERS = (0, 1, -1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1,
           2**62, 2**63 - 1)  # fmt: skip
WORDS = ("null", "true", "-1", "0", "1e400", "NaN", "-Infinity", '""', '"a"', "[]",
         "{}", "[[]]", '{"a":1}', "9" * 30, "9" * 5000, "1.5", "[1,2,3]")  # fmt: skip
CELLS = ("", "-1", "0", "nan", "inf", "9" * 30, "9" * 5000, "../x", "/etc/hosts", "=1",
         "'=1", '"', "a;b;c", "1;2;3", "70000", "\0", "\u0661", ";" * 5000)  # fmt: skip
VALUE = r'"[^"]*"|-?[\d.]+(?:e-?\d+)?|null|true|\[[^\[\]]*\]'
NAMES = ("idx", "mnist", "image", "zip", "cifar", "cifar_py", "tar", "broden",
         "safetensors", "pth", "load", "npz", "graph", "run", "table")  # fmt: skip
TORCH = {"kernel": "weight", "scale": "weight", "mean": "running_mean",
         "var": "running_var"}  # fmt: skip
BATCHES = *(f"data_batch_{i}" for i in range(1, 6)), "test_batch"  # of CIFAR-10
Mutation = Callable[[random.Random, bytes], bytes]


@dataclasses.dataclass(frozen=True)
class Reader:
    """What reads a file or a folder.

    Attributes:
        seeds: Good files, as (name, content).
        read: Reads the folder that has them.
        mutations: Ways to change a file that keep its form.
        files: What else lies in the folder.
    """

    seeds: list[tuple[str, bytes]]
    read: Callable[[Path], object]
    mutations: tuple[Mutation, ...] = ()
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)


# ---- Mutations


def of_bytes(rng: random.Random, content: bytes) -> bytes:
    """One change of bytes that knows of no form."""
    raw = bytearray(content)
    at = rng.randrange(len(raw) + 1)
    end = min(len(raw), at + rng.choice((1, 2, 4, 8, 16, 64)))
    match rng.randrange(9):
        case 0 if at < len(raw):
            raw[at] ^= 1 << rng.randrange(8)
        case 1:
            raw[at : at + 1] = bytes([rng.randrange(256)])
        case 2:
            width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
            number = rng.choice(NUMBERS) % (1 << 8 * width)
            raw[at : at + width] = number.to_bytes(width, order)
        case 3:
            del raw[at:end]
        case 4:
            raw[at:at] = raw[at:end] * rng.choice((1, 2, 50, 1000))
        case 5:
            raw[at:at] = rng.randbytes(rng.choice((1, 4, 32)))
        case 6:
            del raw[at:]
        case 7:
            to = rng.randrange(len(raw) + 1)
            raw[to:to] = raw[at:end]
        case _:
            raw[at:end] = bytes(end - at)
    return bytes(raw)


def several(rng: random.Random, content: bytes) -> bytes:
    """Some changes of bytes."""
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        content = of_bytes(rng, content)
    return content


def of_json(rng: random.Random, content: bytes) -> bytes:
    """A value of JSON put in another's place, or nested deeply."""
    text = content.decode("utf-8", "replace")
    values = list(re.finditer(VALUE, text))
    if not values:
        return several(rng, content)
    place = rng.choice(values)
    if rng.random() < 0.05:
        depth = rng.choice((100, 2000, 100_000))
        new = rng.choice(("[" * depth + "]" * depth, "[" * depth, '{"a":' * depth))
    elif rng.random() < 0.3:
        new = rng.choice(values)[0]
    else:
        new = rng.choice(WORDS)
    return (text[: place.start()] + new + text[place.end() :]).encode()


def of_table(rng: random.Random, content: bytes) -> bytes:
    """A cell of a table put in another's place."""
    lines = content.decode("utf-8", "replace").split("\n")
    at = rng.randrange(len(lines))
    cells = lines[at].split(",")
    cells[rng.randrange(len(cells))] = rng.choice((*CELLS, *cells))
    lines[at] = ",".join(cells)
    if rng.random() < 0.1:
        lines.insert(at, rng.choice(lines))
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def of_gzip(rng: random.Random, content: bytes) -> bytes:
    """What is in a gzip file, changed."""
    if content[:2] != b"\x1f\x8b":
        return several(rng, content)
    return gzip.compress(several(rng, gzip.decompress(content)), 1, mtime=0)


def of_png(rng: random.Random, content: bytes) -> bytes:
    """What is in a chunk of a PNG, with the checksum that it then has."""
    if content[:4] != b"\x89PNG":
        return several(rng, content)
    chunks, at = [], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    which = rng.randrange(len(chunks))
    kind, body = chunks[which]
    if kind == b"IDAT" and rng.random() < 0.5:
        body = zlib.compress(several(rng, zlib.decompress(body)))
    else:
        body = several(rng, body)
    chunks[which] = kind, body
    if rng.random() < 0.1:
        chunks.insert(rng.randrange(len(chunks)), rng.choice(chunks))
    return content[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body
        + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )  # fmt: skip


def of_zip(change: Mutation) -> Mutation:
    """Entries of a zip changed, renamed, linked or packed another way."""

    def mutate(rng: random.Random, content: bytes) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entries = [(i.filename, archive.read(i)) for i in archive.infolist()]
        except (zipfile.BadZipFile, ValueError):
            return several(rng, content)
        at, out = rng.randrange(len(entries)), io.BytesIO()
        kinds = (0, 0, 0, 8, 12, 14)
        with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
            warnings.simplefilter("ignore")
            for i, (name, body) in enumerate(entries):
                mine = i == at
                if mine and rng.random() < 0.7:
                    body = change(rng, body)
                elif mine:
                    name = rng.choice((
                        "../" + name, "/" + name, name * 50, "a/" * 300 + "b.png",
                        name + "\n", entries[0][0], name.replace("/", "\\"), "x",
                    ))  # fmt: skip
                info = zipfile.ZipInfo(name)
                info.compress_type = rng.choice(kinds) if mine else 0
                info.external_attr = (0o120777 if rng.random() < 0.02 else 0o644) << 16
                archive.writestr(info, body)
        packed = out.getvalue()
        return several(rng, packed) if rng.random() < 0.2 else packed

    return mutate


def of_tar(change: Mutation) -> Mutation:
    """Entries of a tar changed, renamed, linked or in another format; or its bytes."""

    def mutate(rng: random.Random, content: bytes) -> bytes:
        plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            names = archive.getnames()
            bodies = [getattr(archive.extractfile(n), "read", bytes)() for n in names]
        at = rng.randrange(len(names))
        kind, body, name = tarfile.REGTYPE, bodies[at], names[at]
        match rng.randrange(4):
            case 0:
                body = change(rng, body)
            case 1:
                name = rng.choice(("../" + name, "/" + name, name * 9, names[0], "x"))
            case 2:
                kind = rng.choice([bytes([byte]) for byte in b"123567gxKLS"])
            case _:
                bodies[at] = b""
        style = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT,
                            tarfile.PAX_FORMAT))  # fmt: skip
        names[at], bodies[at] = name, body
        packed = tar(names, bodies, style, {at: kind})
        if rng.random() < 0.3:
            packed = several(rng, packed)
        return gzip.compress(packed, 1, mtime=0) if rng.random() < 0.5 else packed

    return mutate


def of_safetensors(rng: random.Random, content: bytes) -> bytes:
    """The header changed, with the length that it then has."""
    length = int.from_bytes(content[:8], "little")
    header = of_json(rng, content[8 : 8 + length])
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


PIECES = [
    b"N", b"}", b"]", b")", b"(", b"0", b"1", b"2", b"t", b"l", b"d", b"u", b"s", b"e",
    b"a", b"R", b"b", b"Q", b"\x85", b"\x86", b"\x87", b"\x88", b"\x8f", b"\x94",
    b"h\x00", b"h\x01", b"q\x00", b"q\x05", b"K\x01", b"J\xff\xff\xff\xff", b"I9\n",
    b"L" + b"9" * 5000 + b"L\n", b"\x8a\x10" + b"\x7f" * 16, b"\x8b\x00\x10\x00\x00"
    + b"\x7f" * 4096, b"X\x03\x00\x00\x00get", b"X\x0a\x00\x00\x00state_dict",
    b"ccollections\nOrderedDict\n", b"ctorch\nSize\n", b"ctorch\ndevice\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._tensor\n_rebuild_from_type_v2\n",
    b"ctorch\nFloatStorage\n", b"ctorch\nTensor\n", b"cbuiltins\neval\n",
    b"G" + b"\xff" * 8, b")" + b"q\x00h\x00\x86" * 60, b"\x8d" + b"\xff" * 8,
    b"\x96\x01" + bytes(7) + b"a",
]  # fmt: skip


def of_pickle(rng: random.Random, content: bytes) -> bytes:
    """Operations of pickles put between others."""
    if rng.random() < 0.4:
        return several(rng, content)
    raw = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(2, len(raw) + 1) if len(raw) > 2 else 0
        piece = rng.choice(PIECES) * rng.choice((1, 1, 1, 2, 100))
        raw[at : at + rng.choice((0, 0, 1))] = piece
    return bytes(raw)


# ---- Good files


def _saved(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _zipped(entries: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, body in entries.items():
            archive.writestr(name, body)
    return file.getvalue()


def picture(kind: str, mode: str = "RGB", **options) -> bytes:
    """A small image in a format of Pillow's."""
    file = io.BytesIO()
    ramp = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    ramp.convert(mode).save(file, kind, **options)
    return file.getvalue()


def pictures() -> list[bytes]:
    """Small images of many formats."""
    kinds = [("PNG", "RGB", {}), ("PNG", "L", {}), ("PNG", "P", {"transparency": 3}),
             ("PNG", "RGBA", {}), ("PNG", "1", {}), ("PNG", "I;16", {}),
             ("JPEG", "RGB", {}), ("JPEG", "CMYK", {}), ("GIF", "P", {}),
             ("BMP", "RGB", {}), ("TIFF", "RGB", {}), ("PPM", "L", {}),
             ("TIFF", "F", {}), ("TIFF", "L", {"compression": "tiff_lzw"}),
             ("WEBP", "RGB", {}), ("TGA", "RGB", {"compression": "tga_rle"}),
             ("ICO", "RGB", {}), ("PCX", "RGB", {}), ("SGI", "RGB", {}),
             ("DDS", "RGB", {}), ("JPEG2000", "RGB", {}),
             ("AVIF", "RGB", {})]  # fmt: skip
    images = []
    for kind, mode, options in kinds:
        with contextlib.suppress(Exception):  # not in every Pillow
            images.append(picture(kind, mode, **options))
    return images


def idx_file(array: np.ndarray) -> bytes:
    """An array of bytes in the IDX format."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def safetensors_file(header: dict, size: int) -> bytes:
    """A header and so many bytes."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


def _pid(key: str, count: int) -> bytes:
    word, *parts = [pickle.dumps(p, 2)[2:-1] for p in ("storage", key, "cpu", count)]
    return b"(" + word + b"ctorch\nFloatStorage\n" + b"".join(parts) + b"tQ"


def tar(names, bodies, style=tarfile.USTAR_FORMAT, kinds: dict | None = None) -> bytes:
    """An archive of these files, some of another kind."""
    file = io.BytesIO()
    if style == tarfile.USTAR_FORMAT and max(map(len, names)) > 99:
        style = tarfile.GNU_FORMAT
    with tarfile.open(fileobj=file, mode="w", format=style) as archive:
        for i, (name, body) in enumerate(zip(names, bodies, strict=True)):
            info = tarfile.TarInfo(name[:250])
            info.type = (kinds or {}).get(i, tarfile.REGTYPE)
            info.size, info.linkname = len(body), "x" * (info.type in b"12")
            archive.addfile(info, io.BytesIO(body))
    return file.getvalue()


def cifar_binary(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    """A batch of CIFAR-10 in its binary version, of pixels (n, 3072)."""
    return np.column_stack([labels, pixels]).astype(np.uint8).tobytes()


def cifar_python(
    pixels: np.ndarray, labels: np.ndarray, typed: str = "u1", state: bytes = b""
) -> bytes:
    """One in its Python version, as Python 2 and NumPy of that time wrote it."""
    size = struct.pack("<ii", *pixels.shape)
    raw = pixels.astype(np.uint8).tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nK\x00\x85"
        b"U\x01b\x87Rq\x04(K\x01J" + size[:4] + b"J" + size[4:] + b"\x86"
        b"cnumpy\ndtype\nU\x02" + typed.encode() + b"K\x00K\x01\x87Rq\x05(K\x03U\x01|"
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + (state or b"T" + struct.pack("<i", len(raw)) + raw) + b"tb"
    )  # fmt: skip
    numbers = b"".join(b"K" + bytes([label]) for label in labels.tolist())
    return (
        b"\x80\x02}q\x01(U\x0bbatch_labelU\x01xU\x06labels]q\x02(" + numbers
        + b"eU\x04data" + array + b"U\tfilenames]U\x05a.pngau."
    )  # fmt: skip


def cifar_images(count: int = 2) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels (n, 3072) and labels of six small batches."""
    rng = np.random.default_rng(0)
    return {
        name: (rng.integers(0, 256, (count, 3072)), rng.integers(0, 10, count))
        for name in BATCHES
    }


def cifar_files(write: Callable[..., bytes], end: str) -> dict[str, bytes]:
    """The six batches in one version."""
    return {name + end: write(*part) for name, part in cifar_images().items()}


def torch_pickle(size=(3, 4), stride=(4, 1), offset=0, count=12) -> bytes:
    """The pickle of a state_dict with one tensor."""
    rest = [pickle.dumps(part, 2)[2:-1] for part in (offset, size, stride, False)]
    ordered = b"ccollections\nOrderedDict\n)R"
    tensor = (b"ctorch._utils\n_rebuild_tensor_v2\n(" + _pid("0", count)
              + b"".join(rest) + ordered + b"tR")  # fmt: skip
    return b"\x80\x02" + ordered + b"(X\x01\x00\x00\x00a" + tensor + b"u."


def torch_zip(pickled: bytes, numbers: bytes = bytes(48), kind: int = 0) -> bytes:
    """A file of `torch.save`."""
    entries = {"data.pkl": pickled, "byteorder": b"little", "data/0": numbers}
    return _zipped({f"net/{name}": body for name, body in entries.items()}, kind)


def _head() -> bytes:
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(part, 2) for part in head)


def torch_sequence(pickled: bytes, numbers: bytes = bytes(48)) -> bytes:
    """A file of `torch.save` before PyTorch 1.6."""
    raw = _head() + pickled
    return raw + pickle.dumps(["0"], 2) + struct.pack("<q", len(numbers) // 4) + numbers


def resnet_files() -> tuple[Any, list[bytes]]:
    """A small residual network, and files of its parameters in every format."""
    model = models.resnet(8, 3, (1, 1, 1))
    # Traced and compiled here: the processes that try inputs have not JAX's threads.
    model = model._replace(init=jax.jit(model.init))
    like = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((224, 224, 3)))
    jax.tree.map(lambda leaf: jnp.asarray(np.ones(leaf.shape, leaf.dtype)), like)
    tensors = {}
    for path, leaf in trees.by_path(like).items():
        module, _, kind = path.replace("/", ".").rpartition(".")
        shape = (*leaf.shape[:-3:-1], *leaf.shape[:-2])
        tensors[f"{module}.{TORCH.get(kind, kind)}"] = np.ones(shape, np.float32)
    named = {f"module.{name}": array for name, array in tensors.items()}
    halves = {name: array.astype(np.float16) for name, array in tensors.items()}
    others = {as_transformers_has_it(name): array for name, array in tensors.items()}
    return model, [
        safetensors_of(tensors), safetensors_of(halves), torch_zip_of(tensors),
        torch_zip_of(named), torch_sequence_of(tensors), safetensors_of(others),
    ]  # fmt: skip


def as_transformers_has_it(name: str) -> str:
    """The name of a parameter of a ResNet in Hugging Face's library."""
    kinds = {"conv": "convolution", "bn": "normalization"}

    def inner(match):
        stage, block, kind, layer = match.groups()
        where = f"encoder.stages.{int(stage) - 1}.layers.{block}"
        return f"{where}.layer.{int(layer) - 1}.{kinds[kind]}"

    def skipping(match):
        stage, block, layer = match.groups()
        kind = [*kinds.values()][int(layer)]
        return f"encoder.stages.{int(stage) - 1}.layers.{block}.shortcut.{kind}"

    name = re.sub(r"^layer(\d)\.(\d+)\.(conv|bn)(\d)", inner, name)
    name = re.sub(r"^layer(\d)\.(\d+)\.downsample\.(\d)", skipping, name)
    return re.sub(r"^(conv|bn)1", lambda m: f"embedder.embedder.{kinds[m[1]]}", name)


def safetensors_of(tensors: dict[str, np.ndarray]) -> bytes:
    """A file of these tensors, floats of 32 or 16 bits."""
    header, end = {}, 0
    for name, array in tensors.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": f"F{8 * array.itemsize}", "shape": array.shape,
                        "data_offsets": [start, end]}  # fmt: skip
    raw = b"".join(array.tobytes() for array in tensors.values())
    return safetensors_file(header, 0) + raw


def _state(tensors: dict[str, np.ndarray]) -> bytes:
    """The pickle of a state_dict, every tensor with a storage of its own."""
    pieces = [b"\x80\x02ccollections\nOrderedDict\n)R("]
    for key, (name, array) in enumerate(tensors.items()):
        stride = tuple(step // 4 for step in array.strides)
        rest = [pickle.dumps(part, 2)[2:-1] for part in (0, array.shape, stride, False)]
        pieces += [
            pickle.dumps(name, 2)[2:-1], b"ctorch._utils\n_rebuild_tensor_v2\n(",
            _pid(str(key), array.size), *rest, b"ccollections\nOrderedDict\n)RtR",
        ]  # fmt: skip
    return b"".join([*pieces, b"u."])


def torch_zip_of(tensors: dict[str, np.ndarray]) -> bytes:
    """A file of `torch.save`."""
    raw = {f"net/data/{i}": a.tobytes() for i, a in enumerate(tensors.values())}
    entries = {"net/data.pkl": _state(tensors), "net/byteorder": b"little", **raw}
    return _zipped(entries)


def torch_sequence_of(tensors: dict[str, np.ndarray]) -> bytes:
    """A file of `torch.save` before PyTorch 1.6."""
    keys = pickle.dumps([str(i) for i in range(len(tensors))], 2)
    raw = [struct.pack("<q", a.size) + a.tobytes() for a in tensors.values()]
    return b"".join([_head(), _state(tensors), keys, *raw])


def _broden() -> dict[str, bytes]:
    """A folder of two images."""
    x = np.linspace(0, 1, 2 * 8 * 8 * 3, dtype=np.float32).reshape(2, 8, 8, 3)
    maps = np.zeros((2, 1, 4, 4), np.int32)
    maps[:, :, :2], maps[1, :, 3] = 1, 3
    labels = data.Labels(("", "cat", "red", "leg"), ("object", "color"),
                         np.array([-1, 0, 1, 0]))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        chunk = data.Labeled(x, maps, np.array([[2], [0]], np.int32))
        data.write_broden(root, chunk, labels, split="train")
        return {str(p.relative_to(root)): p.read_bytes()
                for p in sorted(root.rglob("*")) if p.is_file()}  # fmt: skip


def _graph() -> bytes:
    def fn(x):
        return jnp.maximum(jnp.stack([x[0] - x[1], 2 * x[0] + 1, x[2] * x[1]]), 0.0)

    graph = flowgraph.trace(fn, jnp.zeros(3), domain=(0, 1))
    return graph.to_json().encode()


# ---- Readers


def _images(folder: Path):
    return data.image_folder(folder / "set")[0].x


def _archive(folder: Path):
    return data.image_folder(folder / "set.zip")[0].x


def _cifar(folder: Path):
    return data.cifar10(folder).train.x


def _read_graph(folder: Path):
    """What is read can be written; the text comes from the caller, not from a file."""
    text = (folder / "f").read_bytes().decode("utf-8", "replace")
    with _untrusted.reading(folder):
        return flowgraph.from_json(text).to_json()


def _run(folder: Path):
    runs.read(folder)
    study_config.records(folder, {"seed": int})
    return study_config.read(folder, "node_sweep", Config)


def of_state(rng: random.Random, content: bytes) -> bytes:
    """A file of parameters changed within its own format."""
    if content[:2] == b"PK":
        return of_zip(of_pickle)(rng, content)
    if content[:2] == b"\x80\x02":
        return of_pickle(rng, content)
    return of_safetensors(rng, content)


def readers() -> dict[str, Reader]:
    """All readers by name."""
    labels, small = np.arange(10), picture("PNG")
    squares = np.zeros((2, 28, 28), np.uint8)
    binary, python = cifar_files(cifar_binary, ".bin"), cifar_files(cifar_python, "")
    ones = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
            "__metadata__": {"format": "pt"}}  # fmt: skip
    config = {"kind": "node_sweep", "config": dataclasses.asdict(Config()),
              "subject": {}, "about": {"jax": "0.10.2"}}  # fmt: skip
    records = [{"seed": s, "level": 3, "loss": 0.5, "of": [1, 2]} for s in range(3)]
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    table = b"unit,category,label,score\n2,color,red,0.5\n1,object,cat,0.25\n"
    broden = _broden()
    good = torch_pickle()
    model, files = resnet_files()
    return {
        "idx": Reader(
            [("f", idx_file(labels)), ("f", idx_file(np.arange(24).reshape(2, 3, 4))),
             ("f", gzip.compress(idx_file(labels), mtime=0))],
            lambda folder: idx.read(folder / "f"), (of_gzip,),
        ),
        "mnist": Reader(
            [("mnist.npz", _saved(x_train=squares, y_train=labels[:2].astype("u1"),
                                  x_test=squares, y_test=labels[:2].astype("u1")))],
            lambda folder: data.mnist(folder).train.x, (of_zip(several),),
        ),
        "cifar": Reader(
            [(f"cifar-10-batches-bin/{name}", body) for name, body in binary.items()],
            _cifar, files={f"cifar-10-batches-bin/{k}": v for k, v in binary.items()},
        ),
        "cifar_py": Reader(
            [(f"cifar-10-batches-py/{name}", body) for name, body in python.items()],
            _cifar, (of_pickle, of_pickle),
            {f"cifar-10-batches-py/{k}": v for k, v in python.items()},
        ),
        "tar": Reader(
            [("cifar-10-binary.tar", tar(binary, binary.values())),
             ("cifar-10-binary.tar.gz",
              gzip.compress(tar(binary, binary.values()), 1, mtime=0))],
            _cifar, (of_tar(several), of_tar(several)),
        ),
        "image": Reader(
            [("set/cat/1.png", raw) for raw in pictures()], _images, (of_png,),
            {"set/dog/1.png": small},
        ),
        "zip": Reader(
            [("set.zip", _zipped({"s/cat/1.png": small, "s/dog/2.png": small}, kind))
             for kind in (0, 8, 12, 14)], _archive, (of_zip(of_png),),
        ),
        "broden": Reader(
            list(broden.items()),
            lambda folder: list(data.broden(folder, batch_size=2)),
            (of_table, of_table, of_png), broden,
        ),
        "safetensors": Reader(
            [("f", safetensors_file(ones, 32))],
            lambda folder: pretrained.safetensors(folder / "f"),
            (of_safetensors, of_safetensors),
        ),
        "pth": Reader(
            [("f", torch_zip(good)), ("f", torch_sequence(good)),
             ("f", torch_zip(torch_pickle((2, 2), (1, 3), 1)))],
            lambda folder: pretrained.pth(folder / "f"),
            (of_zip(of_pickle), of_zip(of_pickle), of_pickle),
        ),
        "load": Reader(
            [("f", content) for content in files],
            lambda folder: pretrained.load(folder / "f", model), (of_state,) * 3,
        ),
        "npz": Reader(
            [("f.npz", _saved(a=np.ones((2, 3)), b=np.arange(5), c=np.array("text"))),
             ("f.npz", _zipped({"a.npy": _npy(np.eye(3, dtype=bool))}))],
            lambda folder: runs.read_arrays(folder / "f.npz"), (of_zip(several),),
        ),
        "graph": Reader(
            [("f", _graph())],
            _read_graph,
            (of_json, of_json, of_json),
        ),
        "run": Reader(
            [("config.json", json.dumps(config).encode()), ("metrics.jsonl", lines)],
            _run, (of_json, of_json),
            {"config.json": json.dumps(config).encode(), "metrics.jsonl": lines},
        ),
        "table": Reader(
            [("f.csv", table)], lambda folder: dissect.read_table(folder / "f.csv"),
            (of_table, of_table),
        ),
    }  # fmt: skip


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


# ---- Running


class TooSlow(BaseException):
    """Not an `Exception`: nothing that reads may catch it."""


def mutated(reader: Reader, name: str, seed: int, number: int) -> tuple[str, bytes]:
    """Input `number` of a reader: the file, and what is in it."""
    rng = random.Random(f"{name} {seed} {number}")
    file, content = rng.choice(reader.seeds)
    change = rng.choice((several, *reader.mutations))
    return file, change(rng, content)


def place(reader: Reader, folder: Path, file: str, content: bytes) -> None:
    """Make the folder that has this file beside the others."""
    for other, good in {**reader.files, file: content}.items():
        path = folder / other
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(good)


def attempt(reader: Reader, folder: Path) -> str:
    """The message of a reader, "" if it reads; an `AssertionError` for other ends."""
    started = time.process_time()  # whatever else runs here
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(folder)
        message = ""
    except ValueError as error:
        message = str(error)
        if isinstance(error, UnicodeError) or not message:
            raise AssertionError(f"not our error: {error!r}") from error
    except Exception as error:
        raise AssertionError(f"not our error: {error!r:.300}") from error
    if len(message.splitlines()) > 1 or len(message) > LINE:
        raise AssertionError(f"not one line: {message!r:.300}")
    if message and (str(folder) not in message or "MemoryError" in message):
        raise AssertionError(f"no file, or no memory: {message!r:.300}")
    if (spent := time.process_time() - started) > SECONDS:
        raise AssertionError(f"{spent:.1f} s: {message!r:.300}")
    return message


def fuzz(
    name: str, reader: Reader, numbers: Iterator[int], seed: int, keep: Path | None
) -> dict[str, float]:
    """Try inputs, and count how they end."""
    shared = Path("/dev/shm")
    within = shared if os.access(shared, os.W_OK) else None
    ends = {"inputs": 0, "read": 0, "refused": 0, "wrong": 0, "slowest": 0.0}
    with tempfile.TemporaryDirectory(dir=within) as folder:
        folder = Path(folder)
        place(reader, folder, *reader.seeds[0])
        for number in numbers:
            file, content = mutated(reader, name, seed, number)
            started = time.process_time()
            (folder / file).write_bytes(content)
            try:
                message = attempt(reader, folder)
                ends["refused" if message else "read"] += 1
            except (AssertionError, TooSlow) as error:
                ends["wrong"] += 1
                print(f"{name} {number}: {error!r:.400}", flush=True)
                if keep:
                    keep.mkdir(parents=True, exist_ok=True)
                    kept = keep / f"{name}_{number}_{Path(file).name}"
                    kept.write_bytes(content)
                    kept.with_suffix(".txt").write_text(traceback.format_exc())
            ends["inputs"] += 1
            ends["slowest"] = max(ends["slowest"], time.process_time() - started)
            if file in reader.files:
                (folder / file).write_bytes(reader.files[file])
    return ends


def limit() -> None:
    """Let this process have so much more memory, and each input so much time."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

    def stop(*_):
        raise TooSlow

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGPROF, stop)


def until(numbers: Iterator[int], seconds: float) -> Iterator[int]:
    """Numbers while there is time, each with an alarm behind it."""
    # Its own time, and the clock's for what waits: others may use this machine.
    timers = {signal.ITIMER_PROF: 2 * SECONDS, signal.ITIMER_REAL: 20 * SECONDS}
    end = time.monotonic() + seconds
    for number in numbers:
        if time.monotonic() > end:
            return
        for timer, most in timers.items():
            signal.setitimer(timer, most)
        yield number
        for timer in timers:
            signal.setitimer(timer, 0)


def guided(name: str, reader: Reader, corpus: Path, count: int) -> None:
    """Let atheris look for inputs, from the seeds on."""
    import atheris  # no dependency of ours

    folder = Path(tempfile.mkdtemp())
    place(reader, folder, *reader.seeds[0])
    file = reader.seeds[0][0]
    corpus.mkdir(parents=True, exist_ok=True)
    for i, (_, content) in enumerate(reader.seeds):
        (corpus / f"seed_{i}").write_bytes(content)

    def one(content: bytes) -> None:
        (folder / file).write_bytes(content)
        attempt(reader, folder)

    ours = [m for k, m in sys.modules.items() if k.startswith("sparsejax")]
    for module in (*ours, pickletools):
        for function in vars(module).values():
            if isinstance(function, types.FunctionType):
                atheris.instrument_func(function)
    atheris.Setup([name, f"-runs={count}", "-rss_limit_mb=6000", "-timeout=20",
                   "-max_len=65536", str(corpus)], one)  # fmt: skip
    atheris.Fuzz()


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("--readers", default="", help="names; by default all")
    flags.add_argument("--count", type=int, default=1000, help="inputs of each reader")
    flags.add_argument("--first", type=int, default=0, help="number of the first input")
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--seconds", type=float, default=1e9, help="for each reader")
    flags.add_argument("--keep", type=Path, help="folder for inputs that end wrongly")
    flags.add_argument("--atheris", type=Path, help="folder for a corpus")
    args = flags.parse_args()
    every = readers()
    chosen = args.readers.split(",") if args.readers else list(every)
    if args.atheris:
        return guided(chosen[0], every[chosen[0]], args.atheris, args.count)
    print("| reader | inputs | read | refused | wrong | slowest s | memory MB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    wrong = 0
    for name in chosen:
        with warnings.catch_warnings():  # JAX has threads; no child uses them
            warnings.simplefilter("ignore")
            started = os.fork()
        if not started:  # a process for each, for its memory
            limit()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            numbers = until(it.count(args.first), args.seconds)
            ends = fuzz(name, every[name], it.islice(numbers, args.count), args.seed,
                        args.keep)  # fmt: skip
            more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            print(f"| {name} | {ends['inputs']:,} | {ends['read']:,} | "
                  f"{ends['refused']:,} | {ends['wrong']:,} | {ends['slowest']:.2f} | "
                  f"{more:.0f} |", flush=True)  # fmt: skip
            os._exit(bool(ends["wrong"]))
        wrong |= os.waitpid(started, 0)[1]
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
