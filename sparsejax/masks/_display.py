"""Masks as a line, and as a table."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsejax import pages, trees
from sparsejax.pages import counted


def text(weights: Any, nodes: Any) -> str:
    """What masks are of, in one line that needs none of their values.

    Example:
        >>> text({"w": jnp.ones((2, 3)), "b": jnp.ones(())}, {"hidden": jnp.ones(3)})
        'Masks(weights: 6 entries in 1 of 2 arrays; nodes: hidden (3,))'
    """
    if not isinstance(nodes, Mapping):  # axes of a `vmap`, specs, a tree mapped to them
        return f"Masks(weights={weights!r}, nodes={nodes!r})"
    leaves = trees.by_path(weights).values()
    full = [leaf for leaf in leaves if jnp.ndim(leaf)]
    entries = counted(sum(jnp.size(leaf) for leaf in full), "entry", "entries")
    some = [f"{name} {jnp.shape(mask)}" for name, mask in list(nodes.items())[:4]]
    some += [f"{len(nodes) - 4} more"] if len(nodes) > 4 else []
    return (
        f"Masks(weights: {entries} in {len(full)} of {counted(len(leaves), 'array')}; "
        f"nodes: {', '.join(some) or 'none'})"
    )


def html(weights: Any, nodes: Mapping[str, Any]) -> str:
    """A row for each mask: how many of its entries are kept."""
    groups = [("weights", trees.by_path(weights)), ("nodes", nodes)]
    rows, totals = [], []
    for kind, masks in groups:
        full = {name: mask for name, mask in masks.items() if jnp.ndim(mask)}
        counts = {k: int(np.count_nonzero(np.asarray(m))) for k, m in full.items()}
        kept, all_ = sum(counts.values()), sum(jnp.size(m) for m in full.values())
        totals += [f"{kept:,} of {all_:,} {kind} kept"] if all_ else []
        rows += [
            _row(kind, name, mask, counts.get(name)) for name, mask in masks.items()
        ]
    header = ("", "name", "shape", "kept", "of", "density", "")
    title = "Masks: " + (", ".join(totals) or "nothing that is pruned")
    return pages.output(pages.listing(rows, header, title=title))


def _row(kind: str, name: str, mask: Any, kept: int | None) -> tuple:
    if kept is None:
        return kind, name or ".", "never\u00a0pruned", None, None, None, ""
    size = jnp.size(mask)
    share = kept / max(size, 1)
    shape = "\u00a0×\u00a0".join(map(str, jnp.shape(mask)))
    return kind, name or ".", shape, kept, size, f"{share:.1%}", pages.share(share)
