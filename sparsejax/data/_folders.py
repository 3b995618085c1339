"""Which files of a folder or a zip are images, and of which class.

Images are told by how their names end. The folder that they lie in is their class; a
folder around all classes, such as the one that a zip was made of, is looked through.
Links of the file system are followed; names that leave a zip, and links in it, are
refused.
"""

import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sparsejax import _untrusted
from sparsejax.data._pictures import suffixes

# Files of systems and their archives; beside these, what begins with a dot.
_HIDDEN = frozenset({
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin",
    "system volume information", "@eadir", "lost+found", "__pycache__",
})  # fmt: skip
_DEPTH, _FOLDERS = 64, 100_000  # folders in one another, and of all
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

    archive = None if path.is_dir() else _archive(path)
    if archive is None:
        names = {name: name for name in _walk(path, path)}
    else:
        names = _named(path, archive.infolist(), is_image)
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
        if archive is not None:
            return _untrusted.zip_entry(archive, names[name])
        _untrusted.check_regular(path / name)
        return (path / name).read_bytes()

    return Classes(images, read, _left(len(hidden), loose, others))


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        _untrusted.check_regular(path)
        return zipfile.ZipFile(path)
    except Exception as error:  # whatever the tables of a damaged one can cause
        raise ValueError(
            f"{path} is neither a folder of images nor a zip of one: {error}"
        ) from None


def _walk(root: Path, folder: Path) -> Iterator[str]:
    """Names of all files and, ending in "/", folders; what is hidden is not opened."""
    todo: list[tuple[Path, str, tuple[str, ...]]] = [(folder, "", ())]
    count = 0
    while todo:
        folder, above, within = todo.pop()
        within, count = (*within, os.path.realpath(folder)), count + 1
        if len(within) > _DEPTH or count > _FOLDERS:
            raise ValueError(
                f"{root} has more than {_FOLDERS:,} folders, or {_DEPTH} in one "
                f"another, such as {folder}; expected CLASS/NAME.jpg"
            )
        with os.scandir(folder) as entries:
            for entry in entries:
                name = above + entry.name
                if not entry.is_dir():  # follows links
                    if not _hidden(name):
                        _check_link(entry)
                    yield name
                    continue
                yield f"{name}/"
                if os.path.realpath(entry.path) in within:
                    raise ValueError(
                        f"{entry.path} links to a folder around it; remove it"
                    )
                if not _hidden(name):
                    todo.append((Path(entry.path), f"{name}/", within))


def _check_link(entry: os.DirEntry) -> None:
    """Refuse what may have been a class, and leads nowhere."""
    broken = entry.is_symlink() and not os.path.exists(entry.path)
    if broken and _suffix(entry.name) not in suffixes():
        raise ValueError(f"{entry.path} links to what is not there; mend or remove it")


def _named(
    path: Path, entries: Iterable[zipfile.ZipInfo], is_image: Test
) -> dict[str, str]:
    """Names in an archive, by what they are with "/" between folders."""
    found: dict[str, str] = {}
    for entry in entries:
        name = entry.filename
        plain = name.replace("\\", "/")
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        plain = "/".join(parts) + "/" * plain.endswith("/")
        if not _untrusted.stays_inside(name) or len(parts) > _DEPTH:
            raise ValueError(
                f"{path} has an entry {name!r}, which leaves the archive or lies too "
                "deep; make the archive anew"
            )
        if stat.S_ISLNK(entry.external_attr >> 16) and not _hidden(plain):
            raise ValueError(
                f"{path}: {plain} is a link, which leads nowhere in an archive; "
                "unpack it and give the folder"
            )
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
            "in it, or, if it is not a class, move it elsewhere"
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
