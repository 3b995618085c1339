"""The figures, tables and pages of a run on pruned agents."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import flowgraph, pages, plots, runs
from sparsejax.experiments import cartpole_config as config_
from sparsejax.experiments import cartpole_measure as measure
from sparsejax.experiments import cartpole_page
from sparsejax.experiments import cartpole_policy as policy
from sparsejax.experiments.cartpole_config import METHODS, Config
from sparsejax.flowgraph import Graph
from sparsejax.pages import counted
from sparsejax.rl import dqn, gym

Records = Sequence[Mapping[str, Any]]
Stages = Mapping[str, Mapping[str, Any]]


def write(folder: Path, config: Config, records: Records, stages: Stages) -> None:
    """Write `fig_*.svg`, `episode.gif`, `table.md`, `policy.txt`, `graph.html`, and
    `index.html`.

    Args:
        folder: the run's.
        config: what was run.
        records: the lines of `metrics.jsonl`.
        stages: arrays of every method.
    """
    target = config_.target(config)
    shown = measure.best(list(map(dict, records)), target)
    params = _params(config, stages, shown)

    def fn(x):
        return dqn.values(config_.training(config))(params, x)

    graph = agent_graph(config, fn)
    episode = measure.episode(config_.training(config), params)
    who = f"{METHODS[shown['method']]}, seed {shown['seed']}"
    cartpole_page.save(
        folder / "graph.html",
        graph,
        config_.environment(config),
        episode.observations[[0, 25, 50, 100]] if len(episode.actions) >= 100 else
        episode.observations[:4],
        title=f"{config.environment}: {counted(shown['weights'], 'weight')}",
        lead=f"{who}: mean return {shown['return']:g} over "
             f"{counted(config.episodes, 'episode')} "
        "in gymnasium.",
        fn=fn,
        data=episode.observations,
    )  # fmt: skip
    drawn = {}
    for name, (figure, caption) in _figures(
        config, records, stages, episode, fn, shown
    ).items():
        path = folder / f"fig_{name}.svg"
        plots.save(figure, path)
        drawn[name] = pages.figure_svg(path.read_bytes(), caption, caption)
    words = said(graph, config, episode)
    middle = episode.observations[len(episode.actions) // 10]
    runs.write_text(folder / "policy.txt", "\n".join(words) + "\n")
    header, *rows = table(config, records)
    lines = [header, ["---"] * len(header), *rows]
    text = "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
    runs.write_text(folder / "table.md", text)
    html = pages.page(
        f"{config.environment}, pruned until it can be read",
        pages.facts(_facts(config, records, shown)),
        pages.section(
            "The smallest agent",
            pages.tag("p", pages.tag("a", "Its graph, and the pole", href="graph.html"),
                      f" ({who}): move the inputs, remove a node, let it balance."),
            pages.figure_svg(
                graph.at("neuron").to_svg(middle),
                "The whole agent for one state of an episode.", "graph of the agent"),
            pages.tag("pre", "\n".join(words)),
            _film(folder, config, episode, shown),
            drawn["decisions"],
            pages.tag("details", pages.tag("summary", "as a Python program"),
                      pages.tag("pre", graph.to_python())),
        ),
        pages.section("How far agents can be pruned", drawn["weights"],
                      pages.table(rows, header)),
        pages.section("Which inputs they need", drawn["inputs"]),
        pages.section("Training, and hidden units", drawn["learning"], drawn["units"]),
        lead=finding(records, target),
        footer=_footer(config),
    )  # fmt: skip
    runs.write_text(folder / "index.html", html)


def agent_graph(config: Config, fn) -> Graph:
    """The flow graph of an agent on the environment's bounds."""
    env = config_.environment(config)
    return flowgraph.trace(
        fn,
        jnp.zeros(len(env.inputs)),
        domain=(np.array(env.low), np.array(env.high)),
        names=[f"{n} ({unit})" for n, unit in zip(env.inputs, env.units, strict=True)],
        output_names=env.actions,
    )


