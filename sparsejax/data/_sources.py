"""Where data sets come from: one table, for the documentation and for what is missing.

Nothing is downloaded. Every loader reads the files that people have already, of any
layout in its row, and where it finds none says what the row says.
"""

import itertools as it
import os
from pathlib import Path
from typing import NamedTuple

VARIABLE = "SPARSEJAX_DATA_DIR"
_GUIDE = "docs/data.md"
_DEPTH = 3  # folders that are looked into for what is not read

StrPath = str | os.PathLike[str]


class Layout(NamedTuple):
    """One way in which the files of a data set may lie.

    Attributes:
        files: Their names below the folder of data.
        by: Who leaves them so.
        checksums: "md5" or "sha256" of the files as published, in their order.
    """

    files: str
    by: str
    checksums: tuple[str, ...] = ()


class Source(NamedTuple):
    """A row of the table.

    Attributes:
        title: Name of the data set.
        origin: Its official source.
        license: What it may be used under.
        layouts: Ways in which files may lie, those that are read first on top.
    """

    title: str
    origin: str
    license: str
    layouts: tuple[Layout, ...]


_IDX = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
_IDX += "t10k-labels-idx1-ubyte, each with .gz or without"

SOURCES = {
    "digits": Source(
        "digits",
        "scikit-learn, from the UCI Machine Learning Repository (Alpaydin, Kaynak)",
        "CC BY 4.0",
        (Layout("comes with scikit-learn", "scikit-learn"),),
    ),
    "mnist": Source(
        "MNIST",
        "The MNIST Database of LeCun, Cortes and Burges (yann.lecun.com/exdb/mnist)",
        "CC BY-SA 3.0, as Keras has it",
        (
            Layout(
                f"mnist/: {_IDX}",
                "its page",
                (
                    "md5 f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    "md5 d53e105ee54ea40749a09fcbcd1e9432",
                    "md5 9fb629c4189551a2d022fa330f9573f3",
                    "md5 ec29112dd5afa0611ce80d1b7f02629c",
                ),
            ),
            Layout("MNIST/raw/: the same four", "torchvision"),
            Layout(
                "mnist.npz",
                "Keras",
                (
                    "sha256 731c5ac602752760c8e48fbffcf8c3b8"
                    "50d9dc2a2aedcf2cc48468fc17b673d1",
                ),
            ),
        ),
    ),
    "fashion_mnist": Source(
        "Fashion-MNIST",
        "Zalando Research (github.com/zalandoresearch/fashion-mnist)",
        "MIT",
        (
            Layout(
                f"fashion_mnist/: {_IDX}",
                "its page",
                (
                    "md5 8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "md5 25c81989df183df01b3e8a0aad5dffbe",
                    "md5 bef4ecab320f06d8554ea6380940ec79",
                    "md5 bb300cfdad3c16e7a12a480ee83cd310",
                ),
            ),
            Layout("fashion-mnist/: the same four", "Keras"),
            Layout("FashionMNIST/raw/: the same four", "torchvision"),
        ),
    ),
    "cifar10": Source(
        "CIFAR-10",
        "Krizhevsky, Nair and Hinton (www.cs.toronto.edu/~kriz/cifar.html)",
        "none stated; cite Krizhevsky, 2009",
        (
            Layout("cifar-10-batches-bin/", "the binary version, unpacked"),
            Layout(
                "cifar-10-binary.tar.gz",
                "its page",
                ("md5 c32a1d4ab5d03f1284b67883e8d87530",),
            ),
            Layout("cifar-10-batches-py/", "torchvision, Keras"),
            Layout(
                "cifar-10-python.tar.gz",
                "its page, torchvision",
                ("md5 c58f30108f718f92721af3b95e74349a",),
            ),
            Layout("train.zip and test.zip of CLASS/NAME.png", "you"),
        ),
    ),
    "resnet_cifar10": Source(
        "ResNet-20 and ResNet-56 for CIFAR-10",
        "Idelbayev (github.com/akamaster/pytorch_resnet_cifar10)",
        "BSD-2-Clause",
        (Layout("resnet_cifar10/MODEL_cifar10.safetensors", "you, from its files"),),
    ),
    "broden": Source(
        "Broden",
        "Bau et al., Network Dissection (netdissect.csail.mit.edu)",
        "those of the five sets that it is made of",
        (Layout("index.csv, category.csv, label.csv, images/", "its page"),),
    ),
}


def folder(name: str, data_dir: StrPath | None) -> Path:
    """The folder of data that a loader is to look into.

    Args:
        name: Key of `SOURCES`.
        data_dir: What the caller was given; by default the environment variable's.

    Raises:
        ValueError: If there is no such folder, or none was given.
    """
    path = data_dir or os.environ.get(VARIABLE)
    if not path:
        raise missing(name, "it is read from files, and no folder of data was given")
    root = Path(path).expanduser()
    if not os.path.isdir(root):  # false also for names that are too long
        raise missing(name, f"{root} is not a folder")
    return root


def missing(name: str, reason: str, *folders: Path) -> ValueError:
    """What to raise where a data set is not there: the reason, and its row.

    Args:
        name: Key of `SOURCES`.
        reason: What was looked for.
        folders: Places to look into for files of kinds that are not read.
    """
    source = SOURCES[name]
    # What stands behind the colon tells files that all layouts have.
    ways = " or ".join(layout.files.partition(":")[0] for layout in source.layouts)
    parquet = _parquet(folders)
    also = f"; {parquet} is not read: parquet files are not supported" * bool(parquet)
    return ValueError(
        f"{source.title} is missing: {reason}{also}; pass --data_dir (in Python "
        f"data_dir=) or set {VARIABLE} to the folder that has {ways}; source: "
        f"{source.origin}, license: {source.license}; checksums: {_GUIDE}"
    )


def _parquet(folders: tuple[Path, ...]) -> str:
    """The first parquet file of some folders, "" for none."""
    for place, depth in it.product(folders, range(_DEPTH)):
        for path in it.islice(place.glob("*/" * depth + "*.parquet"), 1):
            return str(path)
    return ""


def table() -> str:
    """The rows of `SOURCES` in Markdown, as the documentation shows them."""
    lines = ["| data set | official source | license | files, in this order | from |"]
    lines += ["|---|---|---|---|---|"]
    for source in SOURCES.values():
        head = f"{source.title} | {source.origin} | {source.license}"
        for layout in source.layouts:
            lines.append(f"| {head} | {layout.files} | {layout.by} |")
            head = " | | "
    return "\n".join(lines) + "\n"


def checksums() -> str:
    """The checksums of `SOURCES` in Markdown, a row for each file as published."""
    lines = ["| file | checksum |", "|---|---|"]
    for source in SOURCES.values():
        for layout in source.layouts:
            names = layout.files.partition(": ")[2] or layout.files
            files = names.split(", ")[: len(layout.checksums)]
            many = len(files) > 1
            for file, checksum in zip(files, layout.checksums, strict=True):
                lines.append(f"| {source.title}: {file}{'.gz' * many} | `{checksum}` |")
    return "\n".join(lines) + "\n"
