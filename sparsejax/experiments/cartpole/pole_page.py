"""The flow graph page of an agent, with the pole that it balances beside it.

`page/pole.js` holds the pole: the page's own engine evaluates the
graph, edits included, and its largest output pushes the cart.
"""

from pathlib import Path
from typing import Any

from jaxtyping import ArrayLike

from sparsejax.experiments._study.report import resource
from sparsejax.flowgraph import Graph, PageExtra
from sparsejax.rl import cartpole
from sparsejax.rl.environments import Environment


def save(
    path: Path,
    graph: Graph,
    environment: Environment,
    samples: ArrayLike,
    **options: Any,
) -> None:
    """Write the page.

    Args:
        path: of the file.
        graph: of an agent: four observations to the values of two actions.
        environment: CartPole.
        samples: states to choose from, shape (k, 4).
        options: as of `Graph.save_html`.
    """
    constants = {
        "gravity": cartpole.GRAVITY,
        "cart": cartpole.CART,
        "mass": cartpole.POLE,
        "half": cartpole.HALF,
        "force": cartpole.FORCE,
        "dt": cartpole.DT,
        "track": cartpole.TRACK,
        "tilt": cartpole.TILT,
        "start": cartpole.START,
        "limit": environment.limit,
    }
    script, style = (resource(__name__, f"pole.{end}") for end in ("js", "css"))
    extra = PageExtra(script, style, constants)
    graph.save_html(path, samples=samples, extra=extra, **options)