def said(graph: Graph, config: Config, episode: gym.Episode) -> list[str]:
    """The policy in words, and how well the rounded words hold."""
    env = config_.environment(config)
    try:
        form = policy.closed_form(graph)
    except ValueError as error:
        return [f"no closed form: {error}"]
    units = ", ".join(f"{name} ({unit})" for name, unit in
                      zip(env.inputs, env.units, strict=True))  # fmt: skip
    rng = np.random.default_rng(0)
    points = rng.uniform(env.low, env.high, (10_000, len(env.inputs)))
    exact, short = policy.decide(form, points), policy.rounded(form)
    held = (policy.decide(short, points) == exact).mean()
    seen = episode.observations[:-1]
    played = (policy.decide(form, seen) == episode.actions).mean()
    whole = policy.one_rule(form) is not None
    return [
        *policy.text(form, env.inputs, env.actions),
        "",
        f"Inputs: {units}; coefficients scaled so that the largest is 1.",
        f"{len(form.pieces)} linear pieces"
        + (", one linear rule in all of the domain (proved)." if whole else "."),
        f"The form decides as the agent in {played:.2%} of an episode's states; "
        f"rounded to 3 digits, as the form in {held:.2%} of 10,000 random states.",
    ]


def finding(records: Records, target: float) -> str:
    """One sentence: the fewest weights, and how many agents get how far."""
    agents = [r for r in records if r["kind"] == "agent"]
    shown = measure.best(list(map(dict, records)), target)
    dense = [r for r in agents if r["method"] == "dense"]
    reached = sum(r["return"] >= target for r in dense)
    names = {name for r in dense for name in r["inputs"]}
    left = sorted(names - set(shown["inputs"]))
    ignored = f", which ignore {' and '.join(left)}," if left else ""
    units = counted(shown["units"], "hidden unit")
    what = f"{counted(shown['weights'], 'weight')} and {units}{ignored}"
    if shown["return"] < target:
        return (
            f"No agent reaches {target:g}; the best, of {what.rstrip(',')}, has a "
            f"mean return of "
            f"{shown['return']:g}"
        )
    return (
        f"{reached} of {counted(len(dense), 'trained agent')} reached {target:g}; "
        f"{what} are enough"
    )


def table(config: Config, records: Records) -> list[list[str]]:
    """Rows of agents by method: weights, units, inputs, returns."""
    rows = [["agent", "at the target", "weights: fewest / median / most", "biases",
             "hidden units", "that bend", "inputs ignored by",
             "lowest mean return"]]  # fmt: skip
    target, env = config_.target(config), config_.environment(config)
    for method in dict.fromkeys(r["method"] for r in records if r["kind"] == "agent"):
        group = [r for r in records if r["kind"] == "agent" and r["method"] == method]
        good = [r for r in group if r["return"] >= target]

        def span(name, good=good):
            return (
                " / ".join(
                    f"{f([r[name] for r in good]):g}" for f in (min, np.median, max)
                )
                if good
                else "–"
            )

        ignored = [
            f"{name} {sum(name not in r['inputs'] for r in good)}"
            for name in env.inputs
        ]
        rows.append([
            METHODS[method], f"{len(good)} of {len(group)}", span("weights"),
            span("biases"), span("units"), span("bent_units"), ", ".join(ignored),
            f"{min(r['return'] for r in group):g}",
        ])  # fmt: skip
    return rows


def _params(config: Config, stages: Stages, shown) -> Any:
    at = list(config.seeds).index(shown["seed"])

    def part(leaf):
        return jnp.asarray(leaf[at])

    return jax.tree.map(part, stages[shown["method"]]["params"])


