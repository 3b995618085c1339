// What changes the drawing: the toolbar, and the list of edits in force.
const controls = (() => {
  const { el } = sj;
  const { graphs, first } = source;
  const { now, chosen, levels, LEVELS, HINTS, BY, AMOUNTS, RULES, saying } = state;

  const choices = (label, options, now, choose, hints = {}) =>
    el("div", { class: "group", role: "group", "aria-label": label },
      Object.entries(options).map(([value, text]) => el("button", {
        type: "button", value, "aria-pressed": String(now === value), title: hints[value],
        onclick: () => choose(value) }, text)));

  const labelled = (text, ...controls) =>
    el("div", { class: "control" }, el("span", { class: "label" }, text), controls);

  const words = (edit) => ({ // what it is about, and what it does
    remove: () => [edit[1], " removed"],
    clamp: () => [edit[1], ` = ${sj.format(Number(edit[2]), 4)}`],
    bias: () => [edit[1], ` bias ${sj.format(Number(edit[2]), 4)}`],
    weight: () => [`${edit[2]} → ${edit[1]}`,
      ` weight ${sj.format(Number(edit[3]), 4)}`],
  }[edit[0]])();

  const make = (actions) => {
    // These two stay the same elements, so that the slider can be dragged.
    const slider = el("input", { type: "range", min: 0, step: 1, id: "amount",
      "aria-label": "Threshold", oninput: () =>
        actions.put({ amount: AMOUNTS[now.rule][slider.value] }) });
    const amount = el("output", { for: "amount" });
    const turn = () => {
      const amounts = AMOUNTS[now.rule];
      const far = (value) => Math.abs(value - now.amount);
      slider.max = amounts.length - 1;
      slider.value = amounts.reduce((best, value, i) =>
        far(value) < far(amounts[best]) ? i : best, 0);
      amount.textContent = saying[now.rule](now.amount);
      slider.setAttribute("aria-valuetext", amount.textContent);
    };

    const items = () => [
      levels.length > 1 && choices("Level", LEVELS, now.level,
        actions.level, HINTS),
      first.image && first.level !== "scalar" && labelled("First layer",
        choices("First layer", { 1: "Pictures", 0: "Boxes" }, now.pictures ? "1" : "0",
          (value) => actions.put({ pictures: value === "1" }))),
      labelled("Lines show", choices("Lines show", BY, now.by,
        (by) => actions.put({ by }), {
        value: "The value that flows out of the source",
        contribution: "Weight times value: what reaches the target",
        weight: "The weight alone",
        relevance: "The share of an output, passed back from it" }),
      now.by === "relevance" && now.output === "all" && first.outputNames.length > 1
        ? el("select", { id: "explained", "aria-label": "Relevance for which output",
          onchange: (event) => actions.put({ explained: event.target.value }) },
        first.outputNames.map((name) => el("option", { value: name,
          selected: name === now.explained }, `for ${name}`))) : []),
      el("div", { class: "control" }, el("select", { id: "rule",
        "aria-label": "Which edges are shown",
        onchange: (event) => actions.put({ rule: event.target.value,
          amount: { top: 90, rel: 10, abs: 0.1 }[event.target.value] ?? now.amount }) },
      Object.entries(RULES).map(([value, text]) =>
        el("option", { value, selected: now.rule === value }, text))),
      now.rule === "none" ? [] : [slider, amount]),
      now.pins.size && labelled(`${now.pins.size} pinned`,
        choices("Pinned", { 0: "All boxes", 1: "Only these" }, now.only ? "1" : "0",
          (value) => actions.put({ only: value === "1" })),
        el("button", { type: "button", class: "plain", onclick: () => {
          now.pins.clear();
          actions.put({ only: false });
        } }, "Unpin")),
    ].filter(Boolean);
    let drawn = "";
    const toolbar = (host) => {
      const { level, pictures, by, rule, pins, only, explained } = now;
      const name = JSON.stringify([level, pictures, by, rule, pins.size, only,
        explained, now.output === "all"]);
      if (name !== drawn) host.replaceChildren(...items());
      drawn = name;
      if (rule !== "none") turn();
    };

    const editList = (scenes) => {
      const chips = now.edits.flatMap((edits, index) => edits.map((made) =>
        el("span", { class: "chip" }, graphs.length > 1 ? `${graphs[index].name}: ` : "",
          el("code", {}, words(made)[0]), words(made)[1],
          el("button", { type: "button", title: "Undo", "aria-label": "Undo this edit",
            onclick: () => actions.undo(made, index) }, "×"))));
      if (!chips.length) return [];
      const effect = chosen().length > 1 ? [] : scenes.map((made) => {
        const node = made.graph.outputs[chosen()[0]];
        if (made.before[node] === made.values[node]) return null;
        return el("span", { class: "effect" },
          `${now.output}: ${sj.format(made.before[node], 4)} → `,
          el("b", {}, sj.format(made.values[node], 4)));
      });
      return [el("span", { class: "label" }, "Edits"), chips, effect,
        el("button", { type: "button", class: "plain", onclick: actions.reset },
          "Reset all")];
    };

    return { toolbar, editList };
  };

  return { make, choices, words };
})();
