"""What the fields of a config mean, from its docstring."""

import inspect
import re


def help_texts(config: type) -> dict[str, str]:
    """The entries under "Attributes:" in a class's docstring, `{field: text}`."""
    _, _, text = (inspect.getdoc(config) or "").partition("Attributes:")
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(entry.split()) for name, entry in entries}
