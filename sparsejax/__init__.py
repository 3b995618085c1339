"""sparsejax: what does a neural network still compute once most of it is gone?

Any pure function `fn(params, x)` becomes `apply(params, masks, x)`. Masks are explicit
trees of zeros and ones; every experiment is a function of masks.

Submodules load when first used, and importing the package starts no JAX backend.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.2.0"

__all__ = [
    "activations",
    "bind",
    "checks",
    "circuits",
    "data",
    "dissect",
    "edit",
    "experiments",
    "features",
    "flowgraph",
    "hypercube",
    "interpret",
    "lift",
    "masked",
    "masks",
    "meshes",
    "models",
    "named",
    "naming",
    "pages",
    "plots",
    "points",
    "pretrained",
    "prune",
    "relevance",
    "removal",
    "rl",
    "runs",
    "sweep",
    "train",
    "trees",
    "unrolled",
    "weights",
]
_FROM = dict.fromkeys(("activations", "bind", "edit", "masked", "unrolled"), "lift")
_FROM |= dict.fromkeys(("named", "points"), "naming")

# Editors and type checkers read the imports, and report a name that is not among them;
# a `__getattr__` that they saw would make any name valid.
if TYPE_CHECKING:
    from sparsejax import (
        checks,
        circuits,
        data,
        dissect,
        experiments,
        features,
        flowgraph,
        hypercube,
        interpret,
        lift,
        masks,
        meshes,
        models,
        naming,
        pages,
        plots,
        pretrained,
        prune,
        relevance,
        removal,
        rl,
        runs,
        sweep,
        train,
        trees,
        weights,
    )
    from sparsejax.lift import activations, bind, edit, masked, unrolled
    from sparsejax.naming import named, points
else:

    def __getattr__(name: str):
        if name in _FROM:
            return getattr(importlib.import_module(f"sparsejax.{_FROM[name]}"), name)
        if name in __all__:
            return importlib.import_module(f"sparsejax.{name}")
        raise AttributeError(f"module 'sparsejax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