def _figures(config, records, stages, episode, fn, shown) -> dict[str, tuple[Any, str]]:
    target, env = config_.target(config), config_.environment(config)
    walks = [
        plots.Walk(METHODS[method], *(stage[f"tried_{name}"][:, at] for name in
                                      ("weights", "returns", "accepted")))
        for method, stage in stages.items() if "tried_weights" in stage
        for at in range(len(config.seeds))
    ]  # fmt: skip
    agents = [r for r in records if r["kind"] == "agent"]
    dense = stages["dense"]
    perfect = int((dense["returns"].max(axis=1) >= target).sum())
    group = [r for r in records if r["kind"] == "inputs" and r["method"] ==
             shown["method"]]  # fmt: skip
    subsets = np.array([r["returns"] for r in group])
    units = np.array([r["returns"] for r in records if r["kind"] == "units"])
    some = (units >= target) @ np.ones(units.shape[1])
    first = np.where(some > 0, (units >= target).argmax(axis=1), units.shape[1] - 1)
    most = max(r["weights"] for r in agents)
    title = f"From {most:,} weights to {shown['weights']} at a return of {target:g}"
    return {
        "weights": (
            plots.returns_by_weights(walks, target, title=title),
            "Every point is something that was tried: kept where the mean return "
            "stayed at the target, else undone. Lottery rounds are judged in "
            "gymnasium, steps without retraining by 64 episodes in JAX.",
        ),
        "learning": (
            plots.learning(dense["steps"], np.asarray(dense["returns"]), target,
                           title=f"{perfect} of "
                                 f"{counted(len(config.seeds), 'seed')} reached "
                           f"{target:g} during training"),
            "Mean return of the greedy agent; the best evaluated one is kept.",
        ),
        "inputs": (
            plots.inputs_kept(env.inputs, subsets,
                              [f"seed {r['seed']}" for r in group],
                              title=f"Return by inputs: {METHODS[shown['method']]}"),
            "Each column holds the inputs that are light below at 0.",
        ),
        "units": (
            plots.units_kept(units, target, title="Without training, a median of "
                             f"{np.median(first):g} of "
                             f"{counted(units.shape[1] - 1, 'hidden unit')} "
                             "keep the return"),
            "Units with the smallest deviation (times outgoing weights) go first; "
            "biases take over their means.",
        ),
        "decisions": (_decisions(config, episode, fn, shown),
                      "The other inputs are 0. Dots: states of one episode."),
    }  # fmt: skip


def _decisions(config, episode, fn, shown):
    env = config_.environment(config)
    pairs = [(i, i + 1) for i in range(len(env.inputs) - 2, -1, -2)]
    margins, planes, visited = [], [], []
    for i, j in pairs:
        x = np.linspace(env.low[i], env.high[i], 161)
        y = np.linspace(env.low[j], env.high[j], 161)
        points = np.zeros((161, 161, len(env.inputs)), np.float32)
        points[..., i], points[..., j] = np.meshgrid(x, y)
        values = np.asarray(fn(jnp.asarray(points)))
        margins.append(values[..., 1] - values[..., 0])

        def label(k):
            return f"{env.inputs[k]} ({env.units[k]})"

        planes.append((label(i), label(j), (x[0], x[-1], y[0], y[-1])))
        visited.append((episode.observations[:, i], episode.observations[:, j]))
    title = f"Decisions of {counted(shown['weights'], 'weight')}"
    return plots.decisions(margins, planes, visited, env.actions, title=title)


def _film(folder: Path, config, episode, shown) -> pages.Html:
    path = folder / "episode.gif"
    end = "still up" if episode.truncated else "fallen"
    weights = counted(shown["weights"], "weight")
    title = f"{weights}: {end} after {counted(len(episode.actions), 'step')}"
    plots.balance_film(path, episode.observations, episode.actions, title=title)
    uri = pages.data_uri(path.read_bytes(), "image/gif")
    picture = pages.tag("img", src=uri, alt=title, style="--width: 576px")
    plate = pages.tag("div", picture, class_="plate fit")
    caption = "One episode in gymnasium, in real time."
    return pages.tag("figure", plate, pages.tag("figcaption", caption))


def _facts(config, records, shown) -> list[tuple[Any, ...]]:
    target = config_.target(config)
    dense = [r for r in records if r["kind"] == "agent" and r["method"] == "dense"]
    reached = sum(r["return"] >= target for r in dense)
    return [
        ("trained", f"{reached} of {len(dense)}", f"agents at {target:g}"),
        ("fewest weights", shown["weights"], f"of {dense[0]['weights']:,}"),
        ("hidden units", shown["units"], f"of {sum(config.widths)}"),
        ("inputs read", len(shown["inputs"]), ", ".join(shown["inputs"])),
        ("mean return", f"{shown['return']:g}", f"lowest {shown['lowest']:g}"),
    ]


def _footer(config: Config) -> str:
    return (
        f"Made by sparsejax from metrics.jsonl. DQN, {config.steps:,} steps in the "
        f"environment; returns over {counted(config.episodes, 'episode')} in "
        f"gymnasium. After "
        "Böhm, Kirk, Gavenčiak, Sparsity and interpretability?, 2020."
    )
