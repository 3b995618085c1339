"""The one offline HTML shell under every page that the library makes.

A page is one file that works from a folder, without a network: style, data, pictures
and script are inside it, and its Content-Security-Policy forbids everything else. Build
the pieces (`section`, `figure_svg`, `table`, ...), join them with `page`, and write
the result with `runs.write_text`. Anything that is not `Html` is escaped.

A page's own script finds the kit in one object `sj` (see kit.js): `sj.data`, elements,
number formats, sign colours, painted pictures, sliders, and state in the address.

Not for notebooks or servers; and what a page shows is computed before, by its caller.
"""

from .document import page as page
from .markup import Html as Html
from .markup import columns as columns
from .markup import counted as counted
from .markup import data_uri as data_uri
from .markup import facts as facts
from .markup import figure_svg as figure_svg
from .markup import image as image
from .markup import join as join
from .markup import section as section
from .markup import slot as slot
from .markup import table as table
from .markup import tag as tag
from .png import png as png
from .png import signed_png as signed_png
