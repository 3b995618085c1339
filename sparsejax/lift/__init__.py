"""Open any JAX function: mask its weights and units, read and edit its activations.

A function names the activations worth talking about with JAX's own
`jax.ad_checkpoint.checkpoint_name(h, "hidden_0")`; the last axis is the unit axis. Of
several activations called "mlp" the second is "mlp#2", the third "mlp#3", in the order
of the program, here and in every analysis. The lifted functions are ordinary JAX
functions: `jit`, `vmap` and `grad` them. Write for one example or one batch, lift
first, `vmap` and `grad` outside: inside a `vmap` of fn's own the last axis of an
activation can be the batch, and inside a gradient of its own a change of the value
would not be in the derivative.

What is named in a `scan` (also `lax.map`, and `fori_loop` between fixed bounds) stands
for one value a step: its activations, masks and what replaces it have the loop's axis
first, one for each loop around the name. `unrolled` writes the steps out instead.
"""

from sparsejax.lift._activations import activations, edit, unrolled
from sparsejax.lift._checks import check_names, check_not_looped
from sparsejax.lift._masked import bind, masked

__all__ = [
    "activations",
    "bind",
    "check_names",
    "check_not_looped",
    "edit",
    "masked",
    "unrolled",
]


def __dir__() -> list[str]:
    return list(__all__)
