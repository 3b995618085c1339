"""Dissect a layer of any JAX function: which of its units stand for which labels.

The function runs twice over all images, for the thresholds and for the counts, a chunk
of images at a time. Activations of a whole set are held only if they are few: then once
is enough.
"""

import itertools as it
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from sparsejax import checks, interpret, lift, meshes, pages
from sparsejax._labels import check_table, parts
from sparsejax._progress import tqdm
from sparsejax.data import Labeled, Labels
from sparsejax.dissect import _table as table_
from sparsejax.dissect import _tally as tally_
from sparsejax.dissect._table import Table
from sparsejax.dissect._tally import Tally
from sparsejax.dissect._thresholds import passing, thresholds

_CHUNK = {"cpu": 32}
_CHUNK_ELSEWHERE = 256
_HELD = 2**26  # activations to hold, at most: 256 MB


class Dissection(NamedTuple):
    """All that is known of a layer's units.

    Attributes:
        thresholds: above which units are active, shape (units,).
        tally: pixels of masks and labels.
        labels: the table.
        quantile: the share of its values that exceed a unit's threshold.
        exemplars: the examples in which a unit's largest value is largest, in order,
            shape (units, images).
    """

    thresholds: Float[np.ndarray, " units"]
    tally: Tally
    labels: Labels
    quantile: float | int
    exemplars: Int[np.ndarray, "units images"]

    @pages.display
    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def scores(
        self, union: str = "unit", normalized: bool = False
    ) -> Float[np.ndarray, "units labels"]:
        """Intersection over union of units and labels; see `iou` and `normalized`."""
        if normalized:
            return tally_.normalized(self.tally, self.quantile, union)
        return tally_.iou(self.tally, union)

    def table(
        self,
        union: str = "unit",
        normalized: bool = False,
        categories: str | Iterable[str] | None = None,
    ) -> Table:
        """The best label of every unit, out of all categories, one or some."""
        scores = self.scores(union, normalized)
        return table_.assign(scores, self.labels, categories=categories)


@meshes.on_mesh
def dissect(
    fn: Callable[[PyTree, Array], Any],
    params: PyTree,
    node: Any,
    batches: Labeled | Iterable[Any],
    labels: Labels,
    *,
    quantile: float | int = 0.005,
    rotation: Float[ArrayLike, "units units"] | None = None,
    exemplars: int = 10,
    count: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
    mesh: Mesh | Any = None,
) -> Dissection:
    """Compare where units of a layer are active with where labels are.

    Args:
        fn: any JAX function `fn(params, x)` of one example, in evaluation mode, with
            named activations. The same object compiles once.
        params: its parameters; `sparsejax.bind` gives a masked function.
        node: an activation's name; of one example it has shape (height, width, units)
            or (units,). A first axis of length 1 more, as what
            `lambda params, x: fn(params, x[None])[0]` names has, is left out.
        batches: what can be gone through several times, such as a list, of examples
            (x, label maps, labels of whole images) as `tally` takes them, x as fn does,
            one array; close over what else fn takes. Or one `Labeled`. In what batches
            they come makes no difference at all.
        labels: the table of labels.
        quantile: the share of its values that exceed a unit's threshold.
        rotation: dissect activations @ rotation instead, as a control.
        exemplars: how many examples to name for each unit.
        count: how many examples there are; by default they are counted, which reads
            them once more.
        batch_size: examples at a time on every device; by default 256, and on CPUs at
            most 32, fewer where they would need too much memory at a time. Makes no
            difference beyond rounding in fn.
        progress: show a bar.
        mesh: devices that the examples are split over, by default those of
            `jax.set_mesh`.

    Raises:
        ValueError: for an activation that there is not, examples and labels that do
            not fit, no examples, a quantile that is out of range or too small for their
            number, and activations that are not finite.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda params, x: checkpoint_name(params * x, "maps").sum()
        >>> labels = Labels(("", "bright"), ("color",), np.array([-1, 0]))
        >>> x = np.array([0, 0, 1, 0], "f4").reshape(1, 2, 2, 1)
        >>> batches = [(x, x.astype(int).reshape(1, 1, 2, 2), np.zeros((1, 0), int))]
        >>> found = dissect(
        ...     fn, 3.0, "maps", batches, labels, quantile=0.25, progress=False
        ... )
        >>> found.table().label, found.table().score.tolist()
        (('bright',), [1.0])

    Reference: Bau et al., "Network Dissection: Quantifying Interpretability of Deep
    Visual Representations", 2017 (arXiv 1704.05796).
    """
    if isinstance(batches, Labeled):
        batches = [batches]
    check_table(labels)
    if not isinstance(node, str):
        raise ValueError(f"node must be one name, got {checks.described(node)}")
    if iter(batches) is batches:
        raise ValueError(
            "batches can be gone through only once, but are needed twice: pass a list, "
            "or an object whose __iter__ starts anew"
        )
    first = next(_examples(batches), None)
    if first is None:
        raise ValueError("there are no examples to dissect")
    if count is None:
        count = sum(len(x) for x, *_ in _batches(batches))
    if (batch_size is not None and batch_size < 1) or exemplars < 1:
        raise ValueError(
            f"batch_size and exemplars must be 1 or more, got {batch_size}, {exemplars}"
        )
    if rotation is not None:
        rotation = jnp.asarray(rotation)
    shape = _shape(fn, node, params, jnp.asarray(first[0]), rotation)
    places, units = int(np.prod(shape[:-1])), shape[-1]
    passing(quantile, count * places)  # before fn runs over all images
    best = np.empty((units, 0)), np.empty((units, 0), np.int64)
    hold, held = count * places * units <= _HELD, []
    total = count if hold else 2 * count
    bar = tqdm(total=total, disable=not progress, unit="image")
    with meshes.over(mesh), bar:
        params, rotation = meshes.put((params, rotation))
        size = batch_size or _fitting(fn, node, params, first[0], rotation, count)
        size = min(size * meshes.parts(), count)

        def chunks():
            for some in _chunks(_examples(batches), size):
                x, pixels, whole = zip(*some)
                acts = _read(fn, node, params, _stack(x, size), rotation)
                acts = meshes.fetch(acts)[: len(some)]
                yield acts, pixels, whole
                bar.update(len(some))

        def values():
            nonlocal best
            seen = 0
            for acts, *given in chunks():
                for i, (pixels, whole) in enumerate(zip(*given), seen):
                    tally_.valid(pixels, whole, len(labels.names), i)
                if hold:
                    held.append((acts, *given))
                peaks = acts.reshape(len(acts), -1, units).max(1).T
                best = _leading(*best, peaks, seen, exemplars)
                seen += len(acts)
                yield acts
            if seen != count:
                raise ValueError(f"batches have {seen} examples, but count is {count}")

        limits = thresholds(values(), quantile, total=count * places)
        found = tally_.tally(held if hold else chunks(), limits, labels)
    return Dissection(limits, found, labels, quantile, best[1])


