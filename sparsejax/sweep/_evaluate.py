"""`evaluate`: one function under very many masks."""

import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, PyTree

from sparsejax import checks, interpret, meshes, runs, trees
from sparsejax._progress import tqdm
from sparsejax.sweep import _checkpoint as checkpoint_
from sparsejax.sweep import _many as many
from sparsejax.sweep import _masks as masks_
from sparsejax.sweep._program import Program


@meshes.on_mesh
def evaluate(
    fn: Callable[[PyTree], PyTree],
    masks: PyTree | Callable[[Any], PyTree],
    *,
    count: int | None = None,
    batch_size: int | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    batched: Callable[[Callable, Array], PyTree] | None = None,
    mesh: Mesh | Any = None,
) -> PyTree:
    """`fn` of every mask.

    For values and gradients with respect to the masks pass `jax.value_and_grad(fn)`,
    with `has_aux=True` where `fn` returns more than its value.

    Args:
        fn: function of one mask tree, to a tree of arrays.
        masks: stacked masks, every leaf with the same leading axis; or a function from
            an index (int32) to one mask tree, which is then never held as a whole.
        count: number of masks; needed if `masks` is a function.
        batch_size: masks at a time on every device; by default 64 on CPUs and 65,536
            elsewhere, or as many as keep what the compiled program says it needs within
            16 MB (elsewhere a sixteenth of the memory), evened out over the batches.
        checkpoint: folder for finished parts, at most 128 files. The same call goes on
            from there. What is compared: number, shapes and dtypes; the masks (of
            those that a function makes, 256 spread evenly); and, to 1e-3 of the largest
            entry, the results of the first part on file, which are computed again. It
            may go on on another number of devices; of several processes each needs a
            folder of its own.
        progress: show a bar.
        batched: `batched(fn, indices)`, for masks that are a function of their index
            and as many as a power of two: the results for a batch of successive ones,
            again a power of two, where they share work; by default `fn` of each, under
            `vmap`.
        mesh: devices that the masks are split over, by default those of `jax.set_mesh`.
            If `fn` closes over arrays on explicit axes its work is spread as they are.

    Returns:
        The results as NumPy arrays, each with a leading axis over the masks. Where some
        are NaN, a warning says how many and shows the first such mask.

    Raises:
        ValueError: if the number of masks is missing, zero or not the same everywhere,
            if a mask is no array, if `batch_size` or `count` is no integer, if `fn`
            returns anything but arrays, or if the checkpoint is of another sweep.

    Example:
        >>> total = evaluate(lambda m: m.sum(), jnp.eye(3), progress=False)
        >>> total.tolist()
        [1.0, 1.0, 1.0]
    """
    count = None if count is None else checks.integer(count, "count")
    masks, make, total = masks_.read(masks, count)
    stacked = bool(jax.tree.leaves(masks))
    if batched is not None and (stacked or total & (total - 1)):
        raise ValueError(
            "batched is for masks that are a function of their index, and as many as "
            f"a power of two; got {total} {'stacked ' if stacked else ''}masks"
        )
    if batch_size is not None:
        batch_size = min(checks.integer(batch_size, "batch_size", 1), total)
    folder = None if checkpoint is None else Path(checkpoint)
    with meshes.over(mesh):
        return _evaluate(fn, masks, make, total, batch_size, folder, progress, batched)


