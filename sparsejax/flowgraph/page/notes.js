// What is said around the drawing: the legend, the counts, and what was noticed.
const notes = (() => {
  const { el } = sj;
  const { graphs, first } = source;
  const { now } = state;

  const legend = (scenes) => {
    const has = (test) => scenes.some((made) => made.shown.boxes.some(test));
    const words = { contribution: "weight × value" };
    const word = words[now.by] || now.by;
    const line = (name, text) => el("span", {}, el("i", { class: `line ${name}` }), text);
    const tile = (name, text) => el("span", {}, el("i", { class: `tile ${name}` }), text);
    const scale = Math.max(...scenes.map((made) => made.scales.weights));
    return [line("plus", `${word} > 0`), line("minus", "< 0"), line("zero", "= 0"),
      el("span", {}, `width ∝ |${word}|`),
      has((box) => box.op === "input") && tile("input", "input"),
      tile("output", "output"),
      has((box) => box.picture) && el("span", { class: "wide" },
        boxes.areSmall(first) ? "pictures: weights, then the input with their place;"
          : `pictures: weights, then ${now.by === "relevance" ? "relevance"
            : "weights × input"};`,
        sj.legend(`≤ −${sj.format(scale, 2)}`, `≥ ${sj.format(scale, 2)}`)),
      graphs.length > 1 && tile("differs", "weights differ"),
      graphs.length > 1 && tile("only", "only here")].filter(Boolean);
  };

  const many = (n, one, more = `${one}s`) => `${sj.format(n)} ${n === 1 ? one : more}`;
  const says = (made) => {
    const [vertices, edges] = made.count;
    const all = made.full.list.length, count = made.shown.boxes.length;
    const drawn = count > pane.MANY_BOXES ? 0 : made.list.length;
    const name = graphs.length > 1 ? `${made.name}: ` : "";
    const part = drawn === all ? "" : `${sj.format(drawn)} of `;
    return `${name}${part}${many(all, "edge")} shown, ` +
      `${many(count, "box", "boxes")} · ${made.level} level: ` +
      `${many(vertices, "vertex", "vertices")} and ${many(edges, "edge")}`;
  };

  // What a file of the drawing says of itself, in parts.
  const caption = (made) => {
    const all = made.full.list.length, hidden = all - made.list.length;
    const edits = now.edits[made.index];
    const truth = source.labels && now.sample >= 0 ? source.labels[now.sample] : null;
    return [document.querySelector("h1").textContent, made.name,
      now.output === "all" ? "all outputs" : now.output,
      (now.sample < 0 ? "an input of its own" : `sample ${now.sample + 1}`) +
        (truth == null ? "" : ` (label ${truth})`),
      `${made.level} level`,
      made.shares && `relevance for ${state.explained()}`,
      now.rule !== "none" && `threshold: ${state.saying[now.rule](now.amount)}`,
      now.only && now.pins.size > 0 && "only pinned boxes",
      hidden ? `${sj.format(hidden)} of ${many(all, "edge")} hidden`
        : `all ${many(all, "edge")}`,
      edits.length && `${many(edits.length, "edit")}: ` + edits.map((edit) =>
        controls.words(edit).join("")).join(", ")].filter(Boolean);
  };

  // To an output, or to a node in an output that reads it.
  const jump = (key, index, actions) => {
    const graph = graphs[index], names = graph.outputNames, node = graph.at.get(key);
    const at = names.findIndex((name, i) => name === key || graph.outputs[i] === node);
    if (at >= 0) return actions.put({ output: names[at], selected: null });
    const reads = (output) => views.live(graph, [graph.outputs[output]])[node];
    const reader = graph.outputs.findIndex((_, i) => reads(i));
    const output = state.chosen().some(reads) ? now.output : names[reader] ?? "all";
    Object.assign(now, { output, rule: "none", only: false, find: key });
    const box = views.home(views.view(graph, state.chosen(), now.level, now.pictures),
      node);
    actions.select(box ? box.key : null, index);
  };
  const flagChip = ({ kind, proof, count, keys, details, total }, index, actions) => {
    const named = /unit|input|output|duplicate|node$/.test(kind) ? `${kind}s` : kind;
    const text = `${count === 1 ? kind : named}: ` +
      (total ? `${count} of ${total}` : count === 1 ? keys[0] : count);
    const label = [text, " ", el("small", { title: "How this is known" }, proof)];
    const alike = keys.length > 1 && details.length === 1;
    const graph = graphs[index];
    const known = (key) => graph.at.has(key) || graph.outputNames.includes(key);
    return el("details", { class: "chip flag" }, el("summary", {}, label),
      el("ul", {}, alike ? el("li", {}, `${details[0]}:`) : null,
        keys.map((key, k) => el("li", {}, known(key) ? el("button",
          { type: "button", class: "link", onclick: () => jump(key, index, actions) },
        key)
          : el("span", { class: "name" }, key), alike ? "" : ` ${details[k]}`)),
        count > keys.length ? el("li", {}, `and ${count - keys.length} more`) : null));
  };

  const flags = (actions) => graphs.map((graph, i) =>
    el("div", { class: "flags", hidden: !graph.flags.length },
      el("span", { class: "label" }),
      graph.flags.map((flag) => flagChip(flag, i, actions))));
  const age = (rows) => rows.forEach((row, i) => { // edits make it history
    const stale = now.edits[i].length > 0;
    row.classList.toggle("stale", stale);
    row.firstChild.textContent = (graphs.length > 1 ? graphs[i].name : "Noticed") +
      (stale ? " of the network before your edits" : "");
  });

  // What an output is made of, in sums that can be checked; a map of the inputs' part.
  const account = (made) => {
    if (!made.shares) return [];
    const { graph, shares: { nodes, sums } } = made, name = state.explained();
    const { output, ...parts } = sums;
    if (!made.changes.fixed.size) delete parts.set;
    const number = (value) => el("b", { class: boxes.sign(value) },
      boxes.number(value, 4));
    const total = Object.values(parts).reduce((a, b) => a + b);
    const inputs = Array.from(nodes.slice(0, graph.inputs.length));
    return el("div", { class: "account", "data-sums": JSON.stringify(sums) },
      graph.image && pictures.map(el("canvas", { class: "crisp", role: "img",
        "aria-label": "Relevance of the inputs" }), graph.image, graph.inputs, inputs,
      source.most(inputs), [0, 0, ...graph.image]),
      el("p", {}, graphs.length > 1 ? `${made.name}: ` : "", `Relevance for ${name}: `,
        Object.entries(parts).map(([word, value], i) =>
          [i ? " + " : "", word, word === "set" ? " by hand " : " ", number(value)]),
        " = ", number(total), el("span", { class: "quiet" }, `, ${name} to within `,
          sj.format(Math.abs(total - output), 1)), el("br"),
        el("span", { class: "quiet" }, "Value × Q: Q is 1 at the output and goes back " +
          "by weights and slopes (f(s) − f(0)) / s; of a maximum to the largest, of a " +
          "product half to each.")));
  };

  return { legend, says, caption, account, flags, age };
})();
