// The inputs: samples to take, a pad to draw on, sliders for a few numbers.
const inputs = (() => {
  const { el } = sj;
  const { first, size, samples, labels, rest, low, high, paper, sliders } = source;
  const { outputsOf, predicted, short } = source;
  const { now } = state;

  const make = (actions) => {
    const guesses = samples.map((sample) =>
      predicted(outputsOf(first, engine.evaluate(first, sample))));
    const thumbnail = (sample, i) => {
      const truth = labels && String(labels[i]);
      const guess = guesses[i] == null ? null : first.outputNames[guesses[i]];
      const wrong = truth != null && guess != null &&
        ![guess, short(guess)].includes(truth);
      const face = first.image
        ? pictures.input(el("canvas", { class: "crisp" }), paper, sample)
        : el("span", { class: "row" }, `#${i + 1}`);
      return el("button", { type: "button", class: "sample", "data-sample": i,
        "aria-pressed": String(now.sample === i), title: [`Sample ${i + 1}`,
          truth && `label ${truth}`, guess && `largest output ${guess}`]
          .filter(Boolean).join(", "), onclick: () => actions.take(i) }, face,
      el("span", { class: wrong ? "wrong" : null },
        [truth, guess && short(guess)].filter(Boolean).join(" → ")));
    };

    const pad = el("canvas", { class: "pad crisp", tabindex: 0, role: "img",
      "aria-label": "The input. Draw on it with the pointer." });
    let erasing = false, last = null; // where the pen was, [row, column]
    const pointAt = ({ clientX, clientY }) => {
      const [height, width] = first.image, box = pad.getBoundingClientRect();
      return [((clientY - box.top) / box.height) * height - 0.5,
        ((clientX - box.left) / box.width) * width - 0.5];
    };
    const distance = (y, x, [ay, ax], [by, bx]) => { // from the line between two points
      const length = (by - ay) ** 2 + (bx - ax) ** 2;
      const along = length && ((y - ay) * (by - ay) + (x - ax) * (bx - ax)) / length;
      const t = Math.min(1, Math.max(0, along));
      return Math.hypot(y - ay - t * (by - ay), x - ax - t * (bx - ax));
    };
    const line = (values, from, to) => {
      const [, width, depth = 1] = first.image, radius = Math.max(0.8, width / 22);
      for (let i = 0; i < size; i++) {
        const cell = Math.floor(i / depth);
        const far = distance(Math.floor(cell / width), cell % width, from, to);
        const part = Math.min(1, Math.max(0, radius + 0.5 - far));
        const goal = erasing ? rest[i] : high[i];
        if (part) values[i] = state.stepped(values[i] + (goal - values[i]) * part, i);
      }
    };
    const stroke = (event) => { // pointers are fast: several places an event, joined
      const passed = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      actions.feed((values) => {
        for (const at of passed.length ? passed : [event]) {
          const point = pointAt(at);
          line(values, last || point, point);
          last = point;
        }
      });
    };
    pad.addEventListener("pointerdown", (event) => {
      pad.setPointerCapture(event.pointerId);
      last = null;
      stroke(event);
    });
    pad.addEventListener("pointermove", (event) => event.buttons && stroke(event));

    const tools = () => el("div", { class: "tools" },
      controls.choices("Pen", { brush: "Draw", erase: "Erase" },
        erasing ? "erase" : "brush",
        (value) => { erasing = value === "erase"; actions.render(); }),
      el("button", { type: "button", class: "plain", onclick: () =>
        actions.feed((values) => values.splice(0, size, ...rest)) }, "Clear"));

    const knobs = !sliders ? [] : first.inputNames.map((name, i) => {
      const set = (event) => event.target.value.trim() && actions.feed((values) => {
        values[i] = Number(event.target.value);
      });
      const range = el("input", { type: "range", min: low[i], max: high[i], step: "any",
        "aria-label": name, oninput: set });
      const exact = el("input", { type: "number", step: "any",
        "aria-label": `${name}, exact`,
        onchange: set });
      const label = el("span", {}, name);
      return { range, exact, row: el("label", { class: "knob" }, label, range,
        exact) };
    });
    const turn = () => knobs.forEach(({ range, exact }, i) => {
      range.value = now.x[i];
      exact.value = Number(now.x[i].toPrecision(4));
    });

    const gallery = el("div", { class: "samples" });
    const note = el("span", { class: "quiet" });
    const toolsAt = el("div");
    const heading = (text, ...notes) => el("h2", {}, `${text} `, notes);
    const input = first.image
      ? el("section", { class: "input" }, heading("Input", note),
        el("div", { class: "paper" }, pad, toolsAt))
      : sliders ? el("section", { class: "input" }, heading("Input", note),
        el("div", { class: "knobs" }, knobs.map(({ row }) => row))) : null;
    const taken = samples.length ? el("section", { class: "gallery" }, heading("Samples",
      el("span", { class: "quiet" }, labels ? "label → largest output" : "")),
    gallery) : null;

    const show = () => {
      gallery.replaceChildren(...samples.map(thumbnail));
      note.textContent = now.sample >= 0 ? `sample ${now.sample + 1}`
        : first.image ? "your own" : "";
      if (sliders) turn();
      if (!first.image) return;
      pictures.input(pad, paper, now.x);
      toolsAt.replaceChildren(tools());
    };
    return { sections: [input, taken].filter(Boolean), show };
  };

  return { make };
})();
