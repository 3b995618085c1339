"""ResNet-20 with random units removed, masked and compact, on images of 32x32.

Units inside of the blocks are removed at random; the streams stay, as their sums do.
Prints parameters, and CPU milliseconds a batch of the network as it is, masked, and
compact, medians of five.

    python benchmarks/compact.py
"""

import itertools as it
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

import sparsejax as sj

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone
BATCH, REPEATS = 64, 5
rng = np.random.default_rng(0)
x = jnp.asarray(rng.normal(size=(BATCH, 32, 32, 3)), jnp.float32)
model = sj.models.resnet(20)
params = jax.jit(model.init)(jax.random.key(0), x)
ones = sj.masks.ones(model.apply, params, x)


def keep(share, streams):
    """Masks that keep a share of the units of every block, and of the streams.

    The streams of the three stages are the middle of one another.
    """
    stream = rng.permutation(64) < share * 64 if streams else np.ones(64, bool)
    middle = {16: stream[24:40], 32: stream[16:48], 64: stream}
    nodes = {
        name: jnp.asarray(
            rng.permutation(len(mask)) < share * len(mask)
            if "conv" in name
            else middle[len(mask)],
            jnp.float32,
        )
        for name, mask in ones.nodes.items()
    }
    return ones._replace(nodes=nodes)


def milliseconds(*calls):
    """CPU time of each call, taken by turns."""
    times = [[] for _ in calls]
    for call in calls:
        jax.block_until_ready(call())
    for _ in range(REPEATS):
        for own, call in zip(times, calls, strict=True):
            start = time.process_time()
            jax.block_until_ready(call())
            own.append(1000 * (time.process_time() - start))
    return [statistics.median(own) for own in times]


masked = jax.jit(sj.masked(model.apply))
dense = jax.jit(model.apply)
print(
    "  kept, of  parameters   share  dense ms  masked ms  compact ms  dense / compact"
)
for share, streams in it.product((0.75, 0.5, 0.25), (False, True)):
    masks = keep(share, streams)
    start = time.process_time()
    small = sj.prune.compact(model.apply, params, masks, x[:1])
    spent = time.process_time() - start
    fn = jax.jit(small.fn)
    before, between, after = milliseconds(
        lambda: dense(params, x),
        lambda masks=masks: masked(params, masks, x),
        lambda fn=fn, small=small: fn(small.params, x),
    )
    gap = jnp.abs(fn(small.params, x) - masked(params, masks, x)).max()
    report = small.report
    print(
        f"{share:4.0%} {'all  ' if streams else 'inner'}  {report.after:9d}  "
        f"{report.after / report.before:6.1%}  {before:8.1f}  {between:9.1f}  "
        f"{after:10.1f}  {before / after:15.2f}   "
        f"(compact took {spent:.1f} s; differs by {gap:.1g})"
    )
print(report)
