"""Arrays of a program, as `_coupling` follows them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sparsejax.prune._compact._constants import Known
from sparsejax.prune._compact._slices import Ids


class Value(NamedTuple):
    """An array of a program.

    Attributes:
        ids: of the positions on every axis.
        known: what of it is constant.
        dtype: of the array.
    """

    ids: tuple[Ids, ...]
    known: Known
    dtype: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(ids) for ids in self.ids)


def where(step) -> str:
    return f"{step.name} at {step.place}"


def meets(step) -> str:
    return f"{where(step)} puts it together with what stays"


def what(step, verb: str) -> str:
    """Why a step keeps what it reads."""
    return f"{where(step)} {verb} it with others"


def result(step, ids: Sequence[Ids], known: Known) -> list[Value]:
    """The one result of a step."""
    return [Value(tuple(ids), known, step.dtype)]
