"""The kernels of a flattened program, their names, what they read and what they make.

A kernel is a parameter that meets data in a product or is looked up in by data, as it
is or after operations on parameters and constants alone.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from sparsejax import trees
from sparsejax.interpret import FlatStep, FlatValue
from sparsejax.naming._axes import Axes


class Layer(NamedTuple):
    """A use of a kernel.

    Attributes:
        name: of the kernel, "#2" appended for its second use.
        step: the product, or the lookup.
        read: what the kernel reads; None for a lookup.
        read_axes: its unit axes, those that the kernel contracts.
        made: the result.
        made_axes: its unit axes, the free ones of the kernel.
    """

    name: str
    step: FlatStep
    read: FlatValue | None
    read_axes: Axes
    made: FlatValue
    made_axes: Axes


def layers(steps: Sequence[FlatStep], params) -> list[Layer]:
    """Every use of a kernel, in the order of the program."""
    uses = [(step, side) for step in steps for side in _sides(step)]
    name_of = _namer([step.inputs[side] for step, side in uses], params)
    counts: Counter[str] = Counter()
    found = []
    for step, side in uses:
        name = name_of(step.inputs[side])
        counts[name] += 1
        name += f"#{counts[name]}" if counts[name] > 1 else ""
        read, made = _unit_axes(step, side)
        data = step.inputs[1 - side] if step.is_product else None
        found.append(Layer(name, step, data, read, step.outputs[0], made))
    return found


def _sides(step: FlatStep) -> Iterator[int]:
    """Which operand of a step is a kernel, if one is."""
    kinds = [value.kind for value in step.inputs[:2]]
    if step.is_product and sorted(kinds) == ["data", "param"]:
        side = kinds.index("param")
        if side == 1 or step.kind == "dot_general":
            yield side
    elif step.kind in ("gather", "dynamic_slice") and kinds[0] == "param":
        if any(v.kind == "data" for v in step.inputs[1:]) and _looks_up(step):
            yield 0


def _looks_up(step: FlatStep) -> bool:
    """Whether rows come out, not a slice that the step of a loop takes for itself."""
    return step.outputs[0].kind == "data" and step.outputs[0].is_real


def _namer(kernels: Sequence[FlatValue], params) -> Callable[[FlatValue], str]:
    """The function from a kernel to its name: its path, as short as is clear."""
    arrays = {k: v for k, v in trees.by_path(params).items() if _is_array(v)}
    axes = [len(leaf.shape) for leaf in arrays.values()]
    paths = [
        "/".join(trees.names(path)).removesuffix("/value") or "params"
        for path in arrays
    ]

    def own(kernel):
        several = [(leaf, at) for leaf, at in kernel.leaves if axes[leaf] >= 2]
        return several or kernel.leaves

    used = {leaf for kernel in kernels for leaf, _ in own(kernel)}
    folders = Counter(paths[leaf].rpartition("/")[0] for leaf in used)

    def short(leaf):
        folder = paths[leaf].rpartition("/")[0]
        return folder if folder and folders[folder] == 1 else paths[leaf]

    def name(kernel):
        names = list(dict.fromkeys(short(leaf) + at for leaf, at in own(kernel)))
        common = os.path.commonprefix([name.split("/") for name in names])
        return "/".join(common) or names[0]

    return name


def _is_array(leaf) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _unit_axes(step: FlatStep, side: int) -> tuple[Axes, Axes]:
    """The unit axes of what a kernel reads, and of what it makes.

    They are counted in the order of the kernel's own axes, so that heads come before
    their features whatever the layout of the activation.
    """
    kernel = step.inputs[side]
    if step.kind == "conv_general_dilated":
        places = step.params["dimension_numbers"]
        return (places.lhs_spec[1],), (places.out_spec[1],)
    if step.kind == "gather":
        return None, tuple(step.params["dimension_numbers"].offset_dims)
    if step.kind == "dynamic_slice":
        sizes = step.params["slice_sizes"]
        return None, tuple(a for a, n in enumerate(sizes) if n == kernel.shape[a])
    groups: tuple[int, ...] = ()
    if step.kind == "ragged_dot_general":
        ragged = step.params["ragged_dot_dimension_numbers"]
        groups = tuple(ragged.rhs_group_dimensions)
        contracted, batch = ragged.dot_dimension_numbers
    else:
        contracted, batch = step.params["dimension_numbers"]
    other = 1 - side
    pairs = sorted(zip(contracted[side], contracted[other], strict=True))
    read = (*batch[other], *(axis for _, axis in pairs))
    lost = {*contracted[side], *batch[side], *groups}
    free = [axis for axis in range(len(kernel.shape)) if axis not in lost]
    shared = len(batch[0])
    left = len(step.inputs[0].shape) - len(contracted[0]) - shared
    start = shared + (left if side == 1 else 0)
    return read, (*range(shared), *range(start, start + len(free)))
