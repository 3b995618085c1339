"""Which files of a folder or a zip are images, and of which class.

Images are told by how their names end. The folder that they lie in is their class; a
folder around all classes, such as the one that a zip was made of, is looked through.
"""

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sparsejax.data._pictures import suffixes

# Files of systems and their archives; beside these, what begins with a dot.
_HIDDEN = frozenset({
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin",
    "system volume information", "@eadir", "lost+found", "__pycache__",
})  # fmt: skip
Test = Callable[[str], bool]


class Classes(NamedTuple):
    """Images by class.

    Attributes:
        images: names of the files of every class, all sorted.
        read: what gives the content of a file.
        left: what was passed over, in words; "" for nothing.
    """

    images: dict[str, list[str]]
    read: Callable[[str], bytes]
    left: str


def classes(path: Path) -> Classes:
    """Images of the folders in a folder or zip.

    What is hidden and what is no image is passed over.

    Raises:
        ValueError: if there are none, and where it is not clear which class an image
            has, or whether a folder is one.
    """
    ends = suffixes()

    def is_image(name):
        return _suffix(name) in ends

    try:
        if path.is_dir():
            names = {name: name for name in _walk(path)}
            archive = None
        else:
            archive = zipfile.ZipFile(path)
            names = _named(path, archive.namelist(), is_image)
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"{path} is no folder of images and no zip of one: {error}"
        ) from None
    hidden = {_hidden(name) for name in names} - {""}
    # Archives need not list folders: there is one around what is hidden, too.
    around = {name.rpartition("/")[0] + "/" for name in hidden if "/" in name}
    seen = sorted({name for name in names if not _hidden(name)} | around)
    top, within = _inner(seen, is_image)
    found = _by_class(path, top, within, is_image)
    others = [n for n in within if "/" in n and n[-1] != "/" and not is_image(n)]
    loose = sum(map(is_image, seen)) - sum(map(len, found.values()))
    images = {kind: [top + name for name in some] for kind, some in found.items()}

    def read(name: str) -> bytes:
        return (
            (path / name).read_bytes() if archive is None else archive.read(names[name])
        )

    return Classes(images, read, _left(len(hidden), loose, others))


def _walk(folder: Path, above: str = "", within: tuple[str, ...] = ()) -> Iterator[str]:
    """Names of all files and, ending in "/", folders; what is hidden is not opened."""
    within = *within, os.path.realpath(folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            name = above + entry.name
            if not entry.is_dir():  # follows links
                yield name
                continue
            yield f"{name}/"
            if os.path.realpath(entry.path) in within:
                raise ValueError(f"{entry.path} links to a folder around it; remove it")
            if not _hidden(name):
                yield from _walk(Path(entry.path), f"{name}/", within)


def _named(path: Path, names: Iterable[str], is_image: Test) -> dict[str, str]:
    """Names in an archive, by what they are with "/" between folders."""
    found: dict[str, str] = {}
    for name in names:
        plain = name.replace("\\", "/")
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        plain = "/".join(parts) + "/" * plain.endswith("/")
        if plain in found and is_image(plain):
            raise ValueError(f"{path} has {plain} twice; make the archive anew")
        if parts:
            found[plain] = name
    return found


def _hidden(name: str) -> str:
    """The first folder or file on the way that is hidden, "" for none."""
    parts = name.split("/")
    for i, part in enumerate(parts):
        if part.startswith(".") or part.lower() in _HIDDEN:
            return "/".join(parts[: i + 1])
    return ""


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _inner(names: list[str], is_image: Test) -> tuple[str, list[str]]:
    """The folder around the classes, such as "images/", and the names within it.

    It is the only one beside no other folder, as deep as there is one.
    """
    top = ""
    while True:
        outer = {name.partition("/")[0] for name in names if "/" in name}
        within = [name.partition("/")[2] for name in names if "/" in name]
        images = [name for name in within if is_image(name)]
        if len(outer) != 1 or not images or any("/" not in name for name in images):
            return top, names
        top, names = f"{top}{outer.pop()}/", [name for name in within if name]


def _by_class(
    path: Path, top: str, names: list[str], is_image: Test
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in (name for name in names if "/" in name):
        kind, _, rest = name.partition("/")
        images = found.setdefault(kind, [])
        if not is_image(name):
            continue
        if "/" in rest:
            raise ValueError(
                f"{path}: {top}{name} lies in a folder within {top}{kind}; expected "
                f"CLASS/NAME.jpg. If the classes are those within {kind}, "
                + ("" if path.is_dir() else "unpack the archive and ")
                + f"give {path / top / kind}; if not, move such images up"
            )
        images.append(name)
    if not any(found.values()):
        raise ValueError(f"{path} has no images in folders: expected CLASS/NAME.jpg")
    for kind in (kind for kind, images in found.items() if not images):
        files = [n for n in names if n.startswith(f"{kind}/") and n[-1] != "/"]
        raise ValueError(
            f"{path}: the folder {top}{kind} has no images that can be read, "
            f"{f'only {_endings(files)}' if files else 'it is empty'}; convert what is "
            "in it, or, if it is no class, move it elsewhere"
        )
    return found


def _endings(names: list[str]) -> str:
    kinds = sorted({_suffix(name) or "no ending" for name in names})
    return f"{len(names)} ({', '.join(kinds[:5])}{', ...' if kinds[5:] else ''})"


def _left(hidden: int, loose: int, others: list[str]) -> str:
    parts = [f"hidden {hidden}"] if hidden else []
    parts += [f"images outside of the class folders {loose}"] if loose else []
    parts += [f"no images {_endings(others)}"] if others else []
    return ", ".join(parts)
