"""The pole in a headless browser, against the library's own physics."""

import math
import re

import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import flowgraph
from sparsejax.experiments.cartpole import pole_page
from sparsejax.rl import cartpole, environments

ENV = environments.load("CartPole-v1")
START = [0.01, -0.03, 0.02, 0.04]

REPORT = """
const report = (found) => document.body.append(
  sj.el("pre", { id: "found", hidden: true }, JSON.stringify(found)));
requestAnimationFrame = (run) => setTimeout(run); // no screen, no frames
const frame = (time = 20) => new Promise((done) => setTimeout(done, time));
const button = (text) => [...document.querySelectorAll(".balance button")]
  .find((b) => b.textContent === text);
const said = () => document.querySelector(".balance output").textContent;
"""


def lean(x):
    push = 0.1 * x[0] + 0.3 * x[1] + 3 * x[2] + 1.5 * x[3]
    return jnp.stack([jnp.maximum(-push, 0), jnp.maximum(push, 0)])


def sway(x):
    return jnp.stack([jnp.maximum(-x[2], 0), jnp.maximum(x[2], 0)])


@pytest.fixture
def browse(tmp_path, read_page):
    def open_page(fn, script, state=""):
        graph = flowgraph.trace(
            fn, np.zeros(4, np.float32), names=ENV.inputs, output_names=ENV.actions,
            domain=(np.array(ENV.low), np.array(ENV.high)),
        )  # fmt: skip
        path = tmp_path / "graph.html"
        pole_page.save(path, graph, ENV, np.array([START], np.float32), fn=fn)
        text = path.read_text()
        assert "http:" not in text.replace("http://www.w3.org", "")
        assert "https:" not in text
        whole = f"(async () => {{ {script} }})().catch((e) => report(e.stack));"
        ended = text.replace("</body>", f"<script>{REPORT}{whole}</script></body>")
        path.write_text(ended)
        dom, found = read_page(f"{path.as_uri()}#{state}")
        assert "data-failed" not in re.search("<html[^>]*>", dom)[0]
        return found

    return open_page


def steps(fn, state):
    """An episode in plain Python, in doubles."""
    for time in range(1, ENV.limit + 1):
        x, v, angle, spin = state
        push = 10.0 if int(np.argmax(fn(np.array(state)))) == 1 else -10.0
        lean = (push + 0.05 * spin**2 * math.sin(angle)) / 1.1
        turn = (9.8 * math.sin(angle) - math.cos(angle) * lean) / (
            0.5 * (4 / 3 - 0.1 * math.cos(angle) ** 2 / 1.1)
        )
        pull = lean - 0.05 * turn * math.cos(angle) / 1.1
        state = (x + 0.02 * v, v + 0.02 * pull, angle + 0.02 * spin, spin + 0.02 * turn)
        if abs(state[0]) > 2.4 or abs(state[2]) > math.radians(12):
            return time
    return ENV.limit


@pytest.mark.parametrize("fn", [lean, sway])
def test_episodes_last_as_long_as_ours(fn, browse):
    starts = [START, [0.04, 0.01, -0.03, 0.02], [-0.02, 0.05, 0.01, -0.05]]
    found = browse(fn, f"report({starts}.map((start) => pole.episode(start)))")
    given = [np.float32(s) for s in starts]
    assert found == [steps(fn, tuple(map(float, s))) for s in given] or found == [
        steps(fn, s) for s in starts
    ]
    assert (found == [500] * 3) == (fn is lean)


def test_a_step_is_that_of_the_library(browse):
    state = [0.3, -0.7, 0.1, 0.9]
    found = browse(lean, f"report([0, 1].map((action) => pole.step({state}, action)))")
    for action in (0, 1):
        after, _, _ = cartpole.step(
            cartpole.State(*jnp.array(state)), jnp.int32(action)
        )
        np.testing.assert_allclose(found[action], cartpole.observe(after), rtol=1e-5)


def test_buttons_play_and_edits_decide(browse):
    found = browse(
        lean,
        """
        const first = [...flow.now.x], seen = [said()];
        button("Step").click(); await frame();
        seen.push(said());
        button("Play").click(); await frame(300);
        const playing = said();
        button("Pause").click(); await frame(60);
        const stopped = said(); await frame(200);
        const whole = pole.episode(first);
        const { keys, outputs } = flow.graphs[0];
        flow.actions.edit(["clamp", keys[outputs[1]], -1]); await frame();
        const removed = pole.episode(first);
        const slider = document.querySelector(".knob input[type=range]");
        slider.value = 1; slider.dispatchEvent(new Event("input", { bubbles: true }));
        await frame();
        report({ seen, playing, stopped, later: stopped === said() || said(),
          whole, removed, moved: flow.now.x[0] });
        """,
    )
    assert found["seen"] == ["not started", "step 1 of 500"]
    assert found["playing"].startswith("step ") and found["playing"] != "step 1 of 500"
    assert found["later"] == "not started"  # a slider moved the cart
    assert (found["whole"], found["moved"]) == (500, 1)
    assert found["removed"] < 100


def test_the_address_can_start_it(browse):
    found = browse(lean, "await frame(400); report(said());", "play=1")
    assert found.startswith("step ")
