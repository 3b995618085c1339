"""Ways to damage a file: what disks, cut power, editors and careless copies do."""

import io
import re
import shutil

import numpy as np


def _flip(content, at):
    if not content:
        return b"\0"
    at = min(at, len(content) - 1)
    return content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]


def _block(content, rng, block):
    at = int(rng.integers(0, max(1, len(content) - 64)))
    return content[:at] + block + content[at + 64 :]


def _lines(content):
    return content.splitlines(keepends=True) or [b""]


def _at_random(content, rng, pattern, other):
    """One of the places of a pattern, replaced; a flipped bit where there is none."""
    found = list(re.finditer(pattern, content))
    if not found:
        return _flip(content, int(rng.integers(0, max(1, len(content)))))
    place = found[int(rng.integers(0, len(found)))]
    new = other(place[0])
    return content[: place.start()] + new + content[place.end() :]


def _npz(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _reshaped(content, rng):
    """Arrays of another shape, in a file that is whole; of other files half."""
    try:
        with np.load(io.BytesIO(content)) as file:
            return _npz({name: np.ravel(file[name])[:1] for name in file.files})
    except Exception:
        return content[: len(content) // 2]


def _renamed(content, rng):
    """Arrays under other names; in text, a key of JSON or another word."""
    try:
        with np.load(io.BytesIO(content)) as file:
            return _npz({f"{name}_": file[name] for name in file.files})
    except Exception:
        return _at_random(content, rng, rb'"[a-z_]+":', lambda key: b'"' + key[2:])


def _digit(content, rng):
    return _at_random(content, rng, rb"\d", lambda d: b"%d" % ((int(d) + 1) % 10))


# From content and a generator to content; `None` removes the file.
WAYS = {
    "removed": lambda c, rng: None,
    "empty": lambda c, rng: b"",
    "half": lambda c, rng: c[: len(c) // 2],
    "last byte cut": lambda c, rng: c[:-1],
    "first byte cut": lambda c, rng: c[1:],
    "cut anywhere": lambda c, rng: c[: int(rng.integers(0, max(1, len(c))))],
    "bit at the start": lambda c, rng: _flip(c, 0),
    "bit in the middle": lambda c, rng: _flip(c, len(c) // 2),
    "bit at the end": lambda c, rng: _flip(c, len(c) - 1),
    "bit anywhere": lambda c, rng: _flip(c, int(rng.integers(0, max(1, len(c))))),
    "zeros": lambda c, rng: bytes(len(c) + 1),
    "block of zeros": lambda c, rng: _block(c, rng, bytes(64)),
    "block of noise": lambda c, rng: _block(c, rng, rng.bytes(64)),
    "junk after": lambda c, rng: c + rng.bytes(9),
    "zeros after": lambda c, rng: c + bytes(9),
    "twice": lambda c, rng: c + (c or b"x"),
    "halves swapped": lambda c, rng: c[len(c) // 2 :] + c[: len(c) // 2],
    "line ends": lambda c, rng: c.replace(b"\n", b"\r\n") + b"\r\n",
    "no first line": lambda c, rng: b"".join(_lines(c)[1:]),
    "no last line": lambda c, rng: b"".join(_lines(c)[:-1]),
    "a line twice": lambda c, rng: b"".join([_lines(c)[0], *_lines(c)]),
    "lines reversed": lambda c, rng: b"".join(_lines(c)[::-1]),
    "a digit": _digit,
    "a key": _renamed,
    "another shape": _reshaped,
    "other JSON": lambda c, rng: b'{"seed": 0}\n',
    "null": lambda c, rng: b"null",
    "deep": lambda c, rng: b"[" * 100_000,
    "a folder": None,
    "a link to nowhere": None,
}


def damage(path, way, rng):
    """Damage a file; whether it is another one now."""
    before = path.read_bytes()
    if way in ("a folder", "a link to nowhere"):
        path.unlink()
        path.mkdir() if way == "a folder" else path.symlink_to(path.parent / "nowhere")
        return True
    after = WAYS[way](before, rng)
    if after is None:
        path.unlink()
    else:
        path.write_bytes(after)
    return after != before


def copy(folder, to):
    """A copy of a run's folder in place of what is there."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to, symlinks=True)
