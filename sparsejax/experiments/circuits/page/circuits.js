// The page: which nodes are on, what that costs, and everything that does as well.
const circuits = (() => {
  const { el, svg, format } = sj;
  const { parts, unit } = sj.data;
  const plain = (label, onclick, title) =>
    el("button", { type: "button", class: "plain", onclick, title }, label);
  const head = (title, ...tools) => el("div", { class: "head" }, el("h3", {}, title),
    el("div", { class: "tools" }, tools));
  const panel = (...children) => el("div", { class: "panel" }, children);
  const loss = (value) => value == null ? "–" : value < 5e-5 && value > -5e-5 ? "0"
    : format(value);

  // ---- State, also in the address: #part=1&mask=0110

  const now = { part: 0, mask: 0, tried: [], sequence: 0, tokens: null, hover: null };
  const part = () => parts[now.part];
  const n = () => part().labels.length;
  const every = () => 2 ** n() - 1;
  const small = () => n() <= 30; // masks are integers of 32 bits
  const has = (i) => small() ? (now.mask >>> i) & 1 : chosen.has(i);
  let chosen = new Set(); // of many nodes
  const known = () => tables.of(part());
  const lossOf = (mask) => {
    const table = known();
    if (table) return table[mask];
    const k = small() ? tables.count(mask) : chosen.size;
    const best = part().best[k];
    const same = small() ? tables.number(best) === mask
      : best.every((i) => chosen.has(i));
    return same ? part().losses[k] : null;
  };
  const remember = () => {
    sj.hash.set("part", now.part || null);
    if (small()) sj.hash.set("mask", [...Array(n()).keys()].map(has).join(""));
  };
  const put = (mask) => { now.mask = mask; now.tried = []; render(); };
  const open = (nodes) => {
    chosen = new Set(nodes);
    put(small() ? tables.number(nodes) : 0);
  };
  const press = (event, i) => {
    if (!small()) return;
    put(event.shiftKey ? 2 ** i : (now.mask ^ (1 << i)) >>> 0);
  };

  // ---- The document

  const place = el("div", { class: "stage" });
  const choices = parts.map(({ name }, i) => el("button", { type: "button", value: i,
    onclick: () => select(i) }, name));
  const chooser = el("div", { class: "group parts", role: "group",
    "aria-label": "Network and ablation" }, choices);
  const facts = Object.fromEntries(["loss", "kept", "others", "worst", "rank"].map((name) =>
    [name, { value: el("dd", { "data-fact": name }), note: el("dd") }]));
  const titles = { loss: "loss", kept: "nodes kept", others: "with half of the others",
    worst: "worst superset", rank: "rank in its size" };
  const dl = el("dl", { class: "facts" }, Object.entries(facts).map(([name, fact]) =>
    el("div", {}, el("dt", {}, titles[name]), fact.value, fact.note)));
  const tell = (name, text, note) => {
    facts[name].value.textContent = text;
    facts[name].note.textContent = note;
  };
  const sizes = el("div", { class: "size" });
  const board = el("div", { class: "board" });
  const chart = el("div", { class: "chart" });
  const legend = el("p", { class: "key" });
  const said = el("p", { class: "say", role: "status" });
  const alternatives = el("div", { class: "sets" }), minimal = el("div", { class: "sets" });
  const gates = el("div", { class: "sets" }), finders = el("div", { class: "table" });
  const near = el("p", { class: "say" }), all = el("p", { class: "say" });
  const verdict = el("p", { class: "say" });
  const tools = [
    plain("All", () => put(every())), plain("None", () => put(0)),
    plain("The others", () => put((every() & ~now.mask) >>> 0),
      "Everything but what is on"),
    plain("Add others by chance", () => {
      const mask = tables.withRandom(now.mask, n());
      now.tried.push({ size: tables.count(mask), loss: lossOf(mask) });
      render();
    }, "Switch each of the others on with probability 1/2: does the circuit hold?")];

  // ---- Nodes

  let buttons = [], slider;
  const build = () => {
    slider = sj.slider("Best set of", n() + 1,
      (k) => `${k} of ${n()} nodes`, (k) => open(part().best[k]));
    sizes.replaceChildren(slider);
    let at = 0;
    buttons = [];
    board.replaceChildren(...part().groups.map(([name, count]) => {
      const row = [...Array(count).keys()].map(() => {
        const i = at++;
        const label = part().labels[i].match(/\[(\d+)\]$/);
        const change = el("span", { class: "change" });
        const picture = network ? el("canvas", { width: 1, height: 1,
          "aria-hidden": "true" }) : null;
        const button = el("button", { type: "button", class: "node", "data-node": i,
          title: part().labels[i], onclick: (event) => press(event, i),
          onpointerenter: () => point(i), onfocus: () => point(i) },
        el("b", {}, label ? label[1] : part().labels[i]), picture, change);
        buttons.push({ button, change, picture });
        return button;
      });
      return el("div", { class: "layer" }, el("span", { class: "name" }, name),
        el("div", { class: "row" }, row));
    }));
  };
  const point = (i) => { now.hover = i; hover(); };

  // ---- Losses by size

  const scale = (from, to, start, end) => (value) =>
    start + (value - from) / (to - from || 1) * (end - start);
  const steps = (most) => {
    const raw = most / 5, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= raw);
    return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, i) =>
      +(i * step).toPrecision(6));
  };
  const draw = () => {
    const { losses, sizes: at, worst, supersets, random, controls, target } = part();
    const width = Math.max(280, chart.clientWidth), height = 300;
    const [left, right, top, bottom] = [52, 12, 12, 44];
    const here = lossOf(now.mask);
    const ends = [losses, worst, supersets, random, ...Object.values(controls)].flat();
    const most = Math.max(...ends, here ?? 0) * 1.04 || 1;
    const low = Math.min(0, ...ends);
    const x = scale(0, n(), left, width - right);
    const y = scale(low, most, height - bottom, top);
    const path = (xs, ys) => xs.map((k, i) =>
      `${i ? "L" : "M"}${x(k).toFixed(1)} ${y(ys[i]).toFixed(1)}`).join("");
    const ks = losses.map((_, k) => k);
    const back = [...at].reverse();
    const band = `${path(at, worst)}${path(back, back.map((k) => losses[k]))
      .replace("M", "L")}Z`;
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((s) =>
      n() / s <= (width < 480 ? 7 : 13));
    const ticks = ks.filter((k) => k % step === 0);
    const drawing = svg("svg", { width, height, role: "img",
      "aria-label": `Loss by number of nodes kept; ${unit}` },
    steps(most).map((value) => [
      svg("path", { class: "rule", d: `M${left} ${y(value)}H${width - right}` }),
      svg("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" },
        format(value, 2))]),
    ticks.map((k) => svg("text", { x: x(k), y: height - bottom + 18,
      "text-anchor": "middle" }, k)),
    svg("text", { x: (left + width - right) / 2, y: height - 6,
      "text-anchor": "middle" }, "nodes kept"),
    svg("text", { x: 14, y: (top + height - bottom) / 2, "text-anchor": "middle",
      transform: `rotate(-90 14 ${(top + height - bottom) / 2})` }, unit),
    svg("path", { class: "band", d: band }),
    Object.values(controls).map((values, i) =>
      svg("path", { class: `control c${i}`, d: path(ks, values) })),
    svg("path", { class: "random", d: path(at, random) }),
    svg("path", { class: "supersets", d: path(at, supersets) }),
    svg("path", { class: "best", d: path(ks, losses) }),
    svg("path", { class: "target", d: `M${left} ${y(target)}H${width - right}` }),
    now.tried.filter((one) => one.loss != null).map((one) => svg("circle", {
      class: "tried", cx: x(one.size), cy: y(one.loss), r: 3.5 })),
    here == null ? null : svg("circle", { class: "now", r: 6, cy: y(here),
      cx: x(small() ? tables.count(now.mask) : chosen.size) }));
    chart.replaceChildren(drawing);
    const item = (name, words) => el("span", { class: name }, el("i"), words);
    legend.replaceChildren(item("best", "best set"), item("band", "to its worst superset"),
      item("supersets", "with half of the others"), item("random", "random sets"),
      item("target", "target"),
      ...Object.keys(controls).map((name, i) => item(`control c${i}`, name)));
  };

  // ---- Lists

  const label = (i) => part().labels[i];
  const short = (nodes) => nodes.length ? nodes.map(label).join(" + ") : "no nodes";
  const chip = (nodes, words) => el("button", { type: "button", class: "chip",
    onclick: () => open(nodes), "aria-pressed": String(small() &&
      tables.number(nodes) === now.mask) }, words || short(nodes));
  const plural = (count, word) => `${format(count)} ${word}${count === 1 ? "" : "s"}`;
  const lists = () => {
    const one = part();
    near.textContent = `${plural(one.near.length, "set")} of ${one.size} ` +
      `within ${loss(one.slack)} of the best` +
      (one.exact ? "" : ", of those that finders found") + ". " +
      (one.necessary ? one.necessary.length
        ? `In every circuit: ${one.necessary.map(label).join(", ")}.`
        : "No node is in every circuit." : "");
    alternatives.replaceChildren(...one.near.slice(0, 24).map((nodes) => chip(nodes)));
    const many = one.minimalCount;
    all.textContent = many == null ? "Not all subsets are known." :
      `${plural(many, "set")} that meet the target while no part of them does` +
      (many > 24 ? "; the first 24:" : ":");
    minimal.replaceChildren(...one.minimal.slice(0, 24).map((nodes) => chip(nodes)));
    gates.replaceChildren(...(one.gates.length ? one.gates.slice(0, 16).map(
      ({ kind, nodes, gain }) => el("span", { class: "gate" },
        el("b", {}, kind.toUpperCase()), ` (${nodes.map(label).join(", ")}) `,
        el("small", {}, `saves ${loss(gain)}`)))
      : [el("p", { class: "say" }, "No pair of nodes is an AND or an OR.")]));
    const cells = (tag, texts) => el("tr", {}, texts.map((text, i) =>
      el(tag, { class: i ? "number" : null }, text)));
    finders.replaceChildren(el("table", {},
      el("thead", {}, cells("th", ["finder", "smallest", "gap there", "mean gap", "asked"])),
      el("tbody", {}, one.finders.map((finder) => cells("td", [finder.name,
        finder.size ?? "–", loss(finder.gap), loss(finder.mean),
        format(finder.evaluations)])))));
    verdict.textContent = one.faithful ? "Faithful: controls do worse." :
      one.faithful == null ? "Not compared with controls." :
        `Not called faithful: ${one.reasons.join("; ")}.`;
  };

  // ---- All of it

  const hover = () => {
    const i = now.hover;
    if (i == null || i >= n()) { said.textContent = "Click a node to leave it out, with " +
      "shift to keep it alone."; return; }
    const table = known();
    const change = table ? table[(now.mask ^ (1 << i)) >>> 0] - table[now.mask] : null;
    said.textContent = `${label(i)}: ${has(i) ? "on" : "off"}` + (change == null ? "" :
      `; ${has(i) ? "without" : "with"} it the loss ` +
      `${change > 0 ? "rises" : "falls"} by ${loss(Math.abs(change))}`);
  };
  const render = () => {
    const one = part(), table = known(), value = lossOf(now.mask);
    const size = small() ? tables.count(now.mask) : chosen.size;
    const full = one.losses[n()];
    tell("loss", loss(value), `all ${loss(full)}, none ${loss(one.losses[0])}`);
    tell("kept", `${size} of ${n()}`, value != null && value <= one.target
      ? "meets the target" : `target ${loss(one.target)}`);
    if (table) {
      const above = tables.above(table, now.mask, n());
      tell("others", loss(above.mean), "mean over all supersets");
      tell("worst", loss(above.worst), `of ${format(2 ** (n() - size))}`);
      const { rank, all: many, best } = tables.place(table, now.mask);
      tell("rank", `${format(rank)} of ${format(many)}`,
        `${loss(table[now.mask] - best)} above the best`);
    } else {
      const at = one.sizes.indexOf(size), same = value != null && at >= 0;
      tell("others", same ? loss(one.supersets[at]) : "–", "mean of samples");
      tell("worst", same ? loss(one.worst[at]) : "–", "of samples");
      tell("rank", "–", "not all sets are known");
    }
    if (now.tried.length) {
      const values = now.tried.map((one) => one.loss);
      tell("others", loss(values.reduce((a, b) => a + b, 0) / values.length),
        `mean of ${plural(values.length, "draw")}`);
    }
    buttons.forEach(({ button, change }, i) => {
      button.setAttribute("aria-pressed", String(Boolean(has(i))));
      if (!table) return;
      const by = table[(now.mask ^ (1 << i)) >>> 0] - table[now.mask];
      change.textContent = `${by < 0 ? "−" : "+"}${Math.abs(by).toFixed(
        Math.abs(by) < 10 ? 2 : 1)}`;
      change.classList.toggle("falls", by < -0.005);
    });
    for (const tool of tools) tool.disabled = !table;
    draw();
    lists();
    hover();
    run.show();
    remember();
  };
  const select = (i, mask) => {
    now.part = i;
    now.tried = [];
    for (const button of choices) {
      button.setAttribute("aria-pressed", String(+button.value === i));
    }
    build();
    if (mask == null) slider.value = part().size; else put(mask);
  };

  const sheet = el("div", { class: "below" },
    panel(head("Circuits that do as well"), near, alternatives),
    panel(head("All minimal circuits"), all, minimal),
    panel(head("Gates"), gates),
    panel(head("Finders here"), finders, verdict));
  const machine = el("div", { class: "machine" });
  place.append(parts.length > 1 ? chooser : "", dl,
    el("div", { class: "bench" },
      panel(head("Nodes", ...tools), sizes, board, said),
      panel(head("Loss by size"), chart, legend)),
    machine, sheet);
  sj.fill("circuits", place);
  let width = 0;
  new ResizeObserver(() => {
    if (chart.clientWidth !== width) { width = chart.clientWidth; draw(); }
  }).observe(chart);
  return { now, part, has, put, select, machine, buttons: () => buttons, panel, head,
    plain, loss, render };
})();
