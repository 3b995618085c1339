"""The figures, tables and pages of a run on pruned agents."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import flowgraph, pages, runs
from sparsejax.experiments._study import records as records_
from sparsejax.experiments._study import report
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.cartpole import figures, measure, pole_page, policy, train
from sparsejax.experiments.cartpole.config import ARMS, Config
from sparsejax.experiments.cartpole.film import film
from sparsejax.flowgraph import Graph
from sparsejax.pages import counted
from sparsejax.rl import dqn, gym

Records = Sequence[Mapping[str, Any]]
Stages = Mapping[str, Mapping[str, Any]]


def write(study: Study, by_arm: Stages) -> None:
    """Write `fig_*.svg`, `episode.gif`, `table.md`, `policy.txt`, `graph.html`, and
    `index.html`.

    Args:
        study: the run.
        by_arm: its stages.
    """
    config, records = study.config, study.records
    shown = measure.best(records, config.goal)
    params = _params(config, by_arm, shown)

    def fn(x):
        return dqn.values(train.settings(config))(params, x)

    graph = agent_graph(config, fn)
    episode = measure.episode(train.settings(config), params)
    _write_graph(study, graph, fn, episode, shown)
    made = figures.figures(config, records, by_arm, shown, episode, fn)
    drawn = report.figures(study, made)
    words = said(graph, config, episode)
    runs.write_text(study.folder / "policy.txt", "\n".join(words) + "\n")
    middle = episode.observations[len(episode.actions) // 10]
    header, *rows = table(config, records)
    report.page(
        study,
        f"{config.environment}, pruned until it can be read",
        pages.facts(_facts(config, records, shown)),
        pages.section(
            "The smallest agent",
            pages.tag("p", pages.tag("a", "Its graph, and the pole", href="graph.html"),
                      f" ({_who(shown)}): move the inputs, remove a node, let it "
                      "balance."),
            pages.figure_svg(
                graph.at("neuron").to_svg(middle),
                "The whole agent for one state of an episode.", "graph of the agent"),
            pages.tag("pre", "\n".join(words)),
            film(study.folder / "episode.gif", episode, shown),
            drawn["decisions"],
            pages.tag("details", pages.tag("summary", "as a Python program"),
                      pages.tag("pre", graph.to_python())),
        ),
        pages.section("How far agents can be pruned", drawn["weights"],
                      report.table(study, header, rows)),
        pages.section("Which inputs they need", drawn["inputs"]),
        pages.section("Training, and hidden units", drawn["learning"], drawn["units"]),
        lead=finding(records, config.goal),
        footer=_footer(config),
    )  # fmt: skip


def agent_graph(config: Config, fn) -> Graph:
    """The flow graph of an agent on the environment's bounds."""
    env = train.environment(config)
    return flowgraph.trace(
        fn,
        jnp.zeros(len(env.inputs)),
        domain=(np.array(env.low), np.array(env.high)),
        names=[f"{n} ({unit})" for n, unit in zip(env.inputs, env.units, strict=True)],
        output_names=env.actions,
    )


def said(graph: Graph, config: Config, episode: gym.Episode) -> list[str]:
    """The policy in words, and how well the rounded words hold."""
    env = train.environment(config)
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
    shown = measure.best(records, target)
    dense = [r for r in agents if r["arm"] == "dense"]
    reached = sum(r["return"] >= target for r in dense)
    names = {name for r in dense for name in r["inputs"]}
    left = sorted(names - set(shown["inputs"]))
    ignored = f", which ignore {' and '.join(left)}," if left else ""
    units = counted(shown["units"], "hidden unit")
    what = f"{counted(shown['weights'], 'weight')} and {units}{ignored}"
    if shown["return"] < target:
        return (
            f"No agent reaches {target:g}; the best, of {what.rstrip(',')}, has a "
            f"mean return of {shown['return']:g}"
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
    target, env = config.goal, train.environment(config)
    agents = records_.group(records, "kind")["agent"]
    for arm, group in records_.group(agents, "arm").items():
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
            ARMS[arm], f"{len(good)} of {len(group)}", span("weights"),
            span("biases"), span("units"), span("bent_units"), ", ".join(ignored),
            f"{min(r['return'] for r in group):g}",
        ])  # fmt: skip
    return rows


def _write_graph(study: Study, graph: Graph, fn, episode: gym.Episode, shown) -> None:
    config, seen = study.config, episode.observations
    pole_page.save(
        study.folder / "graph.html",
        graph,
        train.environment(config),
        seen[[0, 25, 50, 100]] if len(episode.actions) >= 100 else seen[:4],
        title=f"{config.environment}: {counted(shown['weights'], 'weight')}",
        lead=f"{_who(shown)}: mean return {shown['return']:g} over "
        f"{counted(config.num_episodes, 'episode')} in gymnasium.",
        fn=fn,
        data=seen,
    )


def _who(shown: Mapping[str, Any]) -> str:
    return f"{ARMS[shown['arm']]}, seed {shown['seed']}"


def _params(config: Config, by_arm: Stages, shown) -> Any:
    at = list(config.seeds).index(shown["seed"])

    def part(leaf):
        return jnp.asarray(leaf[at])

    return jax.tree.map(part, by_arm[shown["arm"]]["params"])


def _facts(config, records, shown) -> list[tuple[Any, ...]]:
    target = config.goal
    dense = [r for r in records if r["kind"] == "agent" and r["arm"] == "dense"]
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
        f"environment; returns over {counted(config.num_episodes, 'episode')} in "
        f"gymnasium. After "
        "Böhm, Kirk, Gavenčiak, Sparsity and interpretability?, 2020."
    )
