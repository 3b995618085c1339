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

import hashlib
import json
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, PyTree
from tqdm import tqdm

from sparsejax import checks, interpret, meshes, runs, trees

__all__ = [
    "evaluate",
    "result_shapes",
]


def __dir__() -> list[str]:
    return list(__all__)


# Calls of the compiled loop in one sweep, and so files in a checkpoint.
_CALLS = 128
# Masks in a batch, at most, and bytes of its temporaries. On CPUs the fastest batches
# were those that fit in the cache: 10 to 16 MB, for networks from 2-20-2 to
# 784-300-100-10, values and gradients; more than 64 masks were never faster.
_BATCH = {"cpu": (64, 16e6)}
_BATCH_ELSEWHERE = (1024, 1e9)
_PART = re.compile(r"masks_\d{10}\.npz")


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
        batch_size: masks at a time on every device; by default 64 on CPUs and 1024
            elsewhere, or the power of two that keeps what the compiled program says it
            needs within 16 MB (1 GB elsewhere), evened out over the batches.
        checkpoint: folder for finished parts, at most 128 files. The same call goes on
            from there. What is compared: number, shapes and dtypes; the masks (of
            those that a function makes, 256 spread evenly); and, to 1e-3 of the largest
            entry, the results of the first part on file, which are computed again. It
            may go on on another number of devices; of several processes each needs a
            folder of its own.
        progress: show a bar.
        batched: `batched(fn, indices)`, for masks that are a function of their index:
            the results for a batch of successive ones, where they share work; by
            default `fn` of each, under `vmap`.
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
    masks, make, total = _masks(masks, count)
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
    span = None
    if folder is not None:
        leaves = trees.by_path(shapes)
        about = {
            "count": total,
            "masks": _digest(masks, make, total),
            "results": {_plain(k): f"{s.dtype}{s.shape}" for k, s in leaves.items()},
        }
        batch_size, span = _recorded(folder, about, batch_size)

    def batch(masks, indices):
        if batched is not None:
            return batched(fn, indices)
        return jax.vmap(lambda index: fn(make(masks, index)))(indices)

    program = _Program(batch, masks, total, batch_size, span, batched is not None)
    span = program.span
    if folder is not None and not (folder / "sweep.json").exists():
        sizes = {"batch_size": batch_size or program.batch_size, "part": span}
        _record(folder, {**about, **sizes})
    starts = range(0, total, span)
    files = {s: folder / f"masks_{s:010d}.npz" for s in starts} if folder else {}

    def part(start):
        return jax.tree.map(lambda leaf: leaf[start : start + span], results)

    recorded = next((s for s in files if _read(files[s], part(s))), None)
    if recorded is not None:
        _compare(program(recorded), part(recorded), folder)
    with tqdm(total=total, disable=not progress, unit="mask") as bar:
        for start in starts:
            here = part(start)
            if not files or not _read(files[start], here):
                jax.tree.map(_fill, here, program(start))
                if files:
                    runs.write_arrays(files[start], _numbered(here))
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


def _masks(masks, count) -> tuple[PyTree, Callable, int]:
    """Stacked masks (or nothing), a function of them and an index, and their number."""
    if callable(masks):
        if count is None:
            raise ValueError(
                "pass count=, the number of masks that the function makes; stacked "
                "masks in a tree that can be called, as an Equinox module, look like "
                "one: put them in a tuple, and take them out in fn"
            )
        if not 1 <= count < 2**31:
            raise ValueError(f"count is {count}; expected 1 to 2^31 - 1 masks")
        function = masks
        return (), lambda _, index: function(index), count
    if isinstance(masks, Iterator):
        masks = _mask("", masks)
    masks = trees.map_with_path(_mask, masks)
    lengths = {k: leaf.shape[:1] for k, leaf in trees.by_path(masks).items()}
    if not lengths:
        raise ValueError("there are no masks: the tree of masks has no arrays")
    if len(set(lengths.values())) != 1 or () in lengths.values():
        raise ValueError(
            f"masks have leading axes of different lengths: {lengths}; stack every "
            "leaf, or close over what does not vary"
        )
    (have,) = next(iter(lengths.values()))
    if count not in (None, have):
        raise ValueError(f"count is {count}, but there are {have} masks")
    if not have:
        raise ValueError("there are no masks: the leading axis has length 0")
    return masks, lambda masks, i: jax.tree.map(lambda leaf: leaf[i], masks), have


