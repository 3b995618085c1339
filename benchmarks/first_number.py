"""What passes before the first number: importing, tracing, compiling, running.

Every launcher's quick form, and the first call of every analysis on a small network,
each in a process of its own on one core, in CPU seconds. Launchers run twice, with an
empty folder of compiled programs and with the one that the first run has filled.

    python benchmarks/first_number.py [NAME ...] [--skip=NAME,...] [--once]
"""

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PARTS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}
COLUMNS = ("import", "trace", "lower", "compile", "run", "all", "programs")
DIGITS = "--dataset=digits --rounds=2 --epochs=5 --seeds=0"
SCENES = (
    "--dataset=scenes --widths=4,4,4 --num_train_images=256 --num_test_images=64 "
    "--batch_size=64 --epochs=1 --rounds=1 --rewind_to=1 --arms=rewind"
)
# Flags of a quick form; RUN is the folder of the first, SCENES of the second.
LAUNCHERS = {
    "lottery": DIGITS,
    "lottery_scenes": SCENES,
    "flowgraph": "--run=RUN --num_examples=2",
    "circle_removal": "--num_nodes=10 --seeds=0",
    "circuits": "--network=gates --seeds=0 --ablations=zero --learning_steps=50",
    "node_sweep": "--run=RUN --num_masks=50",
    "cartpole": "--environment=CartPole-v0 --seeds=0 --widths=4 --steps=12800 "
    "--rounds=1 --min_return=20 --num_episodes=5 --num_walkers=2",
    "prune_order": "--seeds=0 --steps=200",
    "relevance": "--run=RUN --test_images=0:2",
    "right_reasons": "--seeds=0 --steps=200",
    "spade": "--dataset=mnist --widths=4,4,6 --num_blocks=1 --seeds=0 "
    "--num_train_images=256 --epochs=1 --num_test_images=2 --num_calibration_images=1 "
    "--num_variations=4 --densities=0.5 --num_pictures=0 --num_planes=1 "
    "--plane_epochs=1",
    "dissect": "--run=SCENES --num_scenes=20 --quantile=0.05 --rotations=1",
    "features": "--run=SCENES --nodes=stem --units=0:2 --steps=20",
    "weights": "--run=SCENES --nodes=layer3_0 --units=0 --levels=1 --steps=5 "
    "--strongest=2 --places=1",
}


class Small:
    """A small network, its data and masks, made before an analysis is timed."""

    def __init__(self):
        import jax
        import jax.numpy as jnp
        import numpy as np

        import sparsejax as sj

        rng = np.random.default_rng(0)
        self.sj, self.key, self.jax = sj, jax.random.key(0), jax
        self.mlp = sj.models.mlp((8, 6), 3)
        self.net = sj.models.convnet((4, 4), 3)
        self.x = rng.normal(size=(32, 10)).astype("f4")
        self.images = rng.normal(size=(32, 12, 12, 1)).astype("f4")
        self.y = rng.integers(0, 3, 32)
        self.params = jax.tree.map(np.asarray, self.mlp.init(self.key, self.x[:1]))
        self.conv = jax.tree.map(np.asarray, self.net.init(self.key, self.images[:1]))
        self.ones = sj.masks.ones(self.mlp.apply, self.params, self.x)
        self.apply = sj.masked(self.mlp.apply)
        self.off = self.ones._replace(
            nodes={"hidden_0": np.array([0, 0, 1, 1, 1, 1, 1, 1], "f4"),
                   "hidden_1": np.ones(6, "f4")}
        )  # fmt: skip
        self.asarray = jnp.asarray

    def loss(self, vector):
        nodes = {"hidden_0": vector, "hidden_1": self.ones.nodes["hidden_1"]}
        z = self.apply(self.params, self.ones._replace(nodes=nodes), self.x)
        return self.sj.train.cross_entropy(z, self.y)

    def one(self, params, x):
        return self.mlp.apply(params, x[None])[0]

    def image(self, params, x):
        return self.net.apply(params, x[None])[0]


def _masked(s):
    loss = s.sj.train.cross_entropy
    return s.sj.train.evaluate(s.apply, s.params, s.ones, (s.x, s.y), loss=loss)


def _sweep(s):
    masks = s.sj.masks.bernoulli(s.key, s.ones.nodes["hidden_0"], 0.5, (16,))
    return s.sj.sweep.evaluate(s.loss, masks, progress=False)


def _fit(s):
    import optax

    return s.sj.train.fit(
        s.apply, s.params, s.ones, (s.x, s.y), optimizer=optax.adam(0.01),
        batch_size=8, epochs=2, key=s.key,
    )  # fmt: skip


def _finder(s):
    nodes = s.ones.nodes
    loss = s.sj.circuits.task(s.mlp.apply, s.params, s.x)
    return s.sj.circuits.eliminate(loss, nodes)


def _learned(s):
    loss = s.sj.circuits.task(s.mlp.apply, s.params, s.x)
    return s.sj.circuits.hard_concrete(
        loss, s.ones.nodes, key=s.key, penalties=[0.1], repeats=1, steps=5
    )


