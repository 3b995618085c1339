"""Certified circuits of a lottery ticket: how small, what settles them, what they cost.

    python benchmarks/certify.py --run=FOLDER [--data_dir=DIR] [--level=N]
                                 [--epsilon=0.03] [--delta=1] [--marabou=FOLDER]

FOLDER: of a run of launch/lottery.py on images. Three tables, of the hidden units of
its network on boxes of +-epsilon around test images:

1. locally minimal circuits whose outputs are proved within delta, image by image;
2. circuits found by 10,000 samples alone, and how many of them a proof refutes;
3. widths and seconds of the ways to bound the difference of circuit and network,
   Marabou's answers to the same questions beside them if `pip install --target=FOLDER
   maraboupy` has put it there.

CPU seconds of one core.
"""

import argparse
import functools
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import sparsejax as sj  # noqa: E402
from sparsejax.experiments import subjects  # noqa: E402

IMAGES, SAMPLES, REPEATS = 10, 10_000, 5
SECONDS = 10  # for each question to Marabou


class Ticket(NamedTuple):
    """A network as a function of masks of its units, and images that it gets right."""

    fn: Callable
    ones: dict
    x: np.ndarray
    y: np.ndarray
    weights: int


def ticket(subject) -> Ticket:
    """A lottery run's network, and the first test images of which it is right."""
    apply = sj.masked(subject.fn)
    weights = jax.tree.map(jnp.asarray, subject.mask)
    nodes = sj.masks.ones(subject.fn, subject.params, subject.x[:1]).nodes

    def fn(masks, x):
        return apply(subject.params, sj.masks.Masks(weights, masks), x[None])[0]

    outputs = jax.vmap(lambda x: fn(nodes, x))(jnp.asarray(subject.x[:1000]))
    right = np.flatnonzero(np.asarray(outputs).argmax(axis=1) == subject.y[:1000])
    x, y = subject.x[right[:IMAGES]], subject.y[right[:IMAGES]]
    return Ticket(fn, nodes, x, y, int(sj.masks.count(weights)))


def box(x, epsilon):
    """Ends of the inputs that differ by epsilon, within those of an image."""
    x = np.asarray(x, np.float64)
    return np.clip(x - epsilon, 0, 1), np.clip(x + epsilon, 0, 1)


def timed(run):
    start = time.process_time()
    return run(), time.process_time() - start


def head(*columns: str) -> None:
    """The first two lines of a table."""
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def circuits(net: Ticket, epsilon: float, delta: float) -> list:
    """A table of locally minimal certified circuits, one an image."""
    steps = ("interval", "linear", "exact")
    heads = ("digit", "units", "proved within", "sets", *steps,
             "refuted by samples, gradient, exact", "CPU s")  # fmt: skip
    head(*heads)
    found = []
    for x, y in zip(net.x, net.y, strict=True):
        circuit, cpu = timed(lambda x=x: sj.flowgraph.certified_circuit(
            net.fn, net.ones, x, *box(x, epsilon), delta=delta))  # fmt: skip
        found.append(circuit)
        decided = [(d.proved, d.by) for d in circuit.decisions]
        proved = " | ".join(str(decided.count((True, by))) for by in steps)
        refuted = ", ".join(
            str(decided.count((False, by))) for by in ("samples", "gradient", "exact")
        )
        bound = f"{circuit.certificate.bound:.3f} ({circuit.certificate.by})"
        print(
            f"| {y} | {circuit.size} | {bound} | {len(decided)} | {proved} | ", end=""
        )
        print(f"{refuted} | {cpu:.1f} |", flush=True)
    return found


def faithful(net: Ticket, x, epsilon: float, delta: float) -> tuple[dict, float]:
    """A locally minimal circuit by samples alone, and the largest difference there."""
    low, high = box(x, epsilon)
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.uniform(low, high, (SAMPLES, len(low))), jnp.float32)
    full = jax.vmap(lambda x: net.fn(net.ones, x))(inputs)

    @jax.jit
    def largest(masks):
        return jnp.abs(jax.vmap(lambda x: net.fn(masks, x))(inputs) - full).max()

    units = [(name, i) for name, m in net.ones.items() for i in range(m.size)]

    def without(masks, unit):
        return {**masks, unit[0]: masks[unit[0]].at[unit[1]].set(0.0)}

    order = sorted(units, key=lambda unit: float(largest(without(net.ones, unit))))
    masks, before = net.ones, None
    while masks is not before:
        before = masks
        for unit in order:
            if masks[unit[0]][unit[1]] and largest(without(masks, unit)) <= delta:
                masks = without(masks, unit)
    return masks, float(largest(masks))


def refuted(net: Ticket, epsilon: float, delta: float) -> None:
    """What a proof says of circuits that all samples call faithful."""
    head("digit", "units", f"largest of {SAMPLES:,} samples", "proof says",
         "at its witness", "CPU s")  # fmt: skip
    for x, y in zip(net.x, net.y, strict=True):
        masks, seen = faithful(net, x, epsilon, delta)
        run = functools.partial(
            sj.flowgraph.certify, functools.partial(net.fn, net.ones),
            functools.partial(net.fn, masks), x, *box(x, epsilon), delta=delta,
        )  # fmt: skip
        found, cpu = timed(run)
        words = {True: "proved", False: "refuted", None: "left open"}[found.proved]
        size = sum(int(m.sum()) for m in masks.values())
        print(f"| {y} | {size} | {seen:.3f} | {words} by {found.by} | ", end="")
        print(f"{found.reached:.3f} | {cpu:.1f} |", flush=True)


