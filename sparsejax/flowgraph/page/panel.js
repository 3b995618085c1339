// What is known about one box: weights, ranges, histogram, contributions in and out, and
// the buttons that change it.
const panel = (() => {
  const WIDTH = 300; // of the range plot, in its own units
  const BINS = 16; // of a histogram, one digit 0-9a-z each
  const FIRST = 10; // rows of a list before "show all"
  const { el, format } = sj;
  const { now } = state;

  const number = (value, digits = 4) => el("span", { class: "number" },
    format(value, digits));

  const field = (label, value, onchange) =>
    el("input", { type: "number", step: "any", "aria-label": label, title: label,
      value: Number(value.toPrecision(7)), onchange: (event) => {
        if (event.target.value.trim() !== "") onchange(Number(event.target.value));
      } });

  // ---- Ranges: three bars on one axis, the value of now as a line across them

  const ranges = (graph, node) => {
    const { interval, exact, observed } = graph.ranges;
    const rows = [];
    if (interval) rows.push(["interval", "proved by intervals", interval.low[node],
      interval.high[node]]);
    if (exact && exact.at.has(node)) {
      const k = exact.at.get(node);
      const name = exact.gap[k] > 0 ? `exact search, gap ${format(exact.gap[k])}`
        : "exact";
      rows.push(["exact", name, exact.low[k], exact.high[k]]);
    }
    if (observed) rows.push(["observed",
      `observed on ${format(observed.count)} inputs`,
      observed.low[node], observed.high[node]]);
    return rows;
  };

  const plot = (graph, node, value, rows) => {
    const ends = rows.flatMap(([, , low, high]) => [low, high]).concat(value)
      .filter(Number.isFinite);
    if (!ends.length) return [];
    let [low, high] = [Math.min(...ends), Math.max(...ends)];
    if (low === high) [low, high] = [low - 1, high + 1];
    const x = (at) => 4 + ((WIDTH - 8) * // not to infinity
      (Math.min(high, Math.max(low, at)) - low)) / (high - low);
    const { observed } = graph.ranges, bars = [];
    const top = observed && node >= graph.inputs.length ? 44 : 4;
    if (observed) {
      const [from, to] = [x(observed.low[node]), x(observed.high[node])];
      const start = BINS * (node - graph.inputs.length); // inputs have none
      const heights = [...observed.bars.slice(Math.max(0, start),
        Math.max(0, start + BINS))]
        .map((digit) => parseInt(digit, 36) / 35);
      const step = (to - from) / heights.length;
      heights.forEach((part, i) => part && step && bars.push(sj.svg("rect", {
        class: "bar",
        x: from + i * step, width: Math.max(0.5, step - 0.7), y: 40 - 36 * part,
        height: 36 * part })));
    }
    const spans = rows.map(([name, , a, b], i) => {
      const [from, to] = [Math.max(0, x(a)), Math.min(WIDTH, x(b))];
      return sj.svg("rect", { class: `span ${name}`, x: from, y: top + 11 * i, height: 8,
        width: Math.max(2, to - from), rx: 2 });
    });
    const end = top + 11 * rows.length;
    const zero = low < 0 && high > 0 &&
      sj.svg("path", { class: "origin", d: `M${x(0)} 0V${end}` });
    return sj.svg("svg", { class: "ranges", viewBox: `0 0 ${WIDTH} ${end + 2}`,
      role: "img", "aria-label": "Ranges of this node, and its value" },
    zero || [], bars, spans,
    Number.isFinite(value)
      ? sj.svg("path", { class: "now", d: `M${x(value)} 0V${end}` }) : []);
  };

  const rangeTable = (rows) => el("table", { class: "small" }, el("tbody", {},
    rows.map(([name, label, low, high]) => el("tr", {},
      el("td", {}, el("i", { class: `swatch ${name}` }), label),
      el("td", { class: "number" }, boxes.number(low, 4)),
      el("td", { class: "number" }, boxes.number(high, 4))))));

  // ---- Lists

  const meter = (value, most) => { // a signed bar from its middle
    const size = most ? (50 * Math.abs(value)) / most : 0;
    return el("span", { class: "meter", "aria-hidden": "true" }, el("i", {
      class: value < 0 ? "minus" : "plus",
      style: `width: ${size}%; ${value < 0 ? "right" : "left"}: 50%` }));
  };

  const list = (heading, rows, note, open) => {
    if (!rows.length) return null;
    const sorted = [...rows].sort((a, b) =>
      Math.abs(b.amount) - Math.abs(a.amount));
    const most = Math.abs(sorted[0].amount);
    const draw = (row) => el("tr", {},
      el("td", {}, row.go
        ? el("button", { type: "button", class: "link", onclick: row.go }, row.key)
        : el("span", { class: "name" }, row.key)),
      el("td", { class: "number" }, row.change
        ? field(`Weight from ${row.key}`, row.coef, row.change) : format(row.coef, 4)),
      el("td", { class: "number" }, format(row.amount, 3)),
      el("td", { class: "meters" }, meter(row.amount, most)));
    const body = el("tbody", {}, sorted.slice(0, open ? undefined : FIRST).map(draw));
    const more = !open && sorted.length > FIRST && el("button", { type: "button",
      class: "link more", onclick: (event) => {
        body.append(...sorted.slice(FIRST).map(draw));
        event.target.remove();
      } }, `Show all ${sorted.length}`);
    const signs = [1, -1].map((s) => rows.filter((r) => r.amount * s > 0));
    const total = (part) => part.reduce((sum, row) => sum + row.amount, 0);
    return el("section", { class: "list" },
      el("h4", {}, `${heading} `, el("span", { class: "quiet" },
        `${rows.length}: ${signs[0].length} positive, ` +
        `sum ${format(total(signs[0]))}; ` +
        `${signs[1].length} negative, sum ${format(total(signs[1]))}`)),
      el("table", { class: "small" },
        el("thead", {}, el("tr", {}, ["node", "weight", note].map((name, i) =>
          el("th", { scope: "col", class: i ? "number" : null,
            colspan: i === 2 ? 2 : null }, name)))), body),
      more || null);
  };

  const editable = (graph, box, e) =>
    e >= 0 && (box.term >= 0 || graph.ops[box.owner] === "affine" ||
      graph.starts[box.owner + 1] - graph.starts[box.owner] === 1);

  const change = (scene, box, e, actions) => editable(scene.graph, box, e)
    ? (value) => actions.edit(["weight", scene.graph.keys[box.owner],
      scene.graph.keys[scene.graph.args[e]], value]) : null;

  const incoming = (scene, i, actions) => {
    const { graph, changes, values, shares, full } = scene, box = full.boxes[i];
    if (!box.picture) {
      return full.list.filter((link) => link.to === i).map((link) => ({ ...link,
        key: full.boxes[link.from].key,
        change: change(scene, box, link.edge, actions),
        go: () => actions.select(full.boxes[link.from].key) }));
    }
    const rows = [];
    for (let e = graph.starts[box.owner]; e < graph.starts[box.owner + 1]; e++) {
      const arg = graph.args[e], coef = changes.coefs[e];
      rows.push({ key: graph.keys[arg], coef,
        amount: shares ? shares.edges[e] : coef * values[arg],
        change: change(scene, box, e, actions) });
    }
    return rows;
  };

  const outgoing = (scene, i, actions) => scene.full.list
    .filter((link) => link.from === i).map((link) => {
      const reader = scene.full.boxes[link.to];
      return { ...link, key: reader.key,
        change: change(scene, reader, link.edge, actions),
        go: () => actions.select(reader.key) };
    });

  // ---- The whole

  // The edit that takes a box away: of a weight's box, the weight.
  const removal = ({ graph }, box) => box.node >= 0 ? ["remove", graph.keys[box.node]]
    : box.term >= 0 ? ["weight", graph.keys[box.owner],
      graph.keys[graph.args[box.term]], 0] : null;

  const buttons = (scene, box, value, actions) => {
    const { graph } = scene, node = box.node >= 0 && graph.keys[box.node];
    const made = removal(scene, box);
    const fixed = scene.changes.fixed.has(box.node);
    const button = (label, title, onclick, pressed) => el("button", { type: "button",
      title, onclick, "aria-pressed": pressed == null ? null : String(pressed) }, label);
    const undo = fixed && button("Restore", "Let it compute again", () =>
      actions.undo(["remove", node]));
    const remove = !fixed && made && button("Remove", "Set its value to 0 (Delete)",
      () => actions.edit(made));
    const clamp = node && el("label", { class: "clamp" }, "Clamp to",
      field("Clamp to a value", value, (to) => actions.edit(["clamp", node, to])));
    return el("div", { class: "buttons" }, undo || remove || [],
      button("Pin", "Keep it in sight (p)", () => actions.pin(box.key),
        scene.pins.has(box.key)), clamp || []);
  };

  const bias = (scene, box, actions) => {
    const { graph, changes } = scene;
    if (box.term >= 0 || ["input", "const", "output"].includes(box.op)) return [];
    if (!editable(graph, { ...box, term: -1 }, 0)) return [];
    return el("label", { class: "bias" }, "Bias", field("Bias",
      changes.consts[box.owner],
      (to) => actions.edit(["bias", graph.keys[box.owner], to])));
  };

  // Relevance of a box, and what of it stays with the box's own numbers.
  const blame = (scene, box, value) => {
    const { shares } = scene, parts = box.term >= 0 ? [] : new Set([box.node, box.owner]);
    const own = (name) => {
      const sum = [...parts].reduce((all, i) => all + (shares[name][i] || 0), 0);
      return sum ? `; ${name} ${boxes.number(sum, 3)}` : "";
    };
    return el("p", {}, "Relevance ",
      el("b", {}, boxes.number(boxes.amountOf(scene, box, value), 4)),
      ` for ${state.explained()}, Q = ${boxes.number(views.multiplier(box, shares), 4)}`,
      own("bias"), own("constants"));
  };

  const portrait = (scene, box, images) => !box.picture ? [] :
    el("div", { class: "portrait" }, images(box).map(([src, caption]) =>
      el("figure", {}, el("img", { src, alt: caption, class: "crisp" }),
        el("figcaption", {}, caption))));

  const show = (host, scene, i, actions) => {
    const { graph, shares, full } = scene, box = full.boxes[i], value = full.numbers[i];
    const before = full.before[i];
    const rows = box.node >= 0 ? ranges(graph, box.node) : [];
    const stale = now.edits[scene.index].length > 0;
    const contribution = shares ? "relevance" : "contribution";
    const note = full.list.some((link) => link.to === i && link.edge >= 0) || box.picture
      ? contribution : shares ? "relevance" : "value";
    host.replaceChildren(
      el("button", { type: "button", class: "close", "aria-label": "Close",
        title: "Close (Esc)", onclick: () => actions.select(null) }, "×"),
      el("h3", {}, box.output || box.key),
      el("p", { class: "quiet" }, box.output && box.output !== box.key
        ? ["output, ", el("code", {}, box.key), ", "] : "",
        box.op === "affine" ? "weighted sum" : box.op,
        box.op !== "affine" && graph.ops[box.owner] === "affine" && box.node !== box.owner
          ? " of a weighted sum" : "", scene.name ? `, ${scene.name}` : ""),
      el("p", { class: "reading" }, boxes.number(value, 6),
        before !== value ? el("span", { class: "quiet" },
          ` was ${boxes.number(before, 6)}`) : null),
      shares ? blame(scene, box, value) : "",
      buttons(scene, box, value, actions),
      ...[portrait(scene, box, actions.images), bias(scene, box, actions)].flat(),
      ...(rows.length ? [el("div", { class: stale ? "known stale" : "known" },
        stale ? el("p", { class: "quiet" }, "Of the network before your edits:") : [],
        plot(graph, box.node, value, rows), rangeTable(rows))] : []),
      ...[list("In", incoming(scene, i, actions), note),
        list("Out", outgoing(scene, i, actions), contribution)].filter(Boolean));
  };

  return { show, removal };
})();