def _evaluate(fn, masks, make, total, batch_size, folder, progress, batched) -> PyTree:
    """The results on the mesh that is JAX's context."""

    with _noted("the function that makes a mask from an index (int32)"):
        mask = jax.eval_shape(make, masks, jnp.int32(0))
    shapes = result_shapes(fn, mask)
    results = jax.tree.map(lambda s: np.empty((total, *s.shape), s.dtype), shapes)
    fn, span = interpret.canonical(fn), None  # of masks, within a loop over them
    if folder is not None:
        about = checkpoint_.described(masks, make, total, shapes)
        batch_size, span = checkpoint_.sizes(folder, about, batch_size)

    if batched is not None:
        run = many.grouped(fn, mask, total, batched)

        def batch(masks, indices):
            return run(indices)

    else:
        run = many.stacked(fn, mask, total)

        def batch(masks, indices):
            return run(jax.vmap(lambda index: make(masks, index))(indices))

    how = total, batch_size, span, batched is not None
    program = Program(batch, masks, *how, getattr(run, "largest", 0))
    span = program.span
    if folder is not None and not (folder / "sweep.json").exists():
        sizes = {"batch_size": batch_size or program.batch_size, "part": span}
        checkpoint_.write(folder, {**about, **sizes})
    starts = range(0, total, span)
    files = {s: folder / f"masks_{s:010d}.npz" for s in starts} if folder else {}

    def part(start):
        return jax.tree.map(lambda leaf: leaf[start : start + span], results)

    recorded = next((s for s in files if checkpoint_.fill(files[s], part(s))), None)
    if recorded is not None:
        checkpoint_.compare(program(recorded), part(recorded), folder)
    with tqdm(total=total, disable=not progress, unit="mask") as bar:
        for start in starts:
            here = part(start)
            if not files or not checkpoint_.fill(files[start], here):
                jax.tree.map(_fill, here, program(start))
                if files:
                    runs.write_arrays(files[start], checkpoint_.numbered(here))
            bar.update(min(span, total - start))
    _warn_of_nan(results, span, lambda i: make(masks, jnp.int32(i)))
    return results


def result_shapes(fn: Callable[[PyTree], PyTree], mask: PyTree) -> PyTree:
    """Shapes and dtypes of what `fn` returns for one mask, without running it.

    Args:
        fn: function of one mask tree.
        mask: such a tree, or its shapes and dtypes.

    Raises:
        ValueError: if it returns anything but a tree of arrays of numbers.

    Example:
        >>> shapes = result_shapes(lambda m: {"loss": m.sum(), "units": m}, jnp.ones(3))
        >>> shapes["loss"].shape, shapes["units"].shape
        ((), (3,))
    """

    def checked(mask):
        given = {k: jnp.shape(leaf) for k, leaf in trees.by_path(mask).items()}
        with _noted(f"fn of one mask, of shapes {given}"):
            out = fn(mask)
        _check_output(out)
        return out

    return jax.eval_shape(checked, mask)


@contextmanager
def _noted(what: str):
    """Say of an error where it comes from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"raised by {what}")
        raise


def _check_output(out) -> None:
    named = trees.by_path(out)
    if not named:
        raise ValueError(f"fn returned no arrays but {out!r}; expected a tree of them")
    for name, leaf in named.items():
        kind = getattr(leaf, "dtype", type(leaf))
        if kind not in (bool, int, float, complex) and not (
            isinstance(leaf, Array | np.ndarray | np.generic)
            and (jnp.issubdtype(kind, jnp.number) or kind in (bool, np.bool_))
        ):
            where = f" at {name!r}" if name else ""
            raise ValueError(
                f"fn returned a {getattr(kind, '__name__', kind)}{where}; expected "
                "arrays of numbers"
            )


def _fill(part, found) -> None:
    part[...] = found[: len(part)]


def _warn_of_nan(results, span, mask) -> None:
    """Say how many masks have a result that is NaN, and what the first one keeps."""
    leaves = [a for a in jax.tree.leaves(results) if a.dtype.kind in "fcV"]
    count, first = 0, -1
    total = len(leaves[0]) if leaves else 0
    for start in range(0, total, span):  # not all at once: results may be large
        parts = [np.isnan(leaf[start : start + span]) for leaf in leaves]
        bad = np.any([p.reshape(len(p), -1).any(axis=1) for p in parts], axis=0)
        if bad.any() and first < 0:
            first = start + int(bad.argmax())
        count += int(bad.sum())
    if count:
        kept = [_kept(*item) for item in trees.to_arrays(mask(first)).items()]
        more = f" and {len(kept) - 4} more" if len(kept) > 4 else ""
        warnings.warn(
            f"results of {count} of {total} masks are NaN; the first is mask {first}, "
            f"which keeps {'; '.join(kept[:4])}{more}",
            stacklevel=4,
        )


def _kept(name, mask) -> str:
    ones = np.flatnonzero(mask)
    units = f" ({', '.join(map(str, ones))})" if 0 < len(ones) <= 12 else ""
    where = f" of {name!r}" if name else ""
    return f"{len(ones)} of {mask.size} entries{where}{units}"
