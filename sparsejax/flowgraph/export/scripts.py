"""The page's own files: in which order they are joined, and without what nobody needs.

They lie in `flowgraph/page`. Each script is one constant that those after it use: ops
to formats are functions without a page; source, state and scene say what is shown; the
others show it. There is no build step: they are made lean when a page is written.
"""

import functools
import re
from importlib import resources

ORDER = tuple(
    "ops engine views layout pictures formats source state scene boxes pane panel "
    "inputs outputs controls notes page".split()
)


@functools.cache
def lean(name: str) -> str:
    """A file of the page without comments and most spaces: a third shorter."""
    text = resources.files("sparsejax.flowgraph.page").joinpath(name).read_text("utf-8")
    return _tight(text) if name.endswith(".js") else _tight_rules(text)


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


def _tight(text: str) -> str:
    """Script without comments, and without spaces and line ends beside punctuation."""
    literals: list[str] = []

    def keep(match: re.Match) -> str:
        if match[1] is None:
            return ""
        literals.append(match[1])
        return '""'

    code = _LITERAL.sub(keep, text)
    if "`" in code or "'" in code:
        raise ValueError("a string in the page's script that `_tight` cannot read")
    code = re.sub(r"\s*([=<>?:;,(){}\[\]&|*!]+)\s*", r"\1", code)
    code = re.sub(r"\s+([-+/])\s+(?![-+/])", r"\1", code)
    code = re.sub(r"\s*\n\s*", "\n", code).replace(";}", "}")
    rest = iter(literals)
    return re.sub('""', lambda _: next(rest), code).strip()


def _tight_rules(text: str) -> str:
    """Style without the spaces that mean nothing."""
    text = re.sub(r"(?s)/\*.*?\*/", "", text)
    text = re.sub(r"\s*([{};,>])\s*|(?<=[a-z]:)\s+(?=\S)", r"\1", text)
    return re.sub(r"\s+", " ", text).replace(";}", "}").strip()
