"""Arrays of a program, as `_coupling` follows them."""

from typing import Any, NamedTuple

from sparsejax.prune._constants import Known
from sparsejax.prune._slices import Ids


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
