// Boxes and lines of a scene as SVG elements.
const boxes = (() => {
  const PICTURE = 56; // side of a weight picture,
  const CHANNEL = 40; // and of each of its channels, where there are several
  const PAD = 5;

  const pen = document.createElement("canvas").getContext("2d");
  const textWidth = (text, font) => {
    pen.font = font;
    return pen.measureText(text).width;
  };
  const SMALL = "12px system-ui, sans-serif", BOLD = "600 13px system-ui, sans-serif";
  const short = (text) => formats.cut(text, 22, 8);
  const number = (value, digits) => Number.isNaN(value) ? "NaN"
    : Math.abs(value) === Infinity ? (value < 0 ? "−∞" : "∞") : sj.format(value, digits);
  const two = (value) => { // two decimals, as in the figures of 2020
    if (!Number.isFinite(value)) return `[${number(value)}]`;
    const text = Math.abs(value) >= 1e5 ? sj.format(value) : value.toFixed(2);
    return `[${(/^-?0\.00$/.test(text) ? "0.00" : text).replace("-", "−")}]`;
  };
  // What is written on a box: its value in brackets, or its relevance.
  const amountOf = ({ shares }, box, value) => !shares ? value
    : relevance.times(views.multiplier(box, shares), value);
  const written = ({ shares }, amount) =>
    shares ? `R ${two(amount).slice(1, -1)}` : two(amount);
  const sign = (value) => (value > 0 ? "plus" : value < 0 ? "minus" : "zero");

  const verb = (scene, box) => { // what a box does, in a word
    if (box.term >= 0) return `× ${sj.format(scene.changes.coefs[box.term])}`;
    if (box.op === "input" || box.op === "output") return "";
    return box.op === "affine" ? "Σ" : box.op;
  };

  const faceOf = ({ image }) => { // how large a picture is, and what its channels are
    const depth = (image && image[2]) || 1;
    if (depth === 1) return { wide: PICTURE, high: PICTURE, names: [] };
    const names = depth === 3 ? ["R", "G", "B"] : [...Array(depth).keys()].map(String);
    return { wide: CHANNEL * Math.min(4, depth), high: CHANNEL,
      names: depth > 8 ? [] : names };
  };

  const title = (box) => short(box.output && box.op !== "output" ? box.output : box.key);

  const sizes = (scene) => {
    const { wide, high, names } = faceOf(scene.graph);
    return scene.shown.boxes.map((box, i) => {
      const words = textWidth(`${verb(scene, box)}  `, SMALL);
      const label = textWidth(title(box), SMALL);
      // Room for a sign and two digits: values change, places should not.
      const numbers = Math.max(...[two(scene.numbers[i]), "R −88.88"]
        .map((text) => textWidth(text, BOLD)));
      if (box.picture) {
        const inner = Math.max(2 * wide + PAD, label + numbers + 8);
        const height = high + 2 * PAD + 19 + (names.length && 12);
        return { width: Math.ceil(inner / 8) * 8 + 2 * PAD, height };
      }
      const inner = Math.max(label, words + numbers);
      return { width: Math.ceil(inner / 8) * 8 + 16, height: 42 };
    });
  };

  // ---- Boxes

  const supports = (graph, box) => { // positions in the input, and its edges
    const edges = [];
    const [from, to] = [graph.starts[box.owner], graph.starts[box.owner + 1]];
    for (let e = from; e < to; e++) edges.push(e);
    return { edges, positions: edges.map((e) => graph.inputs[graph.args[e]]) };
  };

  const patches = new WeakMap(); // graph -> whether its pictures are of patches
  const areSmall = (graph) => {
    if (!patches.has(graph)) {
      const owners = graph.ops.map((_, i) => i).filter((i) => views.pictured(graph, i));
      patches.set(graph, pictures.small(graph.image, owners.map((owner) =>
        pictures.extent(graph.image, supports(graph, { owner }).positions))));
    }
    return patches.get(graph);
  };

  // Addresses of a box's pictures: weights, and weights times input or their relevance.
  const paint = (scene, box) => {
    const { graph, values, changes, shares, scales } = scene;
    const { edges, positions } = supports(graph, box);
    const extent = areSmall(graph) ? pictures.extent(graph.image, positions)
      : [0, 0, ...graph.image.slice(0, 2)];
    const weights = edges.map((e) => changes.coefs[e]);
    const products = edges.map((e) => shares ? shares.edges[e]
      : changes.coefs[e] * values[graph.args[e]]);
    const make = (numbers, scale) => pictures.map(document.createElement("canvas"),
      graph.image, positions, numbers, scale, extent).toDataURL();
    return { weights: make(weights, scales.weights), extent,
      products: make(products, scales.products) };
  };

  // Around the place of a patch: outside, so as not to hide it.
  const frame = (graph, [top, left, height, width], x, y) => {
    const [rows, columns] = graph.image, { wide, high } = faceOf(graph);
    const unit = Math.min(high / rows, wide / columns);
    return ["halo", "patch"].map((name) => sj.svg("rect", { class: name,
      x: x + (wide - columns * unit) / 2 + left * unit - 2,
      y: y + (high - rows * unit) / 2 + top * unit - 2,
      width: width * unit + 4, height: height * unit + 4 }));
  };

  const face = (scene, box, place) => {
    const { graph } = scene;
    const { weights, products, extent } = paint(scene, box);
    const patch = areSmall(graph);
    const { wide, high, names } = faceOf(graph), step = wide + PAD;
    const left = -wide - PAD / 2, top = -place.height / 2 + PAD;
    const picture = (href, i) => sj.svg("image", { href, x: left + i * step,
      y: top, width: wide, height: high, style: "image-rendering: pixelated" });
    const named = (i) => names.map((name, k) => sj.svg("text", { class: "channel",
      x: left + i * step + ((k + 0.5) * wide) / names.length, y: top + high + 11,
      "text-anchor": "middle" }, name));
    // Of a small patch the input is shown beside it, with the patch's place.
    return [picture(weights, 0), picture(patch ? scene.input : products, 1), named(0),
      patch ? frame(graph, extent, left + step, top) : named(1)];
  };

  const words = (scene, box, place, value) => {
    const amount = amountOf(scene, box, value);
    const bottom = place.height / 2, left = -place.width / 2;
    const number = (x, y, anchor) => sj.svg("text",
      { class: `value ${sign(amount)}`, x, y, "text-anchor": anchor },
    written(scene, amount));
    if (box.picture) {
      const key = { class: "key", x: left + PAD + 1, y: bottom - 7 };
      return [sj.svg("text", key, title(box)),
        number(-left - PAD - 1, bottom - 7, "end")];
    }
    const lead = verb(scene, box);
    const middle = { class: "key", y: -5, "text-anchor": "middle" };
    const key = sj.svg("text", middle, title(box));
    if (!lead) return [key, number(0, 13, "middle")];
    return [key,
      sj.svg("text", { class: "verb", x: left + 8, y: 13 }, lead),
      number(-left - 8, 13, "end")];
  };

  // What is said of a box: of its node, or of the weighted sum that is a part of it.
  const about = (notes, box) =>
    box.node < 0 ? undefined : notes.get(box.node) ?? notes.get(box.owner);
  const badgeOf = ({ badges }, box) => { // a sum that was set is not the box's value
    const text = about(badges, box);
    return text && text !== "edited" && !badges.has(box.node) ? `sum ${text}` : text;
  };

  const badge = (scene, box, place) => {
    const text = badgeOf(scene, box);
    const x = place.width / 2 - 4, y = -place.height / 2 - 5;
    const pin = scene.pins.has(box.key) && sj.svg("circle",
      { class: "pin", cx: -place.width / 2, cy: -place.height / 2, r: 5 });
    const corner = { class: "badge", x, y, "text-anchor": "end" };
    const wide = text && textWidth(text, BOLD) + 8;
    const under = text && sj.svg("rect", { class: "under", x: x + 4 - wide, y: y - 12,
      width: wide, height: 17, rx: 4 });
    return [pin, under, text && sj.svg("text", corner, text)].filter(Boolean);
  };

  const kind = (box) =>
    box.output ? "output" : box.picture ? "picture" : box.op === "input" ? "input"
      : box.op === "const" ? "const" : "inner";

  const drawBox = (scene, i) => {
    const box = scene.shown.boxes[i], place = scene.placed.places[i];
    const value = scene.numbers[i], amount = amountOf(scene, box, value);
    const marks = [kind(box), about(scene.differs, box),
      about(scene.badges, box) && "edited",
      scene.selected === box.key && "selected"].filter(Boolean);
    return sj.svg("g", {
      class: `box ${marks.join(" ")}`, tabindex: -1, role: "button", "data-box": i,
      "data-key": box.key, "data-value": value,
      "data-relevance": scene.shares ? amount : null,
      transform: `translate(${place.x.toFixed(1)} ${place.y.toFixed(1)})`,
      "aria-label": `${title(box)}, ${verb(scene, box)} ${written(scene, amount)}`,
    },
    sj.svg("title", {}, `${box.key}: ${box.op}, value ${number(value, 6)}` +
      (scene.shares ? `, relevance ${number(amount, 6)}` : "")),
    sj.svg("rect", { class: "shape", x: -place.width / 2, y: -place.height / 2, rx: 6,
      width: place.width, height: place.height }),
    box.picture ? face(scene, box, place) : [],
    words(scene, box, place, value), badge(scene, box, place));
  };

  // ---- Lines

  const shownAs = (scene, link) => link[scene.by === "weight" ? "coef" : scene.by];

  const strokes = (scene) => {
    const numbers = scene.list.map((link) => shownAs(scene, link) || 0);
    const most = numbers.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
    return numbers.map((number) => {
      const part = Math.abs(number) / most;
      return { sign: sign(number), width: number ? 1 + 7 * part : 1,
        opacity: number ? 0.4 + 0.6 * part : 0.55 };
    });
  };

  const drawLine = (scene, link, i, stroke) => {
    const { boxes } = scene.shown;
    return sj.svg("path", {
      class: `edge ${stroke.sign}`, d: scene.placed.lines[i], "data-edge": i,
      "stroke-width": stroke.width.toFixed(2),
      "stroke-opacity": stroke.opacity.toFixed(2),
    }, sj.svg("title", {}, `${boxes[link.from].key} → ${boxes[link.to].key}: ` +
      `weight ${sj.format(link.coef, 5)} × value ${sj.format(link.value, 5)} = ` +
      sj.format(link.contribution, 5) +
      (scene.shares ? `, relevance ${sj.format(link.relevance, 5)}` : "")));
  };

  const lay = (scene, list) => { // strong lines above weak ones
    const order = [...list.keys()].sort((a, b) => list[a].width - list[b].width);
    return order.map((i) => drawLine(scene, scene.list[i], i, list[i]));
  };

  const drawAll = (scene) => scene.shown.boxes.map((_, i) => drawBox(scene, i));

  return { sizes, strokes, lay, drawAll, paint, amountOf, sign, two, number, faceOf,
    areSmall, textWidth, SMALL };
})();
