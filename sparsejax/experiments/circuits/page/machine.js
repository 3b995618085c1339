// The network itself, run here: tokens, what every site writes, where heads look.
const run = (() => {
  if (!network) return { show() {} };
  const { el, format } = sj;
  const { now, machine, panel, head, plain, loss } = circuits;
  const { vocabulary, length, first } = network; // logits from position `first` count
  const half = length / 2;
  let ids = network.x[0].slice(), corrupted = network.corrupted[0].slice();

  const tokens = el("div", { class: "tokens" });
  const grid = el("div", { class: "grid" });
  const seen = el("p", { class: "say" }), cell = el("p", { class: "say" });
  const most = network.x.length;
  const turn = (by) => {
    now.sequence = (now.sequence + by + most) % most;
    ids = network.x[now.sequence].slice();
    corrupted = network.corrupted[now.sequence].slice();
    show();
  };
  const change = (t) => { // the next token there, in both halves
    const at = t % half;
    ids[at] = ids[at + half] = (ids[at] + 1) % vocabulary;
    show();
  };
  machine.append(panel(
    head("The network, run here", plain("‹", () => turn(-1), "Sequence before"),
      plain("›", () => turn(1), "Next sequence")),
    seen, el("div", { class: "wide" }, tokens, grid), cell,
    el("p", { class: "say" }, "Rows: what each site adds to the logit of the token that " +
      "comes next, less the mean of all tokens'. Click a token to change it. The squares " +
      "on heads show where each position (row) looks.")));

  const compute = () => {
    const seed = circuits.part().seed;
    const off = network.replaced(seed, now.part, now.mask, corrupted);
    const result = network.run(seed, ids, off);
    const targets = ids.map((_, t) => t + 1 < length ? ids[t + 1] : null);
    return { seed, result, targets,
      effects: network.effects(seed, result, targets) };
  };
  const paint = (canvas, pattern) => {
    canvas.width = canvas.height = length;
    const image = new ImageData(length, length);
    const ink = sj.color("ink").match(/[\d.]+/g).slice(0, 3).map(Number);
    pattern.forEach((row, t) => row.forEach((weight, s) => {
      const at = 4 * (t * length + s);
      image.data.set([...ink, Math.round(255 * weight)], at);
    }));
    canvas.getContext("2d").putImageData(image, 0, 0);
  };
  const show = () => {
    const there = circuits.part().seed in network.weights;
    machine.hidden = !there;
    if (!there) return;
    const { result, targets, effects } = compute();
    const own = network.loss(result.logits, targets, first);
    const chances = result.logits.map((row) => network.softmax([...row]));
    const guess = chances.map((row) => row.indexOf(Math.max(...row)));
    const right = targets.filter((target, t) => t >= first && guess[t] === target).length;
    seen.textContent = `Sequence ${now.sequence + 1} of ${most}: loss ${loss(own)}, ` +
      `${right} of ${targets.length - 1 - first} tokens of the second half predicted.`;
    seen.dataset.loss = own;
    const columns = `88px repeat(${length}, minmax(20px, 1fr))`;
    tokens.style.gridTemplateColumns = grid.style.gridTemplateColumns = columns;
    tokens.replaceChildren(el("span", { class: "name" }, "token"),
      ...ids.map((id, t) => el("button", { type: "button", class: "token", value: t,
        title: `Position ${t}: token ${id}; click for another`,
        onclick: () => change(t) }, id)),
      el("span", { class: "name" }, "says next"),
      ...guess.map((id, t) => el("span", { class: t < first || targets[t] == null
        ? "guess early" : guess[t] === targets[t] ? "guess right" : "guess wrong",
      title: `${Math.round(100 * chances[t][id])} %` }, id)));
    const size = Math.max(...effects.flatMap(({ values }) =>
      values.map((v) => Math.abs(v ?? 0))), 1e-9);
    grid.replaceChildren(...effects.flatMap(({ name, values }) => [
      el("span", { class: "name" }, name),
      ...values.map((value, t) => el("i", { class: "cell", style: value == null ? null
        : `background: ${sj.sign.color(value / size)}`,
      onpointerenter: () => {
        cell.textContent = value == null ? "" : `${name} at position ${t} (token ` +
          `${ids[t]}): ${value < 0 ? "−" : "+"}${format(Math.abs(value))} on the ` +
          `logit of ${targets[t]}`;
      } }))]));
    circuits.buttons().forEach(({ picture }, i) => {
      const { heads } = network;
      paint(picture, result.patterns[Math.floor(i / heads)][i % heads]);
    });
  };
  sj.onchange(show);
  return { show, compute };
})();
{
  const mask = sj.hash.get("mask", ""), at = sj.hash.get("part", 0);
  const i = sj.data.parts[at] ? at : 0, { labels } = sj.data.parts[i];
  const fits = mask.length === labels.length && labels.length <= 30 &&
    /^[01]+$/.test(mask);
  circuits.select(i, fits ? tables.number([...mask].flatMap((bit, k) =>
    bit === "1" ? [k] : [])) : null);
}
