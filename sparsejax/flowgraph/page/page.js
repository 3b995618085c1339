// The page: actions on the state, the document, and one pass that shows it all.
const flow = (() => {
  const { el } = sj;
  const { graphs, samples, outputsOf, most } = source;
  const { now, remember } = state;

  // ---- Actions

  let revealing = null; // the box to bring into sight once it is drawn
  const put = (changes) => { Object.assign(now, changes); render(); };
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
  const feed = (change) => { change(now.x); put({ sample: -1 }); };
  const actions = { put, select, edit, undo, reset, pin, take, feed,
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
  const exports = {
    SVG: () => formats.save(`${stem()}.svg`, panes[now.pane].file(), "image/svg+xml"),
    PNG: async () => formats.save(`${stem()}.png`,
      await formats.png(panes[now.pane].file()), "image/png"),
    DOT: () => formats.save(`${stem()}.dot`, formats.dot(panes[now.pane].scene),
      "text/vnd.graphviz"),
    JSON: () => formats.save("flowgraph.json", formats.json(graphs[now.pane]),
      "application/json"),
  };
  const hint = { SVG: "This drawing", PNG: "This drawing, at twice the size",
    DOT: "This drawing, for Graphviz", JSON: "The full graph, whatever is shown" };

  // ---- The document

  const input = inputs.make(actions), output = outputs.make(actions);
  const control = controls.make(actions);
  const [toolbar, edits, legend] = ["toolbar", "edits", "legend"].map((name) =>
    el("div", { class: name }));
  const side = el("aside", { class: "panel", "aria-label": "Selected box",
    hidden: true });
  const search = el("input", { type: "search", id: "find", value: now.find,
    placeholder: "Search: relu>3, h[3]", "aria-label": "Search boxes",
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
    top: graphs.length > 1 ? 76 : 56, // room for the buttons and the counts
    covered: () => side.hidden || side.offsetWidth > stage.clientWidth / 2 ? 0
      : side.offsetWidth,
  }));

  const help = el("dialog", { class: "help", "aria-label": "Keyboard" },
    el("h3", {}, "Keys and pointer"),
    el("dl", {}, [
      ["Hover or focus a box", "trace all paths into it and out of it"],
      ["Click or Enter", "open a box: weights, ranges, contributions, edits"],
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

  const build = () => {
    sj.fill("flow",
      el("div", { class: "band" }, input.sections, output.section),
      el("div", { class: "bar" }, toolbar,
        el("div", { class: "control find" }, search, hits)),
      edits, stage, notes.flags(actions), help);
    stage.append(el("div", { class: "panes" }, hosts), zooms, files, side, legend);
  };

  // ---- One pass

  const certify = () => { // this page's own numbers against those that JAX gave
    const worst = most(graphs.flatMap((graph) => samples.flatMap((sample, i) =>
      outputsOf(graph, engine.evaluate(graph, sample))
        .map((value, o) => value - graph.expected[i][o]))));
    const note = document.getElementById("certificate");
    if (note && samples.length) note.textContent = "Evaluated by this page just now: " +
      `largest difference from JAX on its samples ${sj.format(worst, 2)}.`;
  };

  const images = (made) => (box) => {
    const { weights, products } = boxes.paint(made, box);
    return [[weights, "weights"], [products, "weights × input"], [made.input, "input"]];
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
    const tall = Math.max(...scenes.map((made, i) => panes[i].prepare(made)));
    stage.style.setProperty("--height", `${Math.round(tall * roomy())}px`);
    scenes.forEach((made, i) => {
      panes[i].draw();
      hosts[i].querySelector(".shown").textContent = notes.says(made);
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
    legend.replaceChildren(...notes.legend(scenes));
    hits.textContent = now.find.trim() ? `${found.length} found` : "";
    input.show();
    output.show(scenes);
    showPanel(scenes);
    drawAll(scenes);
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
    if (box && box.node >= 0) edit(["remove", graph.keys[box.node]]);
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
  show();
  remember();
  sj.onchange(render);
  addEventListener("resize", render);
  return { now, graphs, panes };
})();
