"""The compiled loop of a sweep over batches of masks, on one device or on many."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sparsejax import interpret, meshes

# Calls of the compiled loop in one sweep, and so files in a checkpoint.
_CALLS = 128
# Masks in a batch, at most, and bytes of its temporaries. On CPUs the fastest batches
# were those that fit in the cache: 10 to 16 MB, for networks from 2-20-2 to
# 784-300-100-10, values and gradients; more than 64 masks were never faster. What XLA
# says it needs leaves out what its fused products use: about the largest array twice.
_BATCH = {"cpu": (64, 16e6)}
_MOST_ELSEWHERE = 1 << 16


class Program:
    """The compiled loop over batches, from a first index to the results of a part.

    Args:
        batch: function of the masks and several indices.
        masks: stacked masks, or nothing.
        total: number of masks.
        batch_size: masks at a time on a device; None to choose.
        span: masks in a part; None for one of at most `_CALLS` parts.
        doubled: whether only powers of two can be batch sizes.
        largest: bytes of the largest array that depends on a mask, if that is known.
    """

    def __init__(self, batch, masks, total, batch_size, span, doubled, largest=0):
        self.batch, self.masks, self.total = batch, masks, total
        self.parts = meshes.parts(batch, masks, jnp.zeros(1, jnp.int32))
        # masks that NumPy holds need not lie on a device as a whole
        held = [isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(masks)]
        self.is_cut = bool(held) and (self.parts > 1 or all(held))
        share = -(-total // self.parts)
        elsewhere = _MOST_ELSEWHERE, meshes.room()
        most, budget = _BATCH.get(jax.default_backend(), elsewhere)

        def below(size):
            return 1 << (size.bit_length() - 1)

        def even(size):
            size = -(-share // -(-share // size))
            return below(size) if doubled else size

        if largest:
            most = max(1, min(most, int(budget / (2 * largest))))
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
        return jax.tree.map(lambda leaf: leaf.reshape(index.size, *leaf.shape[2:]), out)
