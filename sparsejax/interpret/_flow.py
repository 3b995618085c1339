"""The steps and values of a flattened program."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp

from sparsejax.interpret import _program as program_
from sparsejax.interpret import primitives as families

RULES = families.CALLS - families.PLAIN_CALLS - families.REMATS
# The result has the operand's entries, each once or repeated along an axis of its own.
_MOVES = (families.IDENTITIES | families.RESHAPES | families.CASTS) - {"rev"}
_MOVES |= {"broadcast_in_dim"}
_KEEPS_PLACES = families.IDENTITIES | families.ELEMENTWISE


class Frame(NamedTuple):
    """A loop, a branch or a custom derivative rule around a step.

    Attributes:
        kind: of the primitive, "scan", "while", "cond", "custom_jvp_call" and so on.
        length: how many steps a scan has; 0 for others.
        key: of the equation.
    """

    kind: str
    length: int
    key: tuple[int, ...]


@dataclass(eq=False, slots=True)
class Value:
    """A value of the flattened program.

    Attributes:
        shape, dtype: as the function has it.
        kind: "param" for what is made of parameters and constants alone, "const" for
            what is made of constants, else "data".
        leaves: of a "param": which parameters, each with the index of a static slice,
            `((leaf, "[3]"), ...)`.
        key: where it is made; the "equation" of an input is -1. None for constants.
        loops, rules: what is around the step that makes it, from outside in.
        made: the step that makes it; None for inputs and constants.
        readers: the steps that read it.
        is_result: whether fn, or the body of a loop around it, returns it.
    """

    shape: tuple[int, ...]
    dtype: Any
    kind: str
    leaves: tuple[tuple[int, str], ...] = ()
    key: tuple[int, ...] | None = None
    loops: tuple[Frame, ...] = ()
    rules: tuple[Frame, ...] = ()
    made: "Step | None" = None
    readers: list["Step"] = field(default_factory=list)
    is_result: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_real(self) -> bool:
        return bool(jnp.issubdtype(self.dtype, jnp.inexact))


@dataclass(eq=False, slots=True)
class Step:
    """A primitive of the flattened program; the result of a custom rule is one too."""

    kind: str
    params: dict[str, Any]
    inputs: list[Value]
    outputs: list[Value]
    loops: tuple[Frame, ...]
    number: int
    sources: tuple

    @property
    def place(self) -> str:
        """Where in the user's code it comes from, for messages."""
        known = filter(None, map(program_.place, self.sources))
        return next(known, "an unknown place")

    @property
    def is_product(self) -> bool:
        return self.kind in families.PRODUCTS

    @property
    def only_moves(self) -> bool:
        return self.kind in _MOVES

    @property
    def ends_rule(self) -> bool:
        """Whether it hands on what a custom derivative rule makes, as it is."""
        return self.kind in RULES

    @property
    def keeps_places(self) -> bool:
        """Whether entries stay in place where the result has the operand's shape."""
        return self.kind in _KEEPS_PLACES or self.ends_rule

    @property
    def is_elementwise(self) -> bool:
        """Whether each entry of the result is made of one entry of each operand."""
        known = self.kind in families.ELEMENTWISE or self.ends_rule
        shapes = {v.shape for v in self.inputs if v.kind == "data"}
        return known and shapes == {self.outputs[0].shape}


class Flow(NamedTuple):
    """A flattened program.

    Attributes:
        steps: in the order of the program.
        stacked: keys of the loops that take slices of parameters, one a step.
    """

    steps: list[Step]
    stacked: set[tuple[int, ...]]
