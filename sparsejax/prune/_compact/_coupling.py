"""How the axes of a program's arrays hang together: a rule for every primitive.

One walk gives the positions on every axis their ids (`_slices`), says which must be
kept or removed together, and follows what is constant (`_constants`). A primitive
without a rule keeps everything that it reads.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import interpret
from sparsejax.prune._compact import _constants as constants
from sparsejax.prune._compact import _reads as reads
from sparsejax.prune._compact import _rules as rules
from sparsejax.prune._compact._slices import FIXED, Ids, Slices
from sparsejax.prune._compact._values import Value, meets, where


class Record(NamedTuple):
    """One step of a program.

    Attributes:
        name: of the primitive.
        operands, results: ids on every axis of each.
        inner: the steps of a call or of a loop's body.
    """

    name: str
    operands: list[tuple[Ids, ...]]
    results: list[tuple[Ids, ...]]
    inner: list["Record"]


class Coupling:
    """The rule for `interpret.walk`, and what it has met.

    Attributes:
        slices: ids and what holds among them.
        records: the steps in order.
        named: the named activations, masked.
    """

    def __init__(self, nodes: Mapping[str, Any]):
        self.slices, self.nodes = Slices(), nodes
        self.records: list[Record] = []
        self.named: dict[str, Value] = {}

    def run(self, program: interpret.Program, params: int) -> list[Value]:
        """Walk a program whose first inputs are parameters; their values."""
        inputs = [self.parameter(leaf) for leaf in program.inputs[:params]]
        data = [self.fixed(np.shape(x), x.dtype) for x in program.inputs[params:]]
        for out in interpret.walk(program, [*inputs, *data], self.rule):
            self.pin(self.value(out), "it is part of the result")
        return inputs

    def parameter(self, leaf) -> Value:
        return Value(
            tuple(self.slices.fresh(n) for n in np.shape(leaf)),
            constants.constant(leaf),
            leaf.dtype,
        )

    def fixed(self, shape: tuple[int, ...], dtype) -> Value:
        """An array of which everything varies and stays."""
        ids = tuple(np.full(n, FIXED) for n in shape)
        return Value(ids, constants.unknown(len(shape)), dtype)

    def value(self, argument) -> Value:
        """What the walk hands over, constants of the program among it."""
        if isinstance(argument, Value):
            return argument
        dtype = getattr(argument, "dtype", None)
        ids = tuple(self.slices.fresh(n) for n in np.shape(argument))
        dtype = jnp.result_type(argument) if dtype is None else dtype
        return Value(ids, constants.constant(argument), dtype)

    def pin(self, value: Value, reason: str, axes: Sequence[int] | None = None) -> None:
        for axis in range(len(value.ids)) if axes is None else axes:
            self.slices.pin(value.ids[axis], reason)

    def rule(self, step: interpret.Step, arguments: list) -> list:
        """The results of one step."""
        operands = [self.value(argument) for argument in arguments]
        around, self.records = self.records, []
        if step.enter:
            results = [self.value(v) for v in step.enter(operands, self.rule)]
        else:
            rule = rules.rule(step.name)
            results = None if rule is None else rule(self, step, operands)
            if results is None:
                results = self.anything(step, operands)
        record = Record(
            step.name,
            [value.ids for value in operands],
            [value.ids for value in results],
            self.records,
        )
        self.records = [*around, record]
        return results

    def anything(self, step, operands: list[Value]) -> list[Value]:
        """A step without a rule: all of it stays."""
        for value in operands:
            self.pin(value, f"{where(step)} reads it whole")
        like = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in operands]
        outs = jax.eval_shape(lambda *arrays: step.run(*arrays), *like)
        return [self.fixed(out.shape, out.dtype) for out in outs]

    def together(self, step, values: Sequence[Value], skip: Sequence[int] = ()) -> list:
        """Ids of arrays of one shape, which stay or go together, but for some axes."""
        ids = [*values[0].ids]
        for value in values[1:]:
            for axis, other in enumerate(value.ids):
                if axis in skip:
                    continue
                if len(other) != len(ids[axis]):  # one for all
                    self.slices.pin(min(ids[axis], other, key=len), meets(step))
                    ids[axis] = max(ids[axis], other, key=len)
                else:
                    ids[axis] = self.slices.unite(ids[axis], other, meets(step))
        return ids

    def read(self, step, needs: reads.Needs) -> None:
        self.slices.read(needs, f"{where(step)} reads it, where it is not zero")
