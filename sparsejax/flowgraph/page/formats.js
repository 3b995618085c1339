// Files that the page writes: the graph as JSON, exactly as `Graph.to_json` does, and a
// description for Graphviz.
const formats = (() => {
  // Python prints 1e-05 where JavaScript prints 0.00001; the digits are the same.
  const number = (value) => {
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e15) return String(value + 0);
    if (size >= 1e-4 && size < 1e16) {
      return String(value) + (Number.isInteger(value) ? ".0" : "");
    }
    return value.toExponential().replace(/e([-+])(\d)$/, "e$10$2");
  };
  const text = (value) => JSON.stringify(value).replace(/[\u007f-\uffff]/g, (c) =>
    c === "\u007f" ? c : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const json = (value) => {
    if (value === null || typeof value === "boolean") return String(value);
    if (typeof value === "number") return number(value);
    if (typeof value === "string") return text(value);
    if (Array.isArray(value)) return `[${value.map(json).join(",")}]`;
    const pairs = Object.entries(value).map(([k, v]) => `${text(k)}:${json(v)}`);
    return `{${pairs.join(",")}}`;
  };
  const whole = (graph) =>
    json({ format: "sparsejax.flowgraph", version: 1, ...graph.whole });

  // What readers take for one letter may be many: names are cut between these alone.
  const graphemes = (name) => Intl.Segmenter
    ? [...new Intl.Segmenter().segment(name)].map((part) => part.segment) : [...name];
  const cut = (name, most, last) => {
    const all = graphemes(name);
    return all.length <= most ? name
      : [...all.slice(0, most - last - 1), "…", ...all.slice(-last)].join("");
  };

  const quoted = (label) => `"${label.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n")}"`;
  // What is drawn: boxes with their values, edges with their weights.
  const dot = ({ shown, numbers, list }, caption) => [
    `// ${caption.join(" · ").replace(/\s+/g, " ")}`,
    "digraph flow {",
    "  node [shape=box, fontname=\"sans-serif\"];",
    ...shown.boxes.map((box, i) =>
      `  n${i} [label=${quoted(`${box.key}\n${box.op} [${numbers[i].toFixed(2)}]`)}];`),
    ...list.map((link) =>
      `  n${link.from} -> n${link.to} [label=${quoted(link.coef.toPrecision(4))}];`),
    "}", "",
  ].join("\n");

  const save = (name, content, type) => {
    const href = URL.createObjectURL(new Blob([content], { type }));
    sj.el("a", { href, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10000);
  };

  // A PNG at twice the size, or what a canvas can hold, by way of an image of the SVG
  // file. That has to be a data address: the page allows itself no others.
  const MOST = { side: 16000, area: 64e6 };
  const scaleOf = (width, height) => Math.min(2, MOST.side / Math.max(width, height),
    Math.sqrt(MOST.area / (width * height)));
  const png = async (svg) => {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    await image.decode();
    const { width, height } = image, scale = scaleOf(width, height);
    const canvas = sj.el("canvas", { width: Math.floor(width * scale),
      height: Math.floor(height * scale) });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    if (!blob) throw new Error(`${canvas.width} by ${canvas.height} pixels`);
    return blob;
  };

  return { json: whole, dot, save, png, scaleOf, graphemes, cut };
})();
