"""One function under very many masks.

`fn` is written for one tree of masks. Here it is compiled once, as a loop over batches
(`lax.map` of `vmap`), and called a bounded number of times: memory is that of one batch
and of the results, which are NumPy arrays. Arrays that `fn` closes over, such as data
and parameters, are arguments of the program: other ones compile nothing. The masks may
be a function of their index, and are then never held. Results do not depend on the
batch size, nor on the number of devices that a mesh has, beyond rounding.

A sweep with a checkpoint can be killed and started again: it goes on where it was, and
its results are bit for bit those of a sweep that was not.
"""

from sparsejax.sweep._evaluate import evaluate, result_shapes

__all__ = ["evaluate", "result_shapes"]


def __dir__() -> list[str]:
    return list(__all__)