def difference(net: Ticket, circuit, x):
    """The graph of the difference of a circuit and its network."""
    masks = {name: jnp.asarray(mask) for name, mask in circuit.masks.items()}
    return sj.flowgraph.trace(lambda x: net.fn(net.ones, x) - net.fn(masks, x), x)


def methods(net: Ticket, found: list, epsilon: float, delta: float, marabou) -> None:
    """Widths over exact ones, and seconds, of ways to bound the same differences."""
    ways = {
        "interval": {},
        "linear": {},
        "linear, 20 steps": {"steps": 20},
        "exact": {},
    }
    widths, seconds = ({way: [] for way in ways} for _ in range(2))
    tracing, answers, asking, nodes = [], Counter(), [], 0
    for x, circuit in list(zip(net.x, found, strict=True))[:REPEATS]:
        graph, cpu = timed(functools.partial(difference, net, circuit, x))
        tracing.append(cpu)
        nodes = len(graph)
        low, high = box(x, epsilon)
        bounds = None
        for way, options in ways.items():
            method = way.partition(",")[0]
            bounds, cpu = timed(functools.partial(
                graph.bounds, method, nodes="outputs", low=low, high=high, **options
            ))  # fmt: skip
            widths[way].append(bounds.high - bounds.low)
            seconds[way].append(cpu)
        if marabou is not None:
            question = functools.partial(ask, marabou, graph, low, high)
            for what, cpu in asked(question, bounds, delta):
                answers[what] += 1
                asking.append(cpu)
    print(f"\n{net.weights} weights, {nodes} nodes; medians")
    head("way", "width / exact", "CPU s")
    exact = np.concatenate(widths["exact"])
    for way in ways:
        ratio = np.concatenate(widths[way])[exact > 1e-6] / exact[exact > 1e-6]
        print(f"| {way} | {np.median(ratio):.3f} | {np.median(seconds[way]):.3f} |")
    print(f"| (tracing) | | {np.median(tracing):.3f} |")
    if marabou is not None:
        said = ", ".join(f"{count} {what}" for what, count in answers.items())
        print(
            f"| Marabou, a question of one output | {said} | {np.median(asking):.3f} |"
        )


def asked(question, exact, delta: float):
    """Marabou's answers on four outputs, as they compare with exact bounds."""
    tops = np.maximum(exact.high, -exact.low)
    for i, k in enumerate(np.flatnonzero(tops > 0.01)[:4]):
        top = float(tops[k])
        limit = (delta, 0.9 * top)[i % 2]
        answers = [apart(question, int(k), sign, limit) for sign in (1, -1)]
        said, cpu = {answer for answer, _ in answers}, sum(cpu for _, cpu in answers)
        if "sat" in said:
            answer = "agree" if top >= limit else "differ"
        elif said == {"unsat"}:
            answer = "agree" if top < limit else "differ"
        else:
            answer = f"not within {SECONDS} s"
        yield answer, cpu


def apart(question, *args) -> tuple[str, float]:
    """An answer and its CPU seconds, in a process that is ended: some hang for ever."""
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        os._exit(("sat", "unsat").index(question(*args)))
    _, status, usage = os.wait4(child, 0)
    answers = {0: "sat", 1: "unsat"}
    answer = answers.get(os.waitstatus_to_exitcode(status), "none")
    return answer, usage.ru_utime + usage.ru_stime


def ask(marabou, graph, low, high, output: int, sign: int, limit: float) -> str:
    """ "sat" if Marabou finds an input at which `sign * output` reaches a limit."""
    query = marabou.MarabouNetwork()
    nodes = [query.getNewVariable() for _ in graph.ops]
    for i, (op, const) in enumerate(zip(graph.ops, graph.consts, strict=True)):
        args, coefs = graph.operands(i)
        read = [nodes[a] for a in args]
        if op == "input":
            query.setLowerBound(nodes[i], low[graph.inputs[i]])
            query.setUpperBound(nodes[i], high[graph.inputs[i]])
        elif op == "relu":
            query.addRelu(read[0], nodes[i])
        else:
            query.addEquality([*read, nodes[i]], [*coefs, -1.0], -const)
    target = nodes[graph.outputs[output]]
    query.addInequality([target], [-float(sign)], -limit)
    options = marabou.createOptions(verbosity=0, timeoutInSeconds=SECONDS)
    answer, _, _ = query.solve(verbose=False, options=options)
    return answer


def imported(folder: str | None):
    """Marabou's Python package, if there is one."""
    if folder is None:
        return None
    sys.path.insert(0, folder)
    from maraboupy import Marabou, MarabouNetwork  # pyright: ignore[reportMissingImports]

    Marabou.MarabouNetwork = MarabouNetwork.MarabouNetwork
    return Marabou


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--data_dir")
    parser.add_argument("--level", type=int)
    parser.add_argument("--epsilon", type=float, default=0.03)
    parser.add_argument("--delta", type=float, default=1.0)
    parser.add_argument("--marabou")
    flags = parser.parse_args()
    subject = subjects.of_run(flags.run, level=flags.level, data_dir=flags.data_dir)
    net, claim = ticket(subject), (flags.epsilon, flags.delta)
    print(
        f"{subject.title}: {net.weights} weights, epsilon {claim[0]}, delta {claim[1]}"
    )
    found = circuits(net, *claim)
    refuted(net, *claim)
    methods(net, found, *claim, imported(flags.marabou))


if __name__ == "__main__":
    main()
