"""A whole lottery run of 784-32-32-10: dense and 18 rounds, three epochs, batch 64.

On random data of MNIST's size (the arithmetic does not care). Compiles in a run of one
round first, then prints CPU seconds a network, for one network and for five together.

    python benchmarks/lottery_run.py
"""

import os
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import sparsejax as sj

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone
rng = np.random.default_rng(0)
data = (
    jnp.asarray(rng.random((60_000, 784), np.float32)),
    jnp.asarray(rng.integers(0, 10, 60_000).astype(np.int32)),
)
STEPS = 3 * (60_000 // 64)
model = sj.models.mlp((32, 32), 10)
apply = sj.masked(model.apply)
schedule = optax.warmup_cosine_decay_schedule(0.0, 0.05, STEPS // 10, STEPS)
optimizer = optax.sgd(schedule, momentum=0.9)


def train(state, mask, stop):
    state, _ = sj.train.fit(
        apply,
        state.params,
        sj.masks.Masks(mask, {}),
        data,
        optimizer=optimizer,
        batch_size=64,
        key=state.key,
        data_key=jax.random.key(1),
        steps=STEPS if stop is None else stop,
        state=state,
    )
    return jax.block_until_ready(state)


def run(networks, rounds):
    keys = jax.vmap(jax.random.key)(jnp.arange(networks))
    params = jax.vmap(lambda key: model.init(key, data[0][0]))(keys)
    example = jax.tree.map(lambda leaf: leaf[0], params)
    ones = sj.masks.ones(model.apply, example, data[0][:1]).weights
    mask = jax.tree.map(lambda m: jnp.stack([m] * networks), ones)
    state = sj.train.init(params, optimizer, keys)
    if networks == 1:
        state, mask = jax.tree.map(lambda leaf: leaf[0], (state, mask))
    sj.prune.lottery(
        train,
        state,
        mask,
        rounds=rounds,
        fraction=0.2,
        scope="global",
        allow_empty=True,
    )


def main():
    print("| networks | CPU s a network | wall s in all |")
    print("|---|---|---|")
    for networks in (1, 5):
        run(networks, rounds=1)
        cpu, wall = time.process_time(), time.perf_counter()
        run(networks, rounds=18)
        cpu = (time.process_time() - cpu) / networks
        print(f"| {networks} | {cpu:.1f} | {time.perf_counter() - wall:.1f} |")


if __name__ == "__main__":
    main()
