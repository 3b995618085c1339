// The outputs: a bar each, before and after edits. Press one to see what it comes from.
const outputs = (() => {
  const { el } = sj;
  const { first, labels, outputsOf, predicted, most, short, constants } = source;
  const { now } = state;

  const verdict = (scenes) => {
    const truth = labels && now.sample >= 0 ? labels[now.sample] : null;
    const words = scenes.map((made) => {
      const best = predicted(outputsOf(made.graph, made.values));
      return best == null ? null
        : `${scenes.length > 1 ? `${made.name}: ` : ""}${first.outputNames[best]}`;
    }).filter(Boolean);
    return [words.length ? `Largest: ${words.join(", ")}` : null,
      truth == null ? null : `label ${truth}`].filter(Boolean).join(" · ");
  };

  const make = (actions) => {
    const outputBars = (scenes) => {
      const columns = first.outputNames.map((name, i) => scenes.map((made) => ({
        value: made.values[made.graph.outputs[i]],
        was: made.before[made.graph.outputs[i]] })));
      const limit = most(columns.flat().flatMap(({ value, was }) => [value, was])
        .filter(Number.isFinite)) || 1;
      const any = (test) =>
        columns.flat().some(({ value, was }) => test(value) || test(was));
      const up = any((v) => v > 0), down = any((v) => v < 0);
      const zero = !down ? 100 : up ? 50 : 0, reach = up && down ? 50 : 100;
      const bar = (value, kind) => {
        const height = Math.min(reach, (reach * Math.abs(value)) / limit) || 0;
        return el("i", { class: `${kind} ${value < 0 ? "minus" : "plus"}`,
          style: `height: ${height}%; top: ${value < 0 ? zero : zero - height}%` });
      };
      const best = scenes.map((made) => predicted(outputsOf(made.graph, made.values)));
      const column = (name, i) => {
        const parts = columns[i];
        // Edits leave the structure as it is, but not the bounds.
        const proofs = constants.map((list, g) =>
          now.edits[g].length && list[i] !== "structural" ? null : list[i]);
        const fixed = proofs.every(Boolean);
        return el("button", {
          type: "button", class: `score${best.includes(i) ? " best" : ""}`,
          "aria-pressed": String(now.output === name), "data-output": name,
          "data-value": parts[0].value, title: `${name}${fixed
            ? `, constant (proof: ${[...new Set(proofs)].join(", ")})` : ""}: ` +
            parts.map(({ value }) => boxes.number(value, 6)).join(", "),
          onclick: () => actions.put({ output: name, explained: name, selected: null }),
        },
        el("span", { class: "numbers" }, parts.map(({ value, was }) =>
          el("b", { class: value === was ? null : "changed" },
            boxes.two(value).slice(1, -1)))),
        el("span", { class: "well" }, el("u", { style: `top: ${zero}%` }),
          parts.map(({ value, was }, k) => el("span", { class: `pair p${k}` },
            value === was ? null : bar(was, "was"), bar(value, "is")))),
        el("span", { class: "name" }, short(name)),
        fixed ? el("span", { class: "constant" }, "constant") : null);
      };
      return first.outputNames.map(column);
    };

    const heading = el("span", { class: "quiet" }), row = el("div",
      { class: `bars${first.outputNames.length < 9 ? " few" : ""}` });
    const all = el("button", { type: "button", class: "plain all",
      onclick: () => actions.put({ output: "all", selected: null }),
    }, "All in one graph");
    const section = el("section", { class: "results" }, el("h2", {}, "Outputs ", heading,
      first.outputNames.length > 1 ? all : null), row);
    const show = (scenes) => {
      row.replaceChildren(...outputBars(scenes));
      heading.textContent = verdict(scenes);
      all.setAttribute("aria-pressed", String(now.output === "all"));
    };
    return { section, show };
  };

  return { make };
})();
