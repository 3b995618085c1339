"""Words for error messages: what a value is, and which names there are."""

import sys
import unicodedata
from collections.abc import Iterable
from typing import Any


def described(value: Any) -> str:
    """What a value is, for an error message.

    Example:
        >>> import numpy as np
        >>> described({"a": 1}), described(np.zeros((2, 3), np.int32)), described("x")
        ("a dict of 'a'", 'int32 of shape (2, 3)', "the str 'x'")
    """
    if _is_array(value):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(repr, value)) or 'nothing'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, str | int | float | complex | bool) or value is None:
        return f"the {type(value).__name__} {value!r}" if value is not None else "None"
    kind = type(value)
    return f"a {kind.__module__}.{kind.__qualname__}"


def first_line(error: Exception) -> str:
    """What went wrong, without JAX's hints and Flax's links that may follow."""
    line = str(error).strip().partition("\n")[0].partition(" (http")[0]
    return line or type(error).__name__


def listed(names: Iterable[Any], most: int = 12) -> str:
    """Names for an error message: quoted, cut after `most`.

    Example:
        >>> listed("abc", most=2)
        "'a', 'b' and 1 more"
    """
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(repr(name) for name in names[:most]) or "none") + more


def graphemes(text: str) -> list[str]:
    """What readers take for one letter each: with its accents, and emoji whole.

    Example:
        >>> len("e\u0301\U0001f1eb\U0001f1f7"), len(graphemes("e\u0301\U0001f1eb\U0001f1f7"))
        (4, 2)
    """  # noqa: E501
    parts: list[str] = []
    flags = 0  # letters of flags in a row
    for mark in text:
        flag = "\U0001f1e6" <= mark <= "\U0001f1ff"
        joined = bool(parts) and (
            unicodedata.category(mark) in ("Mn", "Mc", "Me")
            or mark in "\u200c\u200d"
            or "\U0001f3fb" <= mark <= "\U0001f3ff"  # colours of skin
            or "\U000e0020" <= mark <= "\U000e007f"  # flags of regions
            or (parts[-1][-1] == "\u200d" and unicodedata.category(mark) == "So")
            or (flag and flags % 2 == 1)
        )
        flags = flags + 1 if flag else 0
        if joined:
            parts[-1] += mark
        else:
            parts.append(mark)
    return parts


def cut(text: str, most: int) -> str:
    """A text of at most so many letters, of which the last stands for those left out.

    Example:
        >>> cut("hidden_units", 7), cut("hidden", 7)
        ('hidden\u2026', 'hidden')
    """
    parts = graphemes(text) if len(text) > most else []
    return text if len(parts) <= most else "".join(parts[: most - 1]) + "\u2026"


def _is_array(value: Any) -> bool:
    """Whether it is NumPy's or JAX's, which need not be loaded; others are named."""
    kinds = {"numpy": ("ndarray", "generic"), "jax": ("Array",)}
    loaded = [(sys.modules[name], kinds[name]) for name in kinds if name in sys.modules]
    return any(isinstance(value, getattr(m, k)) for m, names in loaded for k in names)