def _mask(path, leaf) -> Array | np.ndarray:
    """One leaf of stacked masks; arrays of NumPy stay where they are."""
    number = isinstance(leaf, Array | np.ndarray | np.generic | int | float)
    if not number or (isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OSU"):
        where = f"masks[{path!r}]" if path else "masks"
        raise ValueError(
            f"{where} is {checks.described(leaf)}; expected stacked arrays, or a "
            "function from an index to one mask with count="
        )
    if isinstance(leaf, np.ndarray):
        return leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype), copy=False)
    return meshes.gathered(jnp.asarray(leaf))


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


class _Program:
    """The compiled loop over batches, from a first index to the results of a part.

    Args:
        batch: function of the masks and several indices.
        masks: stacked masks, or nothing.
        total: number of masks.
        batch_size: masks at a time on a device; None to choose.
        span: masks in a part; None for one of at most `_CALLS` parts.
        doubled: whether only powers of two can be batch sizes.
    """

    def __init__(self, batch, masks, total, batch_size, span, doubled):
        self.batch, self.masks, self.total = batch, masks, total
        self.parts = meshes.parts(batch, masks, jnp.zeros(1, jnp.int32))
        # masks that NumPy holds need not lie on a device as a whole
        held = [isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(masks)]
        self.is_cut = bool(held) and (self.parts > 1 or all(held))
        share = -(-total // self.parts)
        most, budget = _BATCH.get(jax.default_backend(), _BATCH_ELSEWHERE)

        def below(size):
            return 1 << (size.bit_length() - 1)

        def even(size):
            size = -(-share // -(-share // size))
            return below(size) if doubled else size

        size = min(batch_size, share) if batch_size else even(most)
        self._set(below(size) if doubled else size, share, span)
        if batch_size is None and self.batch_size > 1:
            # from what a first program says it needs
            lowered = self.run.lower(self._held(0), jnp.int32(0))
            used = lowered.compile().memory_analysis()
            if used is not None and used.temp_size_in_bytes > budget:
                fit = int(self.batch_size * budget / used.temp_size_in_bytes)
                self._set(even(below(max(1, fit))), share, span)

    def _set(self, batch_size, share, span):
        per_call = -(-share // (batch_size * _CALLS))
        self.batch_size = batch_size
        self.span = span or self.parts * batch_size * per_call
        self.own = -(-self.span // (self.parts * batch_size)) * batch_size
        self.run = interpret.Compiled(self._call)

    def __call__(self, start: int) -> PyTree:
        return meshes.fetch(self.run(self._held(start), jnp.int32(start)))

    def _held(self, start: int) -> PyTree:
        """The stacked masks that a part is of, if they are given so; else all."""
        if not self.is_cut:
            return self.masks
        index = np.minimum(start + np.arange(self.own * self.parts), self.total - 1)

        def taken(leaf):
            key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            return (meshes.put(leaf) if key else np.asarray(leaf))[index]

        rows = jax.tree.map(taken, self.masks)
        return meshes.lay(rows) if self.parts > 1 else rows

    def _call(self, masks, start):
        index = jnp.arange(self.own * self.parts, dtype=jnp.int32)
        if self.is_cut:  # numbers of the masks that a device is given
            index = index % self.own
        else:  # past the end the last mask stands in
            index = jnp.minimum(start + index, self.total - 1)
        run = self._batches
        if self.parts > 1:
            run = meshes.split(run, (0 if self.is_cut else None, 0))
        return run(masks, index)

    def _batches(self, masks, index):
        """Results of the masks of these numbers, on one device."""
        batches = index.reshape(-1, self.batch_size)
        out = jax.lax.map(lambda indices: self.batch(masks, indices), batches)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), out)


def _recorded(folder, about, batch_size) -> tuple[int | None, int | None]:
    """Sizes of batches and parts of a checkpoint that is to go on; else as given."""
    path = folder / "sweep.json"
    if not path.exists():
        there = list(folder.iterdir()) if folder.exists() else []
        if any(p.name[0] != "." and not _PART.fullmatch(p.name) for p in there):
            raise ValueError(
                f"{folder} has files but no sweep.json: it is no checkpoint of a "
                "sweep; choose another folder"
            )
        found = None
    else:
        found = _read_record(path)
    if found is None:  # missing or damaged: whose parts these are can't be told
        for file in list(folder.iterdir()) if folder.exists() else []:
            if _PART.fullmatch(file.name) or file == path:
                file.unlink()
        return batch_size, None
    wanted = {**about, "batch_size": batch_size or found.get("batch_size")}
    wanted["part"] = found.get("part")
    differ = [key for key in wanted if found.get(key, "missing") != wanted[key]]
    if differ:
        raise ValueError(
            f"{folder} holds the checkpoint of another sweep ({', '.join(differ)} "
            "differ); choose another folder or remove it"
        )
    return wanted["batch_size"], wanted["part"]


def _record(folder: Path, about) -> None:
    """Write what a checkpoint is of, with a checksum."""
    runs.write_json(folder / "sweep.json", {**about, "crc32": _sum(about)})


def _read_record(path: Path):
    """What `_record` wrote, or `None` if it is damaged."""
    try:
        found = runs.read_json(path)
        return found if found.pop("crc32") == _sum(found) else None
    except (runs.DamagedFile, AttributeError, KeyError, TypeError):
        return None


def _sum(about) -> int:
    return zlib.crc32(json.dumps(about, sort_keys=True).encode())


def _compare(found, part, folder) -> None:
    """Refuse a part that the same program fills otherwise, beyond rounding."""
    for new, old in zip(jax.tree.leaves(found), jax.tree.leaves(part), strict=True):
        new, old = new[: len(old)].astype(complex), old.astype(complex)
        scale = np.abs(old[np.isfinite(old)]).max(initial=0.0)
        if not np.allclose(new, old, rtol=0, atol=1e-3 * scale, equal_nan=True):
            raise ValueError(
                f"{folder} holds the checkpoint of another function: for the same "
                "masks it recorded other results; choose another folder or remove it"
            )


def _plain(path: str) -> str:
    """A path as checkpoints record it, not to be read back: names are not escaped."""
    return "/".join(trees.names(path))


def _digest(masks, make, total) -> str:
    """A hash of stacked masks, or of 256 of those that a function makes."""
    stacked = bool(jax.tree.leaves(masks))
    index = np.linspace(0, total - 1, min(total, 256)).astype(np.int32)
    one = interpret.Compiled(make)
    digest = hashlib.sha256()
    for tree in [masks] if stacked else (one(masks, i) for i in index):
        for name, array in trees.to_arrays(tree).items():
            digest.update(f"{_plain(name)} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read(file: Path, part) -> bool:
    """Fill a part of the results from its file; whether that was possible."""
    if not file.exists():
        return False
    try:
        arrays = runs.read_arrays(file, sealed=True)
        for name, leaf in _numbered(part).items():
            stored = arrays[name]
            if stored.shape != leaf.shape:
                return False
            leaf[...] = stored.view(leaf.dtype)  # files do not know bfloat16
    except (runs.DamagedFile, KeyError, TypeError, ValueError):
        return False  # it is made again
    return True


def _numbered(tree) -> dict[str, np.ndarray]:
    return {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(tree))}


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
            stacklevel=3,
        )


def _kept(name, mask) -> str:
    ones = np.flatnonzero(mask)
    units = f" ({', '.join(map(str, ones))})" if 0 < len(ones) <= 12 else ""
    where = f" of {name!r}" if name else ""
    return f"{len(ones)} of {mask.size} entries{where}{units}"
