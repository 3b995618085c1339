"""Name the activations of any model by the parameters that make them.

`named(fn)` is `fn` with names put in: every analysis of named activations then works on
models of Flax, Equinox, Haiku, Keras or one's own as they are. No library is imported;
the function itself tells where its parameters meet data. A *kernel* K is a parameter
that is multiplied with data (a dense layer, a convolution, an embedding's lookup),
called by its path; around it there are

    K:in --> [kernel] --> + bias, norm --> K:pre --> gelu, ... --> K:post --> K:sum

| name | activation |
|---|---|
| `K:in` | what the kernel reads: heads, pooled maps, the normalized stream |
| `K:out` | rows as looked up, before positions are added (lookups only) |
| `K:pre` | after sums and products with parameters and constants |
| `K:post` | the last that is made of `K:pre` alone, as large: hidden units |
| `K:sum` | the sum with other data that reads `K:post`: the residual stream |
| `K:scores`, `K:pattern` | of attention whose mix the kernel reads |

The second use of a kernel is `K#2`; a layer of a stack that is taken apart, `K[3]`. The
units are always in one last axis, whatever the layout: images have their channels last,
heads and their features are one axis (`views` shows them apart).
"""

from sparsejax.naming._named import named, points
from sparsejax.naming._points import Point
from sparsejax.naming._table import Points

__all__ = ["Point", "Points", "named", "points"]


def __dir__() -> list[str]:
    return list(__all__)
