// What is chosen. The address of the page says the same, so that it can be sent on.
const state = (() => {
  const { graphs, first, size, samples, rest, sliders, outputsOf, predicted } = source;
  const { low, high } = source;
  const LEVELS = { scalar: "Scalar", dot: "Dot", neuron: "Neuron" };
  const HINTS = {
    scalar: "A box for every product, sum, bias and nonlinearity",
    dot: "A box for every dot product and every nonlinearity",
    neuron: "A dot product and its nonlinearity in one box",
  };
  const BY = { value: "Value", contribution: "Contribution", weight: "Weight",
    relevance: "Relevance" };
  const AMOUNTS = {
    none: [], top: [99, 98, 95, 90, 85, 80, 75, 70, 60, 50, 40, 30, 20, 10],
    rel: [1, 2, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100],
    abs: [0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10],
  };
  const RULES = { none: "All edges", top: "Most influence", rel: "Relative",
    abs: "Absolute" };
  const saying = {
    top: (amount) => `${amount}% of influence`,
    rel: (amount) => `≥ ${amount}% of strongest`,
    abs: (amount) => `|${now.by === "relevance" ? now.by : "contribution"}| ≥ ${amount}`,
  };
  const levels = first.level === "dot" ? Object.keys(LEVELS) : [first.level];
  const among = (options, value, fallback) => options.includes(value) ? value : fallback;
  const listed = (name) => {
    try {
      const value = JSON.parse(sj.hash.get(name, "[]"));
      return Array.isArray(value) ? value : [];
    } catch { return []; } // an address that was cut short
  };

  // Only edits of the form that `engine.changes` reads.
  const LENGTHS = { remove: 2, clamp: 3, bias: 3, weight: 4 };
  const sound = (edit) => Array.isArray(edit) && edit.length === LENGTHS[edit[0]] &&
    (edit[0] === "remove" || Number.isFinite(edit.at(-1)));

  const now = {
    sample: Math.min(Math.max(0, Math.round(sj.hash.get("smp", 0))), samples.length - 1),
    level: among(levels, sj.hash.get("level"), levels.at(-1)),
    pictures: first.image != null && first.level !== "scalar" &&
      sj.hash.get("pics", 1) !== 0,
    by: among(Object.keys(BY), sj.hash.get("by"), "value"),
    rule: among(Object.keys(RULES), sj.hash.get("hide"), "none"),
    amount: sj.hash.get("amount", 90),
    pins: new Set(listed("pin").map(String)),
    only: sj.hash.get("only", 0) === 1,
    find: sj.hash.get("find", ""),
    selected: sj.hash.get("sel"),
    pane: Math.min(Math.max(0, sj.hash.get("pane", 0)), graphs.length - 1),
    edits: graphs.map((_, i) => listed(i ? `edit${i + 1}` : "edit").filter(sound)),
  };

  // An input of one's own: a few numbers, or a drawing in 255 steps, in base64.
  const DRAWABLE = 4096; // longer addresses are cut short by some programs
  const span = (i) => high[i] - low[i] || 1;
  const step = (value, i) =>
    Math.min(255, Math.max(0, Math.round((255 * (value - low[i])) / span(i))));
  const level = (k, i) => Math.fround(low[i] + (span(i) * k) / 255);
  const stepped = (value, i) => level(step(value, i), i);
  const drawing = (x) => btoa(String.fromCharCode(...x.map(step)));
  const drawn = () => {
    try {
      const steps = atob(sj.hash.get("draw", ""));
      return Array.from(steps, (c, i) => level(c.charCodeAt(0), i));
    } catch { return []; }
  };
  const own = [listed("x").map(Number), first.image ? drawn() : []]
    .find((x) => x.length === size && x.every(Number.isFinite));
  if (own) now.sample = -1;
  now.x = own || (now.sample >= 0 ? samples[now.sample] : rest).slice();

  // One output where all of them are too much at once: what the input shows.
  const everything = first.outputs.map((_, i) => i);
  const small = () =>
    views.view(first, everything, now.level, now.pictures).boxes.length <= 24;
  const likely = first.outputNames[
    predicted(outputsOf(first, engine.evaluate(first, now.x))) ?? 0];
  now.output = among([...first.outputNames, "all"], sj.hash.get("out"), null) ||
    (small() ? "all" : likely);
  const chosen = () => now.output === "all" ? everything
    : [first.outputNames.indexOf(now.output)];
  // The output whose relevance is shown: the chosen one; where all are, one of them.
  now.explained = among(first.outputNames, sj.hash.get("for"), likely);
  const explained = () => now.output === "all" ? now.explained : now.output;

  const remember = () => {
    const set = (name, value, usual) => {
      const text = value === usual ? null : String(value);
      if (text !== sj.hash.get(name)) sj.hash.set(name, text);
    };
    const list = (name, items) =>
      set(name, items.length ? JSON.stringify(items) : null, null);
    set("out", now.output);
    set("smp", now.sample < 0 ? null : now.sample, null);
    list("x", now.sample < 0 && sliders ? [...now.x] : []);
    set("draw", now.sample < 0 && first.image && size <= DRAWABLE ? drawing(now.x) : null,
      null);
    set("level", now.level, levels.at(-1));
    set("pics", now.pictures ? 1 : 0, first.image ? 1 : 0);
    set("by", now.by, "value");
    set("for", now.by === "relevance" && now.output === "all" ? now.explained : null,
      null);
    set("hide", now.rule, now.large ? null : "none");
    set("amount", now.rule === "none" ? null : now.amount, null);
    list("pin", [...now.pins]);
    set("only", now.only ? 1 : 0, 0);
    set("find", now.find || null, null);
    set("sel", now.selected, null);
    set("pane", now.pane, 0);
    now.edits.forEach((edits, i) => list(i ? `edit${i + 1}` : "edit", edits));
  };

  return { now, chosen, explained, remember, stepped, levels, saying, LEVELS, HINTS, BY,
    AMOUNTS, RULES };
})();
