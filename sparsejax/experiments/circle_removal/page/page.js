// The page: its state, what changes it, and one pass that shows it all.
const circle = (() => {
  const { el } = sj;
  const { plain, group, fact, head, panel, key, percent, change, plural } = view;
  const { n, nodes, has } = net;
  const PIXELS = 201, THUMB = 34, PACE = 450; // milliseconds between steps of a walk
  const fine = net.grid(PIXELS), coarse = net.grid(THUMB);
  const large = Math.max(...coarse.votes.flatMap((votes) => [...votes.map(Math.abs)]));

  // ---- State, also in the address: #mask=1101…&keep=0.5&map=loss&points=wrong

  const bits = (mask) => nodes.map((i) => has(mask, i)).join("");
  const fromBits = (text) => text.length === n && /^[01]+$/.test(text)
    ? nodes.reduce((mask, i) => mask | (text[i] << i), 0) : net.every;
  const oneOf = (name, values, fallback) => {
    const given = sj.hash.get(name, fallback);
    return values.includes(given) ? given : fallback;
  };
  const KEEPS = sj.data.keeps, MAPS = ["loss", "gradient"];
  const POINTS = ["none", "wrong", "all"];
  const MIDDLE = KEEPS.reduce((a, b) => Math.abs(b - 0.5) < Math.abs(a - 0.5) ? b : a);
  const now = {
    mask: fromBits(sj.hash.get("mask", "")), keep: oneOf("keep", KEEPS, MIDDLE),
    map: oneOf("map", MAPS, "loss"), points: oneOf("points", POINTS, "wrong"),
    node: Math.min(n - 1, Math.max(0, Math.trunc(sj.hash.get("node", 0)))),
    pointed: null, kind: "best", past: [], walk: null, timer: null,
  };
  let writing = 0;
  const remember = () => { // once nothing has changed for a while
    clearTimeout(writing);
    writing = setTimeout(() => {
      const { mask, keep, map, points, node } = now;
      for (const [name, value] of Object.entries({ mask: bits(mask), keep, map, points,
        node })) sj.hash.set(name, value);
    }, 200);
  };

  // ---- Actions

  const show = (mask) => { // within a walk, which goes on
    if (mask !== now.mask) now.past.push(now.mask);
    if (now.past.length > 500) now.past.shift();
    now.mask = mask;
    render();
  };
  const pause = () => { clearInterval(now.timer); now.timer = null; };
  const put = (mask) => { pause(); now.walk = null; show(mask); };
  const set = (changes) => { Object.assign(now, changes); render(); };
  const undo = () => {
    pause();
    now.walk = null;
    now.mask = now.past.pop() ?? now.mask;
    render();
  };
  const open = (kind, k) => { now.kind = kind; put(chosen[kind].masks[k]); };
  const step = () => {
    const { walk } = now;
    if (walk.at < walk.path.length - 1) walk.at += 1;
    if (walk.at === walk.path.length - 1) pause();
    show(walk.path[walk.at]);
  };
  const play = () => {
    if (now.timer) pause(); else now.timer = setInterval(step, PACE);
    render();
  };
  const walk = (path, kind) => {
    pause();
    now.walk = { path, kind, at: 0, losses: path.map(net.lossOf) };
    if (path.length > 1) play(); else render();
  };

  // ---- What never changes

  const sizes = [...Array(n + 1).keys()];
  const chosen = {
    best: { masks: net.best, label: (k) => `Best ${k}` },
    shapley: { masks: net.top, label: (k) => `Top ${k} by Shapley` },
  };
  for (const one of Object.values(chosen)) one.losses = one.masks.map(net.lossOf);
  const series = [
    { name: "mean", values: sj.data.means },
    { name: "shapley", values: chosen.shapley.losses },
    { name: "best", values: chosen.best.losses }];
  const mixed = new Map(KEEPS.map((keep) => [keep, net.density(net.chances(keep))]));
  const most = 1.25 * Math.max(...[...mixed.values()].flatMap((all) => [...all]));

  // ---- The document

  const facts = { loss: fact("Loss"), accuracy: fact("Accuracy"),
    kept: fact("Nodes kept"), better: fact("Better than"),
    rank: fact("Rank in its size") };
  for (const [name, { box }] of Object.entries(facts)) box.dataset.fact = name;

  const surface = view.map("decision surface"), second = view.map("loss");
  const points = group("Test points", POINTS.map((name) =>
    [name, { none: "None", wrong: "Wrong", all: "All" }[name]]),
  (value) => set({ points: value }));
  const maps = group("What the second map shows",
    [["loss", "Loss"], ["gradient", "Gradient"]], (map) => set({ map }));
  const said = [el("p", { class: "say" }), el("p", { class: "say" })];
  for (const { canvas, point } of [surface, second]) {
    const spot = (place) => { now.spot = place; tell(); };
    canvas.addEventListener("pointermove", (event) => spot(point(event)));
    canvas.addEventListener("pointerleave", () => spot(null));
  }

  const switches = nodes.map((i) => {
    const picture = el("canvas", { "aria-hidden": "true" });
    const text = el("span", { class: "change" }), bar = el("i"), word = el("span",
      { class: "state" });
    const point = () => set({ pointed: i, node: i });
    const leave = () => set({ pointed: null });
    const button = el("button", { type: "button", class: "node", "data-node": i,
      onclick: () => put(now.mask ^ (1 << i)), onpointerenter: point, onfocus: point,
      onpointerleave: leave, onblur: leave },
    el("span", { class: "name" }, i), word, picture, text,
    el("span", { class: "bar" }, bar));
    return { button, picture, text, bar, word };
  });
  const advice = el("p", { class: "say", role: "status" });
  const back = plain("Undo", undo);

  const keeps = group("Keep probability", KEEPS.map((p) => [p, p]), (value) =>
    set({ keep: value }));
  const [curve, trend, track] = ["distribution", "bysize", "walk"].map((name) =>
    el("div", { class: `chart ${name}` }));
  const someKey = el("span", { style: "--color: var(--accent)" });
  const allKey = el("span", { style: "--color: var(--control)" });
  const kinds = group("Which network of this size",
    Object.keys(chosen).map((kind) => [kind, ""]), (kind) =>
      open(kind, net.size(now.mask)));
  let following = false; // the slider moves with the network
  const slider = sj.slider("Nodes kept", n + 1, (k) => `${k} of ${n}`, (k) => {
    if (!following) open(now.kind, k);
  });
  const compared = el("p", { class: "say" });
  const playing = plain("Pause", play), stepping = plain("Step", step);
  const idle = el("p", { class: "idle" }, "A random walk flips every node once and " +
    "ends at the complement. Downhill always makes the flip that lowers the loss most.");
  const told = el("p", { class: "say" });

  sj.fill("circle",
    el("dl", { class: "facts" }, Object.values(facts).map(({ box }) => box)),
    el("div", { class: "bench" },
      panel(head("Decision surface", el("span", { class: "label" }, "Points"),
        points.box), surface.stage, said[0]),
      panel(head("Point by point", maps.box), second.stage, said[1]),
      panel(head("Nodes", plain("All on", () => put(net.every)),
        plain("All off", () => put(0)),
        plain("Flip all", () => put(net.every ^ now.mask), "The complement"), back),
      el("div", { class: "nodes" }, switches.map(({ button }) => button)),
      advice,
      el("div", { class: "tools" }, el("span", { class: "label" }, "Random"),
      el("div", { class: "group", role: "group",
        "aria-label": "Random subnetwork" }, KEEPS.map((p) => el("button", {
          type: "button", title: "Keep every node with this probability",
          onclick: () => put(net.random(p)) }, p))),
      sj.legend("outside", "inside")))),
    el("div", { class: "charts" },
      panel(head("All subnetworks", el("span", { class: "label" },
        "Keep probability"), keeps.box), curve,
      el("div", { class: "keys" }, allKey, someKey,
        el("span", { class: "dot" }, "this network"))),
      panel(head("Loss by size", kinds.box), trend,
        el("div", { class: "keys" }, key("var(--accent)", "best of its size"),
          key("var(--second)", "top by Shapley"),
          key("var(--control)", "mean", "dashed")), slider, compared),
      panel(head("Walks", plain("Random walk", () => walk(net.along(now.mask,
        net.shuffled()), "random")), plain("Downhill", () =>
        walk(net.downhill(now.mask), "downhill")), playing, stepping), track, told)));

  // ---- The pass

  const share = { loss: (value) => (Math.log10(value) + 3) / 4 }; // 0.001 to 10
  const nice = (size) => [1, 2, 3, 5, 10].map((digit) =>
    digit * 10 ** Math.floor(Math.log10(size || 1))).find((limit) => limit >= size);
  const trained = [...fine.outside.keys()].filter((p) => // cells of the training square
    [p % PIXELS, Math.floor(p / PIXELS)].every((at) =>
      Math.abs((at + 0.5) / PIXELS * 2 - 1) * net.reach <= 1));
  const largest = (values) => // a round number
    nice(trained.reduce((most, p) => Math.max(most, Math.abs(values[p])), 0));
  let result, z;

  const drawMaps = () => {
    const { wrong, loss } = result;
    const chance = net.inside(z), shown = now.points;
    const labelled = (label) => [...net.y.keys()].filter((p) => net.y[p] === label);
    surface.show({ values: chance, pixels: PIXELS, share: (value) => value,
      legend: { colors: view.viridis, label: "P(inside)",
        ticks: [0, 0.25, 0.5, 0.75, 1].map((at) => [at, at]) },
      node: now.pointed, say: `Decision surface, loss ${sj.format(loss)}`,
      marks: { wrong: shown === "none" ? [] : wrong, all: [0, 1].map((label) =>
        shown === "all" ? labelled(label) : []) } });
    const gradient = now.map === "gradient";
    const values = gradient ? net.gradient(z, fine, now.node) : net.pointwise(z, fine);
    const limit = largest(values), half = limit / 2;
    second.show({ values, pixels: PIXELS, node: now.pointed,
      share: gradient ? (value) => (128 + 127 * value / limit) / 255 : share.loss,
      legend: gradient ? { colors: view.signed().reverse(), // good: lower loss
        label: `∂ loss / ∂ node ${now.node}`,
        plain: true, ticks: [-limit, -half, 0, half, limit].map((at, i) =>
          [i / 4, sj.format(at, 2)]) }
        : { colors: view.magma, label: "loss",
          ticks: [0.001, 0.01, 0.1, 1, 10].map((at, i) => [i / 4, at]) },
      say: gradient ? `Gradient of the loss for node ${now.node}`
        : "Loss at every point" });
    now.second = values;
    now.chance = chance;
  };

  const tell = () => { // under the maps
    const gradient = now.map === "gradient", { spot } = now;
    if (!spot) {
      said[0].textContent = now.pointed != null ? "Dotted: where node " +
        `${now.pointed} begins to act. Dashed: the training square.`
        : now.points === "none" ? "Circle: the truth. Dashed: the " +
        "training square." : `Crosses: ${plural(result.wrong.length, "test point")} ` +
        "on the wrong side. Dashed: the training square.";
      said[1].textContent = gradient ? `Strengthening node ${now.node} lowers the ` +
        "loss where it is negative. Point at a node for its own." :
        "Cross entropy were a test point there. Colours are logarithmic.";
      return;
    }
    const [column, row] = [spot[0], -spot[1]].map((value) => Math.min(PIXELS - 1,
      Math.floor((value / net.reach + 1) / 2 * PIXELS)));
    const p = row * PIXELS + column;
    const [x1, x2] = spot.map((value) => view.minus(value.toFixed(2)));
    const where = `x₁ = ${x1}, x₂ = ${x2}: `;
    said[0].replaceChildren(`${where}P(inside) = `, el("b", {},
      now.chance[p].toFixed(3)));
    said[1].replaceChildren(`${where}${gradient ? "gradient" : "loss"} = `,
      el("b", {}, sj.format(now.second[p])));
  };

  const drawSwitches = () => {
    const { flips } = result, widest = Math.max(...flips.map(Math.abs)) || 1;
    const least = Math.min(...flips), next = least < -1e-12 ? flips.indexOf(least) : -1;
    switches.forEach(({ button, text, bar, word }, i) => {
      const on = has(now.mask, i) === 1, falls = flips[i] < 0;
      button.setAttribute("aria-pressed", on);
      button.setAttribute("aria-label", `Node ${i}, ${on ? "on" : "off"}; flipped, ` +
        `the loss changes by ${change(flips[i])}`);
      button.classList.toggle("next", i === next);
      button.dataset.change = flips[i];
      button.title = `Shapley value ${sj.format(sj.data.shapley[i])}`;
      word.textContent = on ? "on" : "off";
      text.textContent = change(flips[i]);
      text.classList.toggle("falls-text", falls);
      bar.className = falls ? "falls" : "";
      bar.style.width = `${50 * Math.abs(flips[i]) / widest}%`;
    });
    advice.textContent = next < 0
      ? `A local minimum, one of ${sj.format(sj.data.minima)}: no single flip lowers ` +
        "the loss."
      : `Numbers: how much a flip changes the loss. Node ${next} lowers it most.`;
    back.disabled = !now.past.length;
  };

  const drawFacts = (size) => {
    const { loss, accuracy, wrong } = result, at = net.place(loss, size, now.keep);
    facts.loss.tell(sj.format(loss), loss, "cross entropy, test points");
    facts.accuracy.tell(`${(100 * accuracy).toFixed(1)} %`, accuracy,
      `${sj.format(wrong.length)} of ${sj.format(net.y.length)} wrong`);
    facts.kept.tell(size, size, `of ${n}`);
    const all = `of all ${sj.format(2 ** n)} subnetworks`;
    const drawn = now.keep === 0.5 ? all
      : `of subnetworks with keep probability ${now.keep}`;
    const few = `${at.lower || "none"} ${all} ${at.lower === 1 ? "does" : "do"} better`;
    facts.better.tell(percent(at.better), at.better,
      at.lower < sj.data.head ? few : drawn); // so few are counted, not estimated
    const rank = Math.round(at.rank), digits = at.exact ? 9 : 3;
    facts.rank.tell(at.exact ? sj.format(rank) : `≈ ${sj.format(
      +rank.toPrecision(digits))}`, at.rank,
    `of ${sj.format(at.of)} with ${plural(size, "node")}`);
  };

  const drawCharts = (size) => {
    const { loss } = result;
    view.distribution(curve, { all: mixed.get(now.keep), most, loss,
      some: net.density(sizes.map((k) => +(k === size))), shown: sj.format(loss) });
    allKey.textContent = `all, at keep probability ${now.keep}`;
    someKey.textContent = `those with ${plural(size, "node")}`;
    view.bySize(trend, { series, size, loss, open });
    following = true;
    slider.value = size;
    following = false;
    kinds.buttons.forEach((button) => {
      const { masks, label } = chosen[button.value];
      button.textContent = label(size);
      button.setAttribute("aria-pressed", String(masks[size] === now.mask));
    });
    const [best, important] = [chosen.best, chosen.shapley].map(({ losses }) =>
      losses[size]);
    const ratio = important / best;
    compared.replaceChildren("Loss of the best ", el("b", {}, sj.format(best)),
      ", top by Shapley ", el("b", {}, sj.format(important)), ratio > 1.005 ?
        `: ${sj.format(ratio, ratio < 10 ? 2 : 3)} times as much.` : ": the same.");
  };

  const drawWalk = () => {
    const { walk } = now;
    playing.textContent = now.timer ? "Pause" : "Play";
    const ended = !walk || walk.at === walk.path.length - 1;
    playing.disabled = stepping.disabled = ended;
    if (!walk) {
      track.replaceChildren(idle);
      told.textContent = "";
      return;
    }
    const steps = walk.path.length - 1, random = walk.kind === "random";
    view.path(track, { losses: walk.losses, at: walk.at, end: random ? "complement"
      : "local minimum" });
    const flipped = walk.at && Math.log2((walk.path[walk.at] ^ walk.path[walk.at - 1]));
    told.textContent = !steps ? "Already at a local minimum." : `Step ${walk.at} of ` +
      `${steps}${walk.at ? `: node ${flipped} switched ${has(now.mask, flipped) ? "on"
        : "off"}.` : ", the start."}` + (random && ended ? " From the start to its " +
      `complement: ${[walk.losses[0], walk.losses.at(-1)].map((loss) =>
        sj.format(loss)).join(" and ")}.` : "");
  };

  const render = () => {
    const size = net.size(now.mask);
    result = net.evaluate(now.mask);
    z = net.logits(fine.votes, now.mask);
    points.mark(now.points);
    maps.mark(now.map);
    keeps.mark(now.keep);
    drawMaps();
    tell();
    drawSwitches();
    drawFacts(size);
    drawCharts(size);
    drawWalk();
    remember();
  };
  const thumbs = () => { // what a node says: plus for inside
    const colors = view.signed();
    switches.forEach(({ picture }, i) => view.paint(picture, coarse.votes[i], THUMB,
      colors, (vote) => (128 - 127 * vote / (0.6 * large)) / 255));
  };
  sj.onchange(() => { thumbs(); render(); });
  addEventListener("hashchange", () => {
    const mask = fromBits(sj.hash.get("mask", bits(now.mask)));
    if (mask !== now.mask) put(mask);
  });
  thumbs();
  render();
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === width) return;
    width = contentRect.width;
    view.measure();
    render();
  }).observe(document.getElementById("circle"));
  return { now, render };
})();
