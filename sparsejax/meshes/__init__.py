"""Work on several devices: masks, seeds, units and examples split over a mesh.

What is made of many alike things, each by itself, is split by `split`: every device
runs the same program on its own part of them, and nothing passes between devices. A
batch that one network trains on is spread by `take`, and XLA adds up gradients. The
mesh is that of `jax.set_mesh`, with axes of any kind, and all of its axes together
count as one. Results depend on keys and not on how many devices there are, beyond
rounding.

    mesh = jax.make_mesh((8,), ("all",))
    attribute = jax.vmap(lambda x: relevance.explain(fn, params, x).input)
    split(attribute, mesh=mesh)(images)

On a mesh with explicit axes an array's sharding is part of its type: indexing along an
axis that is spread over devices has to say where its result goes, and so have sums over
one. On arrays of other kinds `gathered` does nothing.

`by_default` gives a mesh to whatever can split its work and is given none, and brings
results home from it: the launchers' way, on one process or several.
"""

from sparsejax.meshes._default import by_default, on_mesh, spread
from sparsejax.meshes._places import context, fetch, lay, local, over, parts, put, room
from sparsejax.meshes._split import automatic, gathered, split, take

__all__ = [
    "automatic",
    "by_default",
    "context",
    "fetch",
    "gathered",
    "lay",
    "local",
    "on_mesh",
    "over",
    "parts",
    "put",
    "room",
    "split",
    "spread",
    "take",
]


def __dir__() -> list[str]:
    return list(__all__)
