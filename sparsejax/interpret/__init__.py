"""Walk the jaxpr of any JAX function: find its named activations, change them, tell
which of its parameters are kernels, or run it on values of another kind.

This is the only package that touches JAX's internal representation (`jax.extend`); the
rest of the library asks it. Calls (`jit`, `custom_jvp`, `custom_vjp`, `remat`) are
opened only where there is something of interest inside, so that everything else keeps
its own meaning, its derivative rules included. A custom derivative rule *around* a name
that is edited or read gives way to the derivative of what is inside it, because the
rule knows nothing of the edit. Loops and branches (`scan`, `while`, `cond`) are never
opened: a name inside one stands for many values.
"""

from sparsejax.interpret import primitives
from sparsejax.interpret._kernels import kernels
from sparsejax.interpret._names import Site, evaluate, sites, sites_of_one_more
from sparsejax.interpret._program import Program, trace
from sparsejax.interpret._walk import Step, walk

__all__ = [
    "Program", "Site", "Step", "evaluate", "kernels", "primitives", "sites",
    "sites_of_one_more", "trace", "walk",
]  # fmt: skip


def __dir__() -> list[str]:
    return list(__all__)