def _render(s):
    return s.sj.features.render(
        s.image, s.conv, "hidden_1", [0, 1], key=s.key, size=(12, 12, 1), steps=5,
        progress=False,
    )  # fmt: skip


def _dissect(s):
    import numpy as np

    labels = s.sj.data.Labels(("", "bright"), ("color",), np.array([-1, 0]))
    pixels = (s.images[:, None, ..., 0] > 0.5).astype(int)
    batches = [(s.images, pixels, np.zeros((len(pixels), 0), int))]
    return s.sj.dissect.dissect(
        s.image, s.conv, "hidden_1", batches, labels, quantile=0.05, progress=False
    )


def _spade(s):
    def augment(key, x):
        return x + 0.1 * s.jax.random.normal(key, x.shape)

    return s.sj.prune.spade(
        s.one, s.params, s.x[0], key=s.key, density=0.5, samples=4, augment=augment
    )


def _bounds(s):
    graph = s.sj.flowgraph.trace(lambda x: s.one(s.params, x), s.x[0])
    return graph.bounds("linear")


def _certify(s):
    def circuit(x):
        return s.apply(s.params, s.off, x[None])[0]

    x = s.x[0]
    return s.sj.flowgraph.certify(
        lambda x: s.one(s.params, x), circuit, x, x - 0.1, x + 0.1, delta=5.0
    )


def _dqn(s):
    config = s.sj.rl.dqn.Config(widths=(4,), steps=12800)
    return s.sj.rl.dqn.train(config, s.jax.random.split(s.key, 1))


def _heat_maps(s):
    def loss(mask, point):
        nodes = {"hidden_0": mask, "hidden_1": s.ones.nodes["hidden_1"]}
        x = s.jax.numpy.tile(point, 5)[None]
        z = s.apply(s.params, s.ones._replace(nodes=nodes), x)
        return s.sj.train.cross_entropy(z, s.y[:1])

    return s.sj.removal.heat_maps(loss, s.off.nodes["hidden_0"], size=21)


def _lottery_scores(s):
    scores = s.sj.prune.magnitude(s.params)
    return s.sj.prune.remove(scores, s.ones.weights, 0.2)


ANALYSES = {
    "masked, evaluate": _masked,
    "masks.bernoulli": lambda s: s.sj.masks.bernoulli(s.key, s.ones, 0.5, (4,)),
    "activations": lambda s: s.sj.activations(s.mlp.apply)(s.params, s.x),
    "train.fit": _fit,
    "prune.magnitude, remove": _lottery_scores,
    "prune.snip": lambda s: s.sj.prune.snip(
        s.params,
        s.jax.grad(lambda p: s.sj.train.cross_entropy(s.mlp.apply(p, s.x), s.y))(
            s.params
        ),
    ),
    "prune.remove_nodes": lambda s: s.sj.prune.remove_nodes(
        s.mlp.apply, s.params, s.off.nodes, s.x
    ),
    "prune.compact": lambda s: s.sj.prune.compact(s.mlp.apply, s.params, s.off, s.x),
    "prune.obs": lambda s: s.sj.prune.obs(s.params["dense_0"]["kernel"], s.x, 0.5),
    "prune.spade": _spade,
    "sweep.evaluate": _sweep,
    "hypercube.evaluate": lambda s: s.sj.hypercube.evaluate(s.loss, 8, progress=False),
    "hypercube.evaluate_readout": lambda s: s.sj.hypercube.evaluate_readout(
        abs(s.x[:, :8]), s.x[:8, :3], s.x[0, :3], s.y
    ),
    "hypercube.estimate_shapley": lambda s: s.sj.hypercube.estimate_shapley(
        s.loss, 8, key=s.key, permutations=8, progress=False
    ),
    "circuits.eliminate": _finder,
    "circuits.hard_concrete": _learned,
    "removal.heat_maps": _heat_maps,
    "relevance.explain": lambda s: s.sj.relevance.explain(
        s.image, s.conv, s.images[0], target=1
    ),
    "relevance.integrated_gradients": lambda s: s.sj.relevance.integrated_gradients(
        s.image, s.conv, s.images[0], target=1
    ),
    "features.render": _render,
    "dissect.dissect": _dissect,
    "weights.expand": lambda s: s.sj.weights.expand(
        s.image, s.conv, "hidden_0", "hidden_1", size=(12, 12, 1)
    ),
    "flowgraph.trace": lambda s: s.sj.flowgraph.trace(
        lambda x: s.one(s.params, x), s.x[0]
    ),
    "flowgraph.trace, bounds": _bounds,
    "flowgraph.certify": _certify,
    "rl.dqn.train": _dqn,
}


class Clock:
    """CPU seconds by what JAX is doing, inner parts taken off outer ones."""

    def __init__(self):
        import jax

        self.spent, self.programs = dict.fromkeys(PARTS.values(), 0.0), 0
        self._open: list[tuple[float, float]] = []  # start, inner
        jax.monitoring.register_scalar_listener(self._begin)
        jax.monitoring.register_event_duration_secs_listener(self._end)

    def _begin(self, event, value, **_):
        if event in PARTS:
            self._open.append((time.process_time(), 0.0))

    def _end(self, event, duration_secs, **_):
        if event not in PARTS:
            return
        start, inner = self._open.pop()
        whole = time.process_time() - start
        self.spent[PARTS[event]] += whole - inner
        self.programs += PARTS[event] == "compile"
        if self._open:
            before, others = self._open[-1]
            self._open[-1] = before, others + whole


