"""The page's own files, and in which order they are joined.

They lie in `flowgraph/page`. Each script is one constant that those after it use: ops
to formats are functions without a page; source, state and scene say what is shown; the
others show it. There is no build step: they are made lean when a page is written.
"""

import functools
from importlib import resources

from sparsejax.pages import lean as lean_

ORDER = tuple(
    "ops engine relevance views layout pictures formats source state scene boxes pane "
    "panel inputs outputs controls notes page".split()
)


@functools.cache
def lean(name: str) -> str:
    """A file of the page without comments and most spaces."""
    text = resources.files("sparsejax.flowgraph.page").joinpath(name).read_text("utf-8")
    return lean_.script(text) if name.endswith(".js") else lean_.style(text)
