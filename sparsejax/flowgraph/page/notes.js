// What is said around the drawing: the legend, the counts, and what was noticed.
const notes = (() => {
  const { el } = sj;
  const { graphs, first } = source;
  const { now } = state;

  const legend = (scenes) => {
    const has = (test) => scenes.some((made) => made.shown.boxes.some(test));
    const words = { value: "value", contribution: "weight × value", weight: "weight" };
    const word = words[now.by];
    const line = (name, text) => el("span", {}, el("i", { class: `line ${name}` }), text);
    const tile = (name, text) => el("span", {}, el("i", { class: `tile ${name}` }), text);
    const scale = Math.max(...scenes.map((made) => made.scales.weights));
    return [line("plus", `${word} > 0`), line("minus", "< 0"), line("zero", "= 0"),
      el("span", {}, `width ∝ |${word}|`),
      has((box) => box.op === "input") && tile("input", "input"),
      tile("output", "output"),
      has((box) => box.picture) && el("span", { class: "wide" },
        "pictures: weights, then weights × input;",
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
      `${many(count, "box", "boxes")} · ` +
      `${many(vertices, "vertex", "vertices")} and ${many(edges, "edge")} in all`;
  };

  const jump = (key, actions) => {
    const at = first.outputNames.findIndex((name, i) => name === key ||
      first.keys[first.outputs[i]] === key);
    if (at >= 0) return actions.put({ output: first.outputNames[at], selected: null });
    actions.put({ find: key, selected: first.at.has(key) ? key : null, pane: 0 });
  };
  const flagChip = ({ kind, proof, count, items, total }, actions) => {
    const named = /unit|input|output|duplicate|node$/.test(kind) ? `${kind}s` : kind;
    const text = `${count === 1 ? kind : named}: ` +
      (total ? `${count} of ${total}` : count === 1 ? items[0][0] : count);
    const label = [text, " ", el("small", { title: "How this is known" }, proof)];
    const alike = items.length > 1 && items.every(([, detail]) => detail === items[0][1]);
    const known = (key) => graphs.some((graph) => graph.at.has(key) ||
      graph.outputNames.includes(key));
    return el("details", { class: "chip flag" }, el("summary", {}, label),
      el("ul", {}, alike ? el("li", {}, `${items[0][1]}:`) : null,
        items.map(([key, detail]) => el("li", {}, known(key) ? el("button",
          { type: "button", class: "link", onclick: () => jump(key, actions) }, key)
          : el("span", { class: "name" }, key), alike ? "" : ` ${detail}`)),
        count > items.length ? el("li", {}, `and ${count - items.length} more`) : null));
  };

  const flags = (actions) => graphs.filter((graph) => graph.flags.length).map((graph) =>
    el("div", { class: "flags" },
      el("span", { class: "label" }, graphs.length > 1 ? graph.name : "Noticed"),
      graph.flags.map((flag) => flagChip(flag, actions))));

  return { legend, says, flags };
})();
