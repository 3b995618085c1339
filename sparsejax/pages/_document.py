"""The whole document: shell, embedded data and script, and its writing to disk."""

import functools
import json
import re
from importlib import resources
from numbers import Integral
from string import Template
from typing import Any

import numpy as np

from . import lean
from ._markup import Html, block, join, tag
from ._outputs import frame


class Page(str):
    """The text of a whole page; in a notebook it is shown, in a frame of its own."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Page({len(self):,} characters)"

    def _repr_html_(self) -> str:
        return frame(self)


def page(
    title: str,
    *bodies: str,
    lead: str | None = None,
    footer: str,
    data: Any = None,
    script: str = "",
    style: str = "",
) -> Page:
    """The complete document, in one file that needs no other.

    Args:
        title: the title, plain text.
        bodies: what it shows; each `Html`, or text that becomes a paragraph.
        lead: the finding, in a sentence or two under the title.
        footer: how the page was made, and how exact it is.
        data: what the script reads as `sj.data`: dicts, lists, text, finite numbers and
            arrays (float32 ones in their shortest decimal form).
        script: the page's own JavaScript, run at its end; the kit is there as `sj`.
        style: rules of its own, after those of the shell.

    Returns:
        The HTML text; see `write`.

    Example:
        >>> text = page("Tickets", "No run yet.", footer="Made by hand.")
        >>> "<h1>Tickets</h1>" in text
        True
    """
    _check_raw("script", script, r"</script|<!--")
    _check_raw("style", style, r"</style")
    embedded = "" if data is None else _embed(data)
    text = Template(_resource("shell.html")).substitute(
        title=join(str(title)),
        style=_lean("style.css") + style,
        kit=_lean("kit.js"),
        lead="" if lead is None else tag("p", lead, class_="lead"),
        bodies="\n".join(map(block, bodies)),
        footer=block(footer),
        data=embedded,
        script=tag("script", Html(f"\n{script}\n")) if script else "",
    )
    return Page(text)


@functools.cache
def _resource(name: str) -> str:
    return resources.files("sparsejax.pages").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _lean(name: str) -> str:
    return (lean.script if name.endswith(".js") else lean.style)(_resource(name))


def _check_raw(what: str, text: str, forbidden: str) -> None:
    found = re.search(forbidden, text, re.IGNORECASE)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(
            f"line {line} of the {what} has {found[0]!r}, which would end it early in "
            "HTML; write the text in two parts"
        )


def _embed(data: Any) -> Html:
    text = json.dumps(_plain(data, "data"), separators=(",", ":"))
    # ASCII by now; with these three escaped, no string inside can close the element.
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return tag("script", Html(text), type="application/json", id="data")


def _plain(value: Any, path: str) -> Any:
    """What JSON can hold, or a ValueError with the path to what it cannot."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str | Integral) or isinstance(key, bool):
                raise ValueError(
                    f"{path} has the key {key!r}; keys are text or integers"
                )
        names = {str(k): _plain(v, f"{path}[{k!r}]") for k, v in value.items()}
        if len(names) < len(value):
            twice = next(k for k in value if not isinstance(k, str) and str(k) in value)
            raise ValueError(f"{path} has two keys that read {str(twice)!r}")
        return names
    if isinstance(value, list | tuple):
        return [_plain(v, f"{path}[{i}]") for i, v in enumerate(value)]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) or hasattr(value, "__array__"):
        return _numbers(np.asarray(value), path)
    raise ValueError(f"{path} is a {type(value).__name__}, which JSON cannot hold")


def _numbers(array: np.ndarray, path: str) -> Any:
    if array.dtype.kind not in "fiubU":
        raise ValueError(f"{path} has dtype {array.dtype}, which JSON cannot hold")
    if array.dtype.kind != "f":
        return array.tolist()
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        at = tuple(bad[0].tolist())
        where = path + "".join(f"[{i}]" for i in at)
        raise ValueError(
            f"{where} is {array[at]}, which JSON cannot hold; send None where a value "
            "is absent"
        )
    if array.itemsize < 8:
        # The decimals that tell a float32 from its neighbours: half the length.
        array = array.astype(str)
    return array.astype(float).tolist()
