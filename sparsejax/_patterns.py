"""Names of activations picked by name or by pattern."""

import fnmatch


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern with `*` and `?` stands for a name.

    Brackets stand for themselves, since names have them: "blocks[3]".

    Example:
        >>> matches("blocks[3]/out:in", "*[3]/out:*"), matches("blocks[3]", "blocks3")
        (True, False)
    """
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))