def _fitting(fn, node, params, x, rotation, count: int) -> int:
    """Examples at a time on a device, all like x."""
    most = _CHUNK.get(jax.default_backend(), _CHUNK_ELSEWHERE)
    if meshes.parts() > 1:
        return most

    def lower(size):
        return _read.lower(fn, node, params, _stack([x] * size, size), rotation)

    return interpret.fitting(lower, count, most)


@partial(interpret.Compiled, static_argnums=(0, 1))
def _read(fn, node: str, params, x, rotation):
    """Activations of a chunk, in float32 or more."""

    def read(params, x, rotation):
        def one(x):
            return _map(lift.activations(fn, node, units=True)(params, x)[1][node])

        acts = jax.vmap(one)(x)
        acts = acts.astype("float64" if acts.dtype == "float64" else "float32")
        if rotation is None:
            return acts
        return jnp.matmul(acts, rotation.astype(acts.dtype), precision="highest")

    return meshes.split(read, (None, 0, None))(params, x, rotation)


def _map(h: Array) -> Array:
    """An activation without the axis that `fn(params, x[None])[0]` adds to it."""
    return h[0] if h.ndim in (2, 4) and h.shape[0] == 1 else h


def _leading(peaks, numbers, new, first: int, count: int):
    """The `count` largest peaks of each unit and in which examples they are.

    Of what there was, and of `new` examples from number `first` on.
    """
    later = np.broadcast_to(first + np.arange(new.shape[1]), new.shape)
    peaks, numbers = np.hstack([peaks, new]), np.hstack([numbers, later])
    order = np.argsort(-peaks, 1, kind="stable")[:, :count]
    take = partial(np.take_along_axis, indices=order, axis=1)
    return take(peaks), take(numbers)


def _batches(batches) -> Iterator[tuple[Any, Any, Any]]:
    for batch in batches:
        x, pixels, whole = parts(batch)
        if not hasattr(x, "shape"):  # also of images that are read one by one
            checks.array(x)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            raise ValueError(
                f"x is {checks.described(x)}; pass what is drawn from the keys, or a "
                "function of numbers that folds them into a key: jax.random.fold_in"
            )
        tally_.check_lengths(x, pixels, whole)
        yield x, pixels, whole


def _examples(batches) -> Iterator[tuple[Any, Any, Any]]:
    return it.chain.from_iterable(zip(*batch) for batch in _batches(batches))


def _chunks(items: Iterator, size: int) -> Iterator[list]:
    while some := list(it.islice(items, size)):
        yield some


def _stack(examples, size: int) -> Array:
    """One array of `size` examples, the last repeated if there are fewer."""
    shapes = sorted({np.shape(x) for x in examples})
    if len(shapes) > 1:
        raise ValueError(
            f"examples have shapes {shapes[0]} and {shapes[1]}; bring them to one size"
        )
    return jnp.asarray(np.stack([*examples, *examples[-1:] * (size - len(examples))]))


def _shape(fn, node, params, x, rotation) -> tuple[int, ...]:
    """Shape of the activation of one example."""
    plain = _read.eval_shape(fn, node, params, x[None], None)
    shape = plain.shape[1:]
    if len(shape) not in (1, 3):
        raise ValueError(
            f"activation {node!r} of one example has shape {shape}; expected (height, "
            "width, units) or (units,)"
        )
    if rotation is not None and rotation.shape != (shape[-1],) * 2:
        raise ValueError(
            f"rotation has shape {rotation.shape}, but {node!r} has {shape[-1]} units"
        )
    return shape
