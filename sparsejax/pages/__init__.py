"""The one offline HTML shell under every page that the library makes.

A page is one file that works from a folder, without a network: style, data, pictures
and script are inside it, and its Content-Security-Policy forbids everything else. Build
the pieces (`section`, `figure_svg`, `table`, ...), join them with `page`, and write
the result with `runs.write_text`. Anything that is not `Html` is escaped.

A page's own script finds the kit in one object `sj` (see kit.js): `sj.data`, elements,
number formats, sign colours, painted pictures, sliders, and state in the address.

Not for notebooks or servers; and what a page shows is computed before, by its caller.
"""

from ._document import page as page
from ._markup import Html as Html
from ._markup import columns as columns
from ._markup import counted as counted
from ._markup import data_uri as data_uri
from ._markup import facts as facts
from ._markup import figure_svg as figure_svg
from ._markup import image as image
from ._markup import join as join
from ._markup import section as section
from ._markup import slot as slot
from ._markup import table as table
from ._markup import tag as tag
from ._png import png as png
from ._png import signed_png as signed_png
