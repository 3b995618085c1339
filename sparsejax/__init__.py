"""sparsejax: what does a neural network still compute once most of it is gone?

Any pure function `fn(params, x)` becomes `apply(params, masks, x)`. Masks are explicit
trees of zeros and ones; every experiment is a function of masks.

Submodules load when first used, and importing the package starts no JAX backend.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = (
    "checks", "data", "dissect", "experiments", "features", "flowgraph", "hypercube",
    "interpret", "lift", "masks", "models", "pages", "plots", "pretrained", "prune",
    "relevance", "removal", "rl", "runs", "sweep", "train", "trees", "weights",
)  # fmt: skip
_FUNCTIONS = dict.fromkeys(("masked", "bind", "activations", "edit"), "lift")

__all__ = [*_MODULES, *_FUNCTIONS]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"sparsejax.{name}")
    if name in _FUNCTIONS:
        module = importlib.import_module(f"sparsejax.{_FUNCTIONS[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'sparsejax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
