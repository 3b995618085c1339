// A cart and its pole beside the graph of the agent that balances it. The graph on the
// page, as it was edited, decides; the physics are those of rl/cartpole.py, in doubles.
const pole = (() => {
  const { el, svg } = sj;
  const { actions, after, now } = flow;
  const { gravity, cart, mass, half, force, dt, track, tilt, start, limit } =
    sj.data.extra;

  // ---- Physics and agent

  const step = ([x, v, angle, spin], action) => {
    const push = action === 1 ? force : -force;
    const cos = Math.cos(angle), sin = Math.sin(angle), whole = cart + mass;
    const lean = (push + mass * half * spin * spin * sin) / whole;
    const turn = (gravity * sin - cos * lean) /
      (half * (4 / 3 - (mass * cos * cos) / whole));
    const pull = lean - (mass * half * turn * cos) / whole;
    return [x + dt * v, v + dt * pull, angle + dt * spin, spin + dt * turn];
  };
  const fell = ([x, , angle]) => Math.abs(x) > track || Math.abs(angle) > tilt;
  const decide = (state) => {
    const graph = source.first, changes = engine.changes(graph, now.edits[0]);
    const values = source.outputsOf(graph, engine.evaluate(graph, state, changes));
    return values.indexOf(Math.max(...values));
  };
  const episode = (first) => { // steps until it falls, or to the limit
    let state = first;
    for (let time = 1; time <= limit; time++) {
      state = step(state, decide(state));
      if (fell(state)) return time;
    }
    return limit;
  };
  const random = (seed) => () => { // mulberry32
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };

  // ---- What is shown

  let time = 0, number = 0, timer = null, mine = null;
  const over = () => fell(now.x) || time >= limit;
  const says = () => {
    if (fell(now.x)) return `fell after ${time} steps`;
    if (time >= limit) return `balanced ${time} of ${limit} steps`;
    return time ? `step ${time} of ${limit}` : "not started";
  };
  const line = (name, more) => svg("line", { class: name, ...more });
  const body = svg("g", {},
    line("push", { y1: 0, y2: 0 }),
    svg("rect", { class: "cart", x: -0.25, y: -0.11, width: 0.5, height: 0.22, rx: 0.04 }),
    ...[-tilt, tilt].map((angle) => line("bound", { x1: 0, y1: 0,
      x2: Math.sin(angle), y2: -Math.cos(angle) })),
    line("pole", { x1: 0, y1: 0, x2: 0, y2: -2 * half }),
    svg("circle", { class: "axle", r: 0.05 }));
  const picture = svg("svg", { viewBox: "-2.7 -1.15 5.4 1.5", role: "img",
    "aria-label": "The cart and its pole" },
  line("rail", { x1: -track, x2: track, y1: 0.11, y2: 0.11 }),
  ...[-track, track].map((x) => line("bound", { x1: x, x2: x, y1: -1.05, y2: 0.3 })),
  body);
  const play = el("button", { type: "button", class: "plain", onclick: () => toggle() });
  const note = el("output", {});

  const move = (steps) => {
    let state = now.x.slice();
    for (let i = 0; i < steps && !fell(state) && time < limit; i++, time++) {
      state = step(state, decide(state));
    }
    put(state);
    if (over()) stop();
  };
  const put = (state) => {
    mine = state.slice();
    actions.feed((x) => x.splice(0, x.length, ...state));
  };
  const stop = () => { clearInterval(timer); timer = null; show(); };
  const toggle = () => {
    if (timer) return stop();
    if (over()) reset();
    timer = setInterval(() => move(2), 2000 * dt); // real time, 25 pictures a second
    show();
  };
  const reset = () => {
    const draw = random(++number);
    time = 0;
    put(Array.from({ length: 4 }, () => start * (2 * draw() - 1)));
  };
  const show = () => {
    if (mine && now.x.some((value, i) => value !== mine[i])) { // moved by hand
      time = 0;
      mine = null;
    }
    const [x, , angle] = now.x, side = decide(now.x) === 1 ? 1 : -1;
    body.setAttribute("transform", `translate(${x} 0)`);
    const [arrow, , , , rod] = body.children;
    rod.setAttribute("transform", `rotate(${(angle * 180) / Math.PI})`);
    arrow.setAttribute("x1", side * 0.25);
    arrow.setAttribute("x2", side * 0.5);
    play.textContent = timer ? "Pause" : "Play";
    note.textContent = says();
  };

  const section = el("section", { class: "balance" },
    el("h2", {}, "The pole ", el("span", { class: "quiet" }, "the graph decides")),
    picture,
    el("div", { class: "tools" }, play,
      el("button", { type: "button", class: "plain", onclick: () => move(1) }, "Step"),
      el("button", { type: "button", class: "plain", title: "Another random start",
        onclick: () => { stop(); reset(); } }, "New start"), note));
  document.querySelector("#flow .band").prepend(section);
  after.push(show);
  show();
  if (sj.hash.get("play", 0) === 1) { reset(); toggle(); }
  return { step, episode, decide };
})();
