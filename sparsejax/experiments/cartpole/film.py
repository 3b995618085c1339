"""One episode as a film: the pole, its angle and the cart's position in time."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from sparsejax import pages, runs
from sparsejax.pages import counted
from sparsejax.plots.style import COLORS, styled
from sparsejax.rl import gym


def film(path: Path, episode: gym.Episode, shown: Mapping[str, Any]) -> pages.Html:
    """An episode as a GIF, and as an element of a page.

    Args:
        path: of the GIF.
        episode: of the agent.
        shown: its record.
    """
    end = "still up" if episode.truncated else "fallen"
    weights = counted(shown["weights"], "weight")
    title = f"{weights}: {end} after {counted(len(episode.actions), 'step')}"
    balance_film(path, episode.observations, episode.actions, title=title)
    uri = pages.data_uri(path.read_bytes(), "image/gif")
    picture = pages.tag("img", src=uri, alt=title, style="--width: 576px")
    plate = pages.tag("div", picture, class_="plate fit")
    caption = "One episode in gymnasium, in real time."
    return pages.tag("figure", plate, pages.tag("figcaption", caption))


@styled
def balance_film(
    path: Path,
    observations: Float[np.ndarray, "steps_and_one 4"],
    actions: ArrayLike,
    *,
    title: str,
    every: int = 4,
    seconds: float = 0.02,
) -> Figure:
    """A GIF of one episode in real time: cart and pole, angle and position so far.

    Args:
        path: of the file.
        observations: position (m), velocity, angle (rad), angular velocity.
        actions: 1 pushes to the right.
        title: above it.
        every: steps between frames.
        seconds: a step.
    """
    figure = Figure(figsize=(8, 3), layout="constrained")
    scene, trace = figure.subplots(1, 2, width_ratios=[3, 2])
    figure.suptitle(title, x=0.01, ha="left", size=11)
    scene.set(xlim=(-2.6, 2.6), ylim=(-0.45, 1.35), aspect="equal", yticks=[])
    scene.set_xlabel("position (m)")
    scene.grid(False)
    for limit in (-2.4, 2.4):
        scene.axvline(limit, color=COLORS[1], ls=":", lw=1)
    scene.axhline(0, color="#888888", lw=1)
    cart = scene.add_patch(Rectangle((-0.25, -0.12), 0.5, 0.24, color="#444444"))
    (pole,) = scene.plot([], [], color=COLORS[1], lw=5, solid_capstyle="round")
    (push,) = scene.plot([], [], color=COLORS[0], lw=3)
    time = seconds * np.arange(len(observations))
    angle, place = np.degrees(observations[:, 2]), observations[:, 0]
    trace.set(xlim=(0, max(time[-1], 1)), xlabel="time (s)")
    reach = max(1.0, np.abs(angle).max(), 10 * np.abs(place).max())
    trace.set_ylim(-1.05 * reach, 1.05 * reach)
    (first,) = trace.plot([], [], color=COLORS[1], lw=1, label="angle (degrees)")
    (second,) = trace.plot([], [], color=COLORS[0], lw=1, label="position (10 cm)")
    trace.legend(loc="upper right", fontsize=8)
    pushed = np.asarray(actions)
    writer = PillowWriter(fps=round(1 / (every * seconds)))
    with runs.atomic(path) as temporary, writer.saving(figure, str(temporary), 72):
        for i in range(0, len(observations), every):
            x, tilt = place[i], observations[i, 2]
            cart.set_x(x - 0.25)
            pole.set_data([x, x + math.sin(tilt)], [0, math.cos(tilt)])
            side = 1 if pushed[min(i, len(pushed) - 1)] == 1 else -1
            push.set_data([x + side * 0.25, x + side * 0.5], [0, 0])
            first.set_data(time[: i + 1], angle[: i + 1])
            second.set_data(time[: i + 1], 10 * place[: i + 1])
            writer.grab_frame()
            figure.set_layout_engine("none")  # as laid out once: faster, and steady
    return figure