def analysis(name: str) -> dict[str, float]:
    """What the first call of an analysis takes; what it needs is not counted."""
    import jax

    import sparsejax as sj

    module = name.partition(".")[0]
    known = module in sj.__all__ and module not in ("activations", "masked")
    for used in [module] if known else ["lift", "interpret", "train"]:
        importlib.import_module(f"sparsejax.{used}")
    imported = time.process_time()
    clock, small = Clock(), Small()
    before, programs = dict(clock.spent), clock.programs
    start = time.process_time()
    jax.block_until_ready(jax.tree.leaves(ANALYSES[name](small)))
    return _row(clock, time.process_time() - start, before, programs, imported)


def launcher(name: str, flags: list[str]) -> dict[str, float]:
    """What a launcher takes, and what it imports."""
    from sparsejax import _launch

    for module in ("subjects", "_study.report", name, f"{name}._run"):
        importlib.import_module(f"sparsejax.experiments.{module}")
    clock, imported = Clock(), time.process_time()
    start = time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        _launch.main(name, [f"launch/{name}.py", *flags])
    none = dict.fromkeys(PARTS.values(), 0.0)
    return _row(clock, time.process_time() - start, none, 0, imported)


def _row(clock, whole, before, programs, imported) -> dict[str, float]:
    parts = {key: clock.spent[key] - before[key] for key in clock.spent}
    run = whole - sum(parts.values())
    count = clock.programs - programs
    return {"import": imported, **parts, "run": run, "all": imported + whole,
            "programs": count}  # fmt: skip


def measured(kind: str, name: str, flags: list[str] = [], **environment) -> dict:  # noqa: B006
    """A case in a process of its own."""
    command = [sys.executable, __file__, f"--{kind}={name}", "--", *flags]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment
    )
    if done.returncode:
        print(f"{name}: {done.stderr[-2000:]}", file=sys.stderr)
        return dict.fromkeys(COLUMNS, float("nan"))
    return json.loads(done.stdout.splitlines()[-1])


def told(name: str, row: dict, columns=COLUMNS) -> None:
    """A line of the table."""
    cells = [f"{row[c]:.0f}" if c == "programs" else f"{row[c]:.2f}" for c in columns]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def quick_forms(names: list[str], skip: list[str], turns: list[str]) -> None:
    """Every launcher, with what each turn leaves for the next."""
    sums = {turn: dict.fromkeys(COLUMNS, 0.0) for turn in turns}
    with tempfile.TemporaryDirectory() as root:
        cache = {"XDG_CACHE_HOME": str(Path(root, "cache"))}
        runs: dict[str, str] = {}
        print("\n| launcher |", " | ".join(COLUMNS), "|")
        print("|---" * (len(COLUMNS) + 1) + "|")
        for name, flags in LAUNCHERS.items():
            needed = name.startswith("lottery")
            if (names and name not in names and not needed) or name in skip:
                continue
            for turn in turns:
                out = Path(root, turn, name)
                for word, folder in runs.items():
                    flags = flags.replace(f"--run={word}", f"--run={folder}")
                words = [*flags.split(), f"--out={out}"]
                row = measured("launcher", name, words, **cache)
                if needed and out.exists():
                    (runs["RUN" if name == "lottery" else "SCENES"],) = map(
                        str, out.iterdir()
                    )
                told(f"{name}, {turn}", row)
                for key in COLUMNS:
                    sums[turn][key] += row[key]
        for turn in turns:
            told(f"sum, {turn}", sums[turn])


def first_calls(names: list[str], skip: list[str]) -> None:
    """The first call of every analysis."""
    sums = dict.fromkeys(COLUMNS, 0.0)
    print("\n| first call of |", " | ".join(COLUMNS), "|")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name in ANALYSES:
        if (not names or name in names) and name not in skip:
            row = measured("analysis", name)
            told(name, row)
            for key in COLUMNS:
                sums[key] += row[key]
    told("sum", sums)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("names", nargs="*", help="of launchers and analyses")
    parser.add_argument("--skip", default="", help="names to leave out")
    parser.add_argument("--once", action="store_true", help="no second run")
    parser.add_argument("--launcher", help=argparse.SUPPRESS)
    parser.add_argument("--analysis", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.analysis:
        print(json.dumps(analysis(asked.analysis)))
    elif asked.launcher:
        print(json.dumps(launcher(asked.launcher.partition("_scenes")[0], asked.names)))
    else:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        skip = asked.skip.split(",")
        if not asked.names or set(asked.names) & set(ANALYSES):
            first_calls(asked.names, skip)
        if not asked.names or set(asked.names) & set(LAUNCHERS):
            turns = ["cold"] if asked.once else ["cold", "warm"]
            quick_forms(asked.names, skip, turns)


if __name__ == "__main__":
    main()
