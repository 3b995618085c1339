"""Walk the jaxpr of any JAX function: find its named activations, change them, tell
which of its parameters are kernels, or run it on values of another kind.

This is the only package that touches JAX's internal representation (`jax.extend`); the
rest of the library asks it. Calls (`jit`, `custom_jvp`, `custom_vjp`, `remat`) are
opened only where there is something of interest inside, so that everything else keeps
its own meaning, its derivative rules included. A custom derivative rule *around* a name
that is edited or read gives way to the derivative of what is inside it, because the
rule knows nothing of the edit. A loop with a counted number of steps (`scan`) is built
again around what is changed or read at each of them. Other loops and branches (`while`,
`cond`) are never opened: there may be none of a value inside, or any number.

`Compiled` is `jax.jit` for a user's functions: what they close over are its arguments.
`Batched` is the same of a function of one example, in parts of a size that suits CPUs.
`whole` runs once what would be a hundred small programs as one. `derivable` is a
function with gradients that are fast in loops on CPUs, `canonical` one that takes such
gradients.
"""

from sparsejax.interpret import primitives
from sparsejax.interpret._batched import Batched, fitting
from sparsejax.interpret._compiled import Compiled
from sparsejax.interpret._convolution import convolution
from sparsejax.interpret._derivable import canonical, derivable
from sparsejax.interpret._evaluate import evaluate
from sparsejax.interpret._flatten import flatten
from sparsejax.interpret._flow import Flow
from sparsejax.interpret._flow import Step as FlatStep
from sparsejax.interpret._flow import Value as FlatValue
from sparsejax.interpret._kernels import kernels
from sparsejax.interpret._loops import layered
from sparsejax.interpret._names import Site, sites, sites_of_one_more
from sparsejax.interpret._program import Program, trace
from sparsejax.interpret._replay import replay
from sparsejax.interpret._unroll import unroll
from sparsejax.interpret._walk import Step, unrolling, walk
from sparsejax.interpret._whole import whole

__all__ = [
    "Batched", "Compiled", "FlatStep", "FlatValue", "Flow", "Program",
    "Site", "Step", "canonical", "convolution", "derivable", "evaluate", "fitting",
    "flatten", "kernels", "layered", "primitives", "replay", "sites",
    "sites_of_one_more", "trace", "unroll", "unrolling", "walk", "whole",
]  # fmt: skip


def __dir__() -> list[str]:
    return list(__all__)
