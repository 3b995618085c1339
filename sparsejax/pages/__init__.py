"""The one offline HTML shell under every page that the library makes.

A page is one file that works from a folder, without a network: style, data, pictures
and script are inside it, and its Content-Security-Policy forbids everything else. Build
the pieces (`section`, `figure_svg`, `table`, ...), join them with `page`, and write
the result with `runs.write_text`. Anything that is not `Html` is escaped.

A page's own script finds the kit in one object `sj` (see kit.js): `sj.data`, elements,
number formats, sign colours, painted pictures, sliders, and state in the address.

What results show of themselves in a notebook is made of `listing`, `bar`, `share` and
`signed`, joined by `output`; `frame` puts a whole page there, and `display` falls back
to text. Not for servers; and what a page shows is computed before, by its caller.
"""

from . import lean
from ._document import Page, page
from ._markup import (
    Html,
    columns,
    counted,
    data_uri,
    facts,
    figure_svg,
    image,
    join,
    section,
    slot,
    table,
    tag,
)
from ._outputs import (
    bar,
    display,
    frame,
    listing,
    output,
    share,
    signed,
    signed_picture,
)
from ._png import png, signed_png

__all__ = [
    "Html",
    "Page",
    "bar",
    "columns",
    "counted",
    "data_uri",
    "display",
    "facts",
    "figure_svg",
    "frame",
    "image",
    "join",
    "lean",
    "listing",
    "output",
    "page",
    "png",
    "section",
    "share",
    "signed",
    "signed_picture",
    "signed_png",
    "slot",
    "table",
    "tag",
]


def __dir__() -> list[str]:
    return list(__all__)
