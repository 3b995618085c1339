// The page: actions on the state, the document, and one pass that shows it all.
const flow = (() => {
  const { el } = sj;
  const { graphs, samples, outputsOf, most } = source;
  const { now, remember } = state;

  // ---- Actions

  const after = []; // what else is shown, by a caller's own script
  let revealing = null; // the box to bring into sight once it is drawn
  const put = (changes) => {
    if ("rule" in changes || "amount" in changes) now.begun = false;
    Object.assign(now, changes);
    render();
  };
  const select = (key, index = now.pane) => {
    put({ selected: key, pane: index });
    revealing = key;
  };
  const edit = (made) => {
    const same = engine.target(made);
    now.edits[now.pane] = now.edits[now.pane]
      .filter((old) => engine.target(old) !== same).concat([made]);
    render();
  };
  const undo = (made, index = now.pane) => {
    const same = engine.target(made);
    now.edits[index] = now.edits[index].filter((old) => engine.target(old) !== same);
    render();
  };
  const reset = () => { now.edits = graphs.map(() => []); render(); };
  const pin = (key) => {
    if (!now.pins.delete(key)) now.pins.add(key);
    render();
  };
  const take = (at) => {
    put({ sample: at, x: samples[at].slice() });
  };
  const level = (name) => { // what is selected stays so, where it has a box
    const { full, graph } = panes[now.pane].scene;
    const old = full.boxes.find(({ key }) => key === now.selected);
    now.level = name;
    const view = views.view(graph, state.chosen(), name, now.pictures);
    const box = old && (view.boxes.find(({ key }) => key === old.key) ||
      views.home(view, old.node < 0 ? old.owner : old.node));
    select(box ? box.key : null);
  };
  const feed = (change) => { change(now.x); put({ sample: -1 }); };
  const actions = { put, select, edit, undo, reset, pin, take, feed, level,
    render: () => render() };

  // ---- Files

  const stem = () => `flow_${now.output}`.replace(/\W+/g, "_");
  const lookOf = () => { // the rules of drawings, colours written out
    const names = ["surface", "ink", "quiet", "line", "control", "accent", "plus",
      "minus",
      "zero", "input", "output", "picture"];
    const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])
      .filter((rule) => rule.selectorText && /^svg\.graph /.test(rule.selectorText))
      .map((rule) => rule.cssText).join("\n");
    return rules.replace(/var\(--([\w-]+)\)/g, (whole, name) =>
      names.includes(name) ? sj.color(name) : whole);
  };
  const caption = () => notes.caption(panes[now.pane].scene);
  const drawing = () => panes[now.pane].file(caption());
  const exports = {
    SVG: () => formats.save(`${stem()}.svg`, drawing(), "image/svg+xml"),
    PNG: () => formats.png(drawing()).then(
      (blob) => formats.save(`${stem()}.png`, blob, "image/png"),
      (error) => warn("The PNG could not be made; the drawing may be too large for " +
        `this browser. The SVG file holds the same. (${error.message})`, "files")),
    DOT: () => formats.save(`${stem()}.dot`,
      formats.dot(panes[now.pane].scene, caption()), "text/vnd.graphviz"),
    JSON: () => formats.save("flowgraph.json", formats.json(graphs[now.pane]),
      "application/json"),
  };
  const hint = { SVG: "This drawing", PNG: "This drawing, at twice the size",
    DOT: "This drawing, for Graphviz", JSON:
    "The full graph as it was given: neither thresholds nor edits change it" };

  // ---- The document

  const input = inputs.make(actions), output = outputs.make(actions);
  const control = controls.make(actions);
  const [toolbar, begun, edits, accounts, legend] = ["toolbar", "begun", "edits",
    "accounts", "legend"]
    .map((name) => el("div", { class: name }));
  const side = el("aside", { class: "panel", "aria-label": "Selected box",
    hidden: true });
  const example = () => { // of what can be searched for, from this graph
    const { boxes } = views.view(graphs[0], state.chosen(), now.level, now.pictures);
    const plain = ["input", "const", "affine", "output"];
    const box = boxes.find(({ op }) => !plain.includes(op));
    return box ? `${box.op}>3, ${box.key}` : `value>1, ${boxes.at(-1).key}`;
  };
  const search = el("input", { type: "search", id: "find", value: now.find,
    placeholder: example(), "aria-label": "Search boxes",
    title: "Keys, operations, values, or an input that pictures read",
    oninput: () => put({ find: search.value }) });
  const hits = el("output", { for: "find" });
  const stage = el("div", { class: `stage${graphs.length > 1 ? " two" : ""}` });
  const narrow = () => stage.clientWidth < 700;
  const roomy = () => Math.max(544, innerHeight - 336);
  const hosts = graphs.map((graph, i) => el("div", { class: "pane", "data-pane": i },
    el("p", { class: "shown" })));
  const panes = hosts.map((host, i) => pane.make(host, {
    open: (at) => select(at == null ? null : panes[i].scene.shown.boxes[at].key, i),
    rules: lookOf,
    room: () => ({ height: roomy(), // the page may be in a hidden frame
      width: Math.max(320, stage.clientWidth) / (narrow() ? 1 : graphs.length) }),
    top: () => { // room for the buttons and the counts, which may need lines of it
      const { offsetTop, offsetHeight } = host.querySelector(".shown");
      return Math.max(graphs.length > 1 ? 76 : 56, offsetTop + offsetHeight + 10);
    },
    covered: () => { // by the panel; not where it lies at the bottom of the window
      if (side.hidden || side.offsetWidth > stage.clientWidth / 2) return 0;
      const { right, width } = host.getBoundingClientRect();
      const over = right - side.getBoundingClientRect().left;
      return Math.min(width - 80, Math.max(0, over));
    },
  }));

  const help = el("dialog", { class: "help", "aria-label": "Keyboard" },
    el("h3", {}, "Keys and pointer"),
    el("dl", {}, [
      ["Hover or focus a box", "trace all paths into it and out of it"],
      ["Click or Enter", "open a box: weights, ranges, in and out, edits"],
      ["Tab, then arrows", "go from box to box; on the empty drawing, move it"],
      ["Ctrl or ⌘ with the wheel, pinch, + and −, 0", "zoom; 0 fits the drawing"],
      ["Delete, p", "remove the selected box; pin it"],
      ["[ and ]", "the sample before and after"],
      ["/", "search by key, operation or value: relu>3, value<-1"],
      ["Esc, ?", "close; this help"],
    ].map(([keys, text]) => [el("dt", {}, keys), el("dd", {}, text)])),
    el("button", { type: "button", class: "plain", onclick: () => help.close() },
      "Close"));

  const near = (icon, title, run) =>
    el("button", { type: "button", title, "aria-label": title, onclick: run }, icon);
  const every = (run) => () => panes.forEach(run);
  const zooms = el("div", { class: "group zooms", role: "group", "aria-label": "View" },
    near("+", "Zoom in (+)", every((p) => p.zoom(1.3))),
    near("−", "Zoom out (−)", every((p) => p.zoom(1 / 1.3))),
    near("Fit", "Fit to the window (0)", every((p) => p.fit())),
    near("?", "Help (?)", () => help.showModal()));
  const files = el("div", { class: "group files", role: "group", "aria-label": "Save" },
    Object.entries(exports).map(([name, run]) => near(name, hint[name], run)));

  const flags = notes.flags(actions);
  const build = () => {
    sj.fill("flow",
      el("div", { class: "band" }, input.sections, output.section),
      el("div", { class: "bar" }, toolbar,
        el("div", { class: "control find" }, search, hits)),
      begun, edits, accounts, stage, flags, help);
    stage.append(el("div", { class: "panes" }, hosts), zooms, files, side, legend);
  };

  // ---- One pass

  // A notice above everything; one of each `kind`.
  const warn = (text, kind) => {
    const old = document.querySelector(`.alarm.${kind}`);
    if (old) old.remove();
    document.querySelector("main").prepend(
      el("p", { class: `alarm ${kind}`, role: "alert" }, text));
  };

  // What is not finite as a float32 was sent as null.
  const differ = (value, expected) => {
    const finite = Number.isFinite(Math.fround(value));
    if (expected == null) return finite ? Infinity : 0;
    return finite ? value - expected : Infinity;
  };
  const certify = () => { // this page's own numbers against those that JAX gave
    const worst = most(graphs.flatMap((graph) => samples.flatMap((sample, i) =>
      outputsOf(graph, engine.evaluate(graph, sample))
        .map((value, o) => differ(value, graph.expected[i][o])))));
    const scale = most(graphs.flatMap((graph) => graph.expected.flat())) || 1;
    const note = document.getElementById("certificate");
    if (note && samples.length) note.textContent = "Evaluated by this page just now: " +
      `largest difference from JAX on its samples ${sj.format(worst, 2)}.`;
    if (worst > 1e-3 * scale) warn("This page computes other numbers than the graph " +
      `did in Python: they differ by up to ${boxes.number(worst, 2)}.`, "numbers");
  };

  const images = (made) => (box) => {
    const { weights, products } = boxes.paint(made, box);
    const { names } = boxes.faceOf(made.graph);
    const channels = names.length ? ` (${names.join(", ")})` : "";
    const shown = made.shares ? "relevance" : "weights × input";
    return [[weights, `weights${channels}`], [products, `${shown}${channels}`],
      [made.input, "input"]];
  };

  const showPanel = (scenes) => {
    const made = scenes[now.pane];
    const at = now.selected == null ? -1
      : made.full.boxes.findIndex((box) => box.key === now.selected);
    const top = side.dataset.key === now.selected ? side.scrollTop : 0;
    side.hidden = at < 0;
    if (at < 0) return;
    panel.show(side, made, at, { edit, undo, select, pin, images: images(made) });
    Object.assign(side, { scrollTop: top }).dataset.key = now.selected;
  };

  // What has the focus is often made anew; its successor, in the same place, gets it.
  const keepFocus = (run) => {
    const flow = document.getElementById("flow"), held = document.activeElement;
    const path = [];
    if (flow.contains(held) && !held.closest(".pane, .help")) {
      for (let node = held; node !== flow; node = node.parentElement) {
        path.unshift([...node.parentElement.children].indexOf(node));
      }
    }
    run();
    if (!path.length || held.isConnected) return;
    const next = path.reduce((node, i) => node && node.children[i], flow);
    if (next && next.tagName === held.tagName) next.focus({ preventScroll: true });
  };

  const drawAll = (scenes) => {
    stage.classList.toggle("narrow", narrow());
    scenes.forEach((made, i) =>
      hosts[i].querySelector(".shown").textContent = notes.says(made));
    const tall = Math.max(...scenes.map((made, i) => panes[i].prepare(made)));
    stage.style.setProperty("--height", `${Math.round(tall * roomy())}px`);
    scenes.forEach((made, i) => {
      panes[i].draw();
      Object.assign(hosts[i].dataset, { vertices: made.count[0], edges: made.count[1],
        boxes: made.shown.boxes.length, lines: made.list.length });
    });
    const at = scenes[now.pane].shown.boxes.findIndex((box) =>
      revealing != null && box.key === revealing);
    if (at >= 0) panes[now.pane].reveal(at);
    revealing = null;
  };

  const show = () => {
    const scenes = graphs.map(scene.make);
    const found = scenes.map((made) => made.found).filter(Boolean).flat();
    control.toolbar(toolbar);
    edits.replaceChildren(...control.editList(scenes).flat(2).filter(Boolean));
    begun.replaceChildren(...(now.begun ? [`The whole is too large to be read at once: ` +
      `only boxes with ${now.amount}% of the influence are shown. `,
    el("button", { type: "button", class: "plain", onclick: () => put({ rule: "none" }) },
      "Show all")] : []));
    accounts.replaceChildren(...scenes.flatMap(notes.account));
    legend.replaceChildren(...notes.legend(scenes));
    hits.textContent = now.find.trim() ? `${found.length} found` : "";
    input.show();
    output.show(scenes);
    notes.age(flags);
    if (document.activeElement !== search) search.value = now.find;
    showPanel(scenes);
    drawAll(scenes);
    after.forEach((run) => run());
  };

  // A drawing in which nothing can be read starts with its most influential part.
  const READABLE = 0.55, PARTS = [90, 70, 50, 30, 10];
  const begin = () => {
    show();
    if (now.rule !== "none" || sj.hash.get("hide")) return;
    const fits = () => panes.every(({ scene: { placed } }) =>
      placed && placed.scale >= READABLE);
    for (const amount of PARTS) {
      if (fits()) return;
      Object.assign(now, { rule: "top", amount, begun: true, large: true });
      show();
    }
  };

  let waiting = false, later = null;
  const render = () => { // at most once a frame: pointers move more often
    clearTimeout(later); // browsers refuse addresses that change all the time
    later = setTimeout(remember, 200);
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      keepFocus(show);
    });
  };

  // ---- Keys of the whole page

  const other = (by) => samples.length &&
    take((Math.max(now.sample, 0) + by + samples.length) % samples.length);
  const nextHit = () => {
    const made = panes[now.pane].scene;
    if (!made.found || !made.found.length) return;
    const found = made.found.map((i) => made.shown.boxes[i].key);
    select(found[(found.indexOf(now.selected) + 1) % found.length]);
  };
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") nextHit();
    if (event.key === "Escape") { search.value = ""; put({ find: "" }); search.blur(); }
  });
  const removeSelected = () => {
    const { full, graph } = panes[now.pane].scene;
    const box = full.boxes.find(({ key }) => key === now.selected);
    const made = box && panel.removal({ graph }, box);
    if (made) edit(made);
  };
  const keys = {
    "+": every((p) => p.zoom(1.3)), "-": every((p) => p.zoom(1 / 1.3)),
    "0": every((p) => p.fit()), "?": () => help.showModal(),
    "/": () => search.focus(), Escape: () => select(null),
    p: () => now.selected != null && pin(now.selected),
    Delete: removeSelected, "[": () => other(-1), "]": () => other(1),
  };
  keys["="] = keys["+"];
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  build();
  certify();
  begin();
  remember();
  sj.onchange(render);
  addEventListener("resize", render);
  // Not of this page's own making, which is silent: someone has entered another state.
  addEventListener("hashchange", () => {
    clearTimeout(later);
    location.reload();
  });
  return { now, graphs, panes, actions, after };
})();
