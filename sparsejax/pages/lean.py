"""Scripts and styles without what nobody needs: a third shorter, and no build step.

For the library's own files, which keep to what these patterns can read: strings in
double quotes, and line ends where a statement could go on. Not a minifier for others.
"""

import re

__all__ = [
    "script",
    "style",
]


def __dir__() -> list[str]:
    return list(__all__)


def _templates(depth: int) -> str:
    """A pattern of template strings, with others inside them down to a depth."""
    inside = f"|{_templates(depth - 1)}" if depth else ""
    braces = r"\{[^{}`]*\}"
    filled = rf"\$\{{(?:[^{{}}`]|{braces}{inside})*\}}"
    return rf"`(?:\\.|[^`\\$]|\$(?!\{{)|{filled})*`"


# What stays as it is: strings, templates, and patterns where no division can be.
_STRING = r'"(?:\\.|[^"\\\n])*"'
_PATTERN = r"(?:(?<=[(,=&|])|(?<=[(,=&|] ))/(?![/* ])(?:\\.|[^/\\\n])+/"
_LITERAL = re.compile(
    rf"({_STRING}|{_templates(2)}|{_PATTERN})|//[^\n]*|/\*.*?\*/", re.DOTALL
)


def script(text: str) -> str:
    """Script without comments, and without spaces and line ends beside punctuation."""
    literals: list[str] = []

    def keep(match: re.Match) -> str:
        if match[1] is None:
            return ""
        literals.append(match[1])
        return '""'

    code = _LITERAL.sub(keep, text)
    if "`" in code or "'" in code:
        raise ValueError("a string in the script that `lean.script` cannot read")
    code = re.sub(r"\s*([=<>?:;,(){}\[\]&|*!]+)\s*", r"\1", code)
    code = re.sub(r"\s+([-+/])\s+(?![-+/])", r"\1", code)
    code = re.sub(r"\s*\n\s*", "\n", code).replace(";}", "}")
    rest = iter(literals)
    return re.sub('""', lambda _: next(rest), code).strip()


def style(text: str) -> str:
    """Style without the spaces that mean nothing."""
    text = re.sub(r"(?s)/\*.*?\*/", "", text)
    text = re.sub(r"\s*([{};,>])\s*|(?<=[a-z]:)\s+(?=\S)", r"\1", text)
    return re.sub(r"\s+", " ", text).replace(";}", "}").strip()
