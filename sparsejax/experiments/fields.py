"""What the fields of a config mean, from its docstring, and what they may be."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sparsejax import trees


def help_texts(config: type) -> dict[str, str]:
    """The entries under "Attributes:" in a class's docstring, `{field: text}`."""
    _, _, text = (inspect.getdoc(config) or "").partition("Attributes:")
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(entry.split()) for name, entry in entries}


def check_choices(config: Any, choices: Mapping[str, Sequence[str]]) -> None:
    """Raise a `ValueError` for the first field that is not one of its choices."""
    for field, known in choices.items():
        value = getattr(config, field)
        if value not in known:
            raise ValueError(
                f"unknown {field} {value!r}; there are {trees.listed(known)}"
            )
