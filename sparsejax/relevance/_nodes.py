"""Arrays that relevance may reach, and the steps between them."""

import dataclasses
from typing import Any

import jax.numpy as jnp


@dataclasses.dataclass(eq=False)
class Node:
    """An array that relevance may reach.

    Attributes:
        value: the array.
        baseline: the array for the baseline, if there is one.
        change: how far the array is from the baseline's.
        origin: "data" if it depends on the input; "stopped" if it does so without a
            derivative (a comparison); "param" for sums of moved parameters.
        path: of the parameter that it is made of, "" otherwise.
        entry: the step that made it, None for inputs.
        nonnegative: whether no input makes it negative.
        gate: whether it weighs other values: a softmax, one over a norm.
        dominator: the array that every elementwise way to it passes last.
        readers: the steps that read it.
    """

    value: Any
    baseline: Any = None
    change: Any = None
    origin: str = "data"
    path: str = ""
    entry: "Entry | None" = None
    nonnegative: bool = False
    gate: bool = False
    dominator: "Node | None" = None
    depth: int = 0
    readers: list = dataclasses.field(default_factory=list)

    @property
    def delta(self):
        """The value, or how far it is from the baseline's."""
        return self.value if self.baseline is None else self.change


@dataclasses.dataclass(eq=False)
class Entry:
    """One step of the function.

    Attributes:
        step: the primitive, or a call that is one elementwise function.
        inputs: `Node`s, and arrays where nothing is tracked.
        outputs: what it made.
        label: a name for what it adds: "net/dense_0/add".
        number: how many came before.
        source: if it ends a stretch that is an elementwise function, of what array.
        rectifier: whether it is a ReLU.
        slope: of that function, from the baseline to the array.
    """

    step: Any
    inputs: list
    outputs: list[Node]
    label: str
    number: int
    source: Node | None = None
    rectifier: bool = False
    slope: Any = None

    def of(self, *origins: str) -> list[int]:
        """Positions of the operands of these origins."""
        return [i for i, x in enumerate(self.inputs) if origin(x) in origins]


@dataclasses.dataclass
class Tape:
    """All steps, what went in and what came out."""

    entries: list[Entry]
    params: list[Node | None]
    inputs: list[Node | None]
    outputs: list
    names: dict[str, Node]


def origin(x) -> str:
    """Of a node; "constant" for plain arrays."""
    return x.origin if isinstance(x, Node) else "constant"


def value(x):
    """The array of a node, or the array."""
    return x.value if isinstance(x, Node) else x


def baseline(x):
    """The baseline's array; of plain arrays themselves."""
    return x.baseline if isinstance(x, Node) else x


def change(x):
    """How far an operand is from the baseline's; of indices and choices themselves."""
    if isinstance(x, Node):
        return x.delta
    real = jnp.issubdtype(jnp.result_type(x), jnp.floating)
    return jnp.zeros_like(x) if real else x
