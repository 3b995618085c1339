"""Certificates: that two functions agree on a whole box of inputs, and not on samples.

One shared graph of their difference is bounded, in which equal parts cancel, and not
two graphs: that is several times tighter. Cheap answers come first: samples and
gradients look for an input at which it fails; intervals, lines and mixed-integer
programs look for a proof, each where the one before has left it open.

Proofs are about real numbers: what JAX computes in float32 may differ by rounding.
An input refutes only beyond that: by more than 16 units in the last place of the larger
output there. A proof needs all operations to be defined in the whole box, those too
whose results are multiplied by 0 or cancel.

Reference: Tjeng, Xiao, Tedrake, "Evaluating robustness of neural networks with mixed
integer programming", 2019 (arXiv 1711.07356).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import ArrayLike, Float

from sparsejax import checks, pages
from sparsejax.flowgraph import _claims, _funnel
from sparsejax.flowgraph._attack import Attack
from sparsejax.flowgraph._domain import Guarded


class Certificate(NamedTuple):
    """What is proved of the difference of two functions on a box.

    Attributes:
        proved: True where the claim holds on the whole box, False where the witness
            refutes it (beyond rounding, or as an output is not finite there), None
            where neither was found, or something might be undefined in the box, such as
            a logarithm. Without a claim, True where the witness reaches `bound`, to
            rounding: the largest difference is known.
        bound: nothing in the box is larger, proved: the largest absolute difference
            of an output or, of decisions, how far another class comes above the
            decision; not known (infinite) where samples or gradients refute, and where
            something might be undefined.
        witness: input at which the difference is `reached`, the largest that was seen;
            with `patched`, the input and the one that the patch comes from, stacked.
        by: "samples", "gradient", "interval", "linear" or "exact": what settled it, or
            the last that was tried.
        reached: the difference at the witness, as it is computed: above `bound` by
            rounding at most; not a number where an output is none.
    """

    proved: bool | None
    bound: float
    witness: Float[np.ndarray, "..."]
    by: str
    reached: float

    @pages.display
    def _repr_html_(self) -> str:
        verdict = {True: "proved", False: "refuted", None: "left open"}[self.proved]
        limit = self.bound if np.isfinite(self.bound) else "not known"
        rows = [
            ("largest difference, at most", limit),
            ("largest difference seen", self.reached),
            ("settled by, or tried last", self.by),
        ]
        return pages.output(pages.listing(rows, ("", ""), title=f"Claim: {verdict}"))


def certify(
    full: Callable,
    circuit: Callable,
    x: ArrayLike | Any,
    low: ArrayLike | Any,
    high: ArrayLike | Any,
    *,
    delta: float | Any | None = None,
    same_decision: bool = False,
    margin: float | Any = 0.0,
    patched: Mapping[str, ArrayLike] | Any = (),
    samples: int = 256,
    time_limit: float | Any = 10.0,
) -> Certificate:
    """Prove that a circuit does what the whole network does, on a box of inputs.

    Args:
        full, circuit: functions of one array x that return arrays of one shape;
            parameters and masks are closed over.
        x: an input of float32 or float64; says the shape, and whose decision is asked
            for.
        low, high: ends of the box, numbers or arrays of x's shape.
        delta: the claim that no output differs by more. With neither this nor
            `same_decision`, the largest difference is looked for.
        same_decision: the claim that `circuit` decides in the whole box as `full` does
            at x: that this output is the largest, ties aside, of one row of classes.
        margin: by how much it must be the largest.
        patched: masks of named activations of `circuit`, 0 for units that are removed:
            they take whatever values they take in `full` at another input of the box,
            all at the same one, and no constant. The claim is then of all pairs of
            inputs.
        samples: how many inputs to try first, the same ones at every call.
        time_limit: seconds for each mixed-integer program; infinite for no limit.

    Returns:
        The certificate. A witness has been evaluated by the functions themselves.

    Raises:
        ValueError: for a box that is empty or not finite, functions whose outputs
            differ in shape or are not real, a negative delta, a primitive that has no
            graph, numbers of fewer than 32 bits, and outputs that have no limits in
            the box; for decisions of several rows, or not a number at x.

    Example:
        >>> import jax.numpy as jnp
        >>> def full(x):
        ...     return jax.nn.relu(x) + 0.01 * jnp.abs(x[::-1])
        >>> certify(full, jax.nn.relu, jnp.zeros(2), -1, 1, delta=0.1).proved
        True
        >>> found = certify(full, jax.nn.relu, jnp.zeros(2), -1, 1, delta=0.001)
        >>> found.proved, found.by, round(found.reached, 3)
        (False, 'samples', 0.01)
    """
    time_limit = _claims.number(time_limit, "time_limit", infinite=True)
    claim = _claims.claim(delta, same_decision, margin)
    box = _claims.box(x, low, high, same_decision, "full, circuit, ")
    if patched:
        full, circuit = _claims.patch(full, circuit, patched)
        box = box.twice()
    claim = _claims.decided(claim, full, circuit, box)
    outputs = _claims.outputs(claim, full, circuit)

    def fn(flat):
        return outputs(*box.split(flat))

    samples = checks.integer(samples, "samples", 1)
    graph = Guarded(fn, jax.ShapeDtypeStruct(box.low.shape, box.dtype))
    size = _claims.size(claim, full, circuit)
    attack = Attack(
        lambda flat, _: claim.signed(fn(flat)), box.low, box.high, samples=samples,
        dtype=box.dtype, size=lambda flat, _: size(*box.split(flat)),
    )  # fmt: skip
    settled = _funnel.settle(
        claim, attack, (), lambda: graph.on(box.low, box.high), time_limit, {}
    )
    return Certificate(*settled._replace(witness=box.shaped(settled.witness)))
