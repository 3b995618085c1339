"""Training a DQN on CartPole-v1, side by side, on one core.

(a) a Python loop: gymnasium, jitted act, jitted gradient step, a NumPy replay buffer;
(b) `sparsejax.rl.dqn`, the whole training one compiled call, one seed; (c) the same
with the periodic evaluation of the greedy policy, which (a) does not do; (d) 16 seeds
together. The same network (4-32-32-2), batch size and ratio of updates to steps
everywhere. Prints CPU time, medians of the repeats by turns, and the compile times.

    python benchmarks/cartpole_dqn.py
"""

import dataclasses
import os
import statistics
import time

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sparsejax.rl import dqn

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone
REPEATS, SEEDS = 3, 16
CONFIG = dqn.Config(steps=20_480, evaluations=20)
PLAIN = dataclasses.replace(CONFIG, evaluations=1, episodes=1)


def loop():
    env = gymnasium.make("CartPole-v1")
    q = dqn.values(CONFIG)
    optimizer = optax.chain(
        optax.clip_by_global_norm(10.0), optax.adam(CONFIG.learning_rate)
    )
    act = jax.jit(lambda params, seen: jnp.argmax(q(params, seen)))
    rows = jnp.arange(CONFIG.batch_size)

    @jax.jit
    def update(params, target, opt_state, before, action, reward, after, ended):
        def loss(params):
            best = q(target, after)[rows, jnp.argmax(q(params, after), axis=-1)]
            goal = reward + CONFIG.discount * jnp.where(ended, 0.0, best)
            error = q(params, before)[rows, action] - jax.lax.stop_gradient(goal)
            return jnp.mean(error**2)

        grads = jax.grad(loss)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    def run(seed):
        rng = np.random.default_rng(seed)
        params = dqn.init(CONFIG, jax.random.key(seed))
        target, opt_state = params, optimizer.init(params)
        size = CONFIG.steps
        before, after = np.zeros((2, size, 4), np.float32)
        action, ended = np.zeros(size, np.int32), np.zeros(size, bool)
        reward = np.zeros(size, np.float32)
        seen, _ = env.reset(seed=seed)
        for step in range(CONFIG.steps):
            done = step / (CONFIG.exploration * CONFIG.steps)
            if rng.random() < max(CONFIG.epsilon, 1 - (1 - CONFIG.epsilon) * done):
                chosen = int(rng.integers(2))
            else:
                chosen = int(act(params, seen))
            new, gain, terminated, truncated, _ = env.step(chosen)
            before[step], after[step], action[step] = seen, new, chosen
            reward[step], ended[step] = gain, terminated
            seen = env.reset()[0] if terminated or truncated else new
            if (step + 1) % CONFIG.block or step + 1 <= CONFIG.warmup:
                continue
            for _ in range(CONFIG.updates):
                at = rng.integers(0, step + 1, CONFIG.batch_size)
                params, opt_state = update(
                    params, target, opt_state, before[at], action[at], reward[at],
                    after[at], ended[at],
                )  # fmt: skip
            target = params
        jax.block_until_ready(params)

    return run


def compiled(config, seeds):
    train = dqn.make_train(config)
    train = jax.jit(jax.vmap(train) if seeds > 1 else train)

    def run(seed):
        keys = jax.vmap(jax.random.key)(jnp.arange(seeds) + seed)
        jax.block_until_ready(train(keys if seeds > 1 else keys[0]))

    return run


def main():
    variants = {
        "(a) Python loop, gymnasium, jitted act and update": (loop(), 1),
        "(b) sparsejax, 1 seed": (compiled(PLAIN, 1), 1),
        "(c) the same, evaluated 20 times": (compiled(CONFIG, 1), 1),
        f"(d) sparsejax, {SEEDS} seeds": (compiled(PLAIN, SEEDS), SEEDS),
        f"(e) the same, evaluated 20 times, {SEEDS} seeds": (
            compiled(CONFIG, SEEDS),
            SEEDS,
        ),
    }
    first, times = {}, {name: [] for name in variants}
    for name, (run, _) in variants.items():
        began = time.process_time()
        run(0)
        first[name] = time.process_time() - began
    for repeat in range(REPEATS):
        for name, (run, seeds) in variants.items():
            began = time.process_time()
            run(repeat + 1)
            times[name].append((time.process_time() - began) / seeds)
    base = None
    print("| variant | steps a CPU second, all seeds | it / (a) | compiling, CPU s |")
    print("|---|---|---|---|")
    for name, (_, seeds) in variants.items():
        spent = statistics.median(times[name])
        speed = CONFIG.steps / spent
        base = base or speed
        start = max(first[name] - spent * seeds, 0.0)
        print(f"| {name} | {speed:,.0f} | {speed / base:.1f} | {start:.1f} |")


if __name__ == "__main__":
    main()
