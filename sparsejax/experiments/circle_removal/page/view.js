// What the page is made of: controls, maps with axes and a colour bar, three charts.
const view = (() => {
  const { el, svg } = sj;

  // ---- Controls and panels

  const plain = (label, onclick, title) =>
    el("button", { type: "button", class: "plain", onclick, title }, label);
  const group = (label, options, press) => { // options: [value, text]
    const buttons = options.map(([value, words]) => el("button", { type: "button",
      value, onclick: () => press(value) }, words));
    const box = el("div", { class: "group", role: "group", "aria-label": label },
      buttons);
    const mark = (current) => buttons.forEach((button) =>
      button.setAttribute("aria-pressed", String(button.value === String(current))));
    return { box, buttons, mark };
  };
  const fact = (label) => {
    const value = el("dd"), note = el("dd");
    return { box: el("div", {}, el("dt", {}, label), value, note),
      tell: (text, exact, words) => {
        value.textContent = text;
        value.dataset.value = exact;
        note.textContent = words;
      } };
  };
  const head = (title, ...tools) => el("div", { class: "head" }, el("h2", {}, title),
    el("div", { class: "tools" }, tools));
  const panel = (...children) => el("section", { class: "panel" }, children);
  const key = (color, words, dash = "solid") =>
    el("span", { style: `--color: ${color}; --dash: ${dash}` }, words);

  // ---- Colours: 256 of each, as [r, g, b]

  const between = (hex) => {
    const stops = hex.split(" ").map((text) =>
      [0, 2, 4].map((at) => parseInt(text.slice(at, at + 2), 16)));
    return Array.from({ length: 256 }, (_, i) => {
      const place = i / 255 * (stops.length - 1), at = Math.min(Math.floor(place),
        stops.length - 2);
      return stops[at].map((from, j) =>
        Math.round(from + (stops[at + 1][j] - from) * (place - at)));
    });
  };
  const viridis = between( // matplotlib's, to two levels of 255
    "440154 470d60 48186a 482374 472d7b 453681 424086 3f4989 3b528b 375a8d 33638d " +
    "2f6a8e 2c728e 297a8e 26818e 23898e 21908c 1f988b 1f9f88 21a685 28ae80 31b57b " +
    "3ebc74 4cc26c 5dc963 6ece58 82d34c 96d83f abdc32 c0df24 d5e21a eae51a fde725");
  const magma = between(
    "000004 0a0822 1d1146 36106a 50127c 691c81 822681 9c2e7f b63779 cf4170 e65163 " +
    "f5695c fb8761 fea571 fec387 fde0a2 fcfdbf");
  const signed = () => Array.from({ length: 256 }, (_, i) =>
    sj.sign.color(Math.max(-1, (i - 128) / 127)).match(/\d+/g).map(Number));
  const paint = (canvas, values, pixels, colors, share) => { // share: value -> [0, 1]
    if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
    const image = new ImageData(pixels, pixels), { data } = image;
    for (let p = 0; p < values.length; p++) {
      const at = Math.round(255 * Math.min(1, Math.max(0, share(values[p]))));
      const color = colors[at];
      data[4 * p] = color[0];
      data[4 * p + 1] = color[1];
      data[4 * p + 2] = color[2];
      data[4 * p + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  // ---- Numbers and scales

  const minus = (text) => String(text).replace("-", "−");
  const change = (value) => minus((value < 0 ? "" : "+") + value.toFixed(3));
  const percent = (share) => share > 0.9995 ? "> 99.9 %" : share < 0.0005 ? "< 0.1 %"
    : `${(100 * share).toFixed(1)} %`;
  const plural = (count, word) =>
    `${sj.format(count)} ${word}${count === 1 ? "" : "s"}`;
  const scale = (from, to, start, end) => (value) =>
    start + (value - from) / (to - from) * (end - start);
  const logScale = (from, to, start, end) => {
    const straight = scale(Math.log(from), Math.log(to), start, end);
    return (value) => straight(Math.log(value));
  };
  const logTicks = (from, to) => { // as many as there is room for
    const exponents = Array.from({ length: 40 }, (_, i) => i - 20);
    const inside = (digits) => exponents.flatMap((e) =>
      digits.map((digit) => +`${digit}e${e}`))
      .filter((tick) => tick >= from && tick <= to);
    const found = [[1, 1.5, 2, 3, 4, 5, 6, 8], [1, 2, 5], [1]].map(inside)
      .find((ticks) => ticks.length < 9);
    return found.length > 1 ? found : [from, to].map((end) => +end.toPrecision(3));
  };
  const whole = (most) => { // 0 .. most in at most ten steps of 1, 2, 5
    const step = [1, 2, 5, 10].find((size) => most / size <= 10);
    return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
  };
  const line = (xs, ys) => // "M0 1L2 3", in pixels
    Array.from(xs, (x, i) => `${i ? "L" : "M"}${x.toFixed(1)} ${ys[i].toFixed(1)}`)
      .join("");
  const text = (x, y, words, attributes) => svg("text", { x, y, ...attributes }, words);

  const widths = new Map(); // of places, measured once: asking anew forces a layout
  const widthOf = (place) => {
    if (!widths.has(place)) widths.set(place, place.clientWidth);
    return widths.get(place);
  };

  // ---- A map of the square

  let bars = 0;
  const LEFT = 40, RIGHT = 74, TOP = 8, BOTTOM = 40;
  const map = (name) => {
    const canvas = el("canvas", { role: "img", "aria-label": name });
    const drawing = svg("svg", { "aria-hidden": "true" });
    const stage = el("div", { class: "stage" }, canvas, drawing);
    const id = `bar-${++bars}`;
    let side = 0;
    const at = (x1, x2) => [LEFT + (x1 / net.reach + 1) / 2 * side,
      TOP + (1 - x2 / net.reach) / 2 * side];
    const twice = (shape, attributes) => [ // light on dark: seen on every colour
      svg(shape, { ...attributes, class: `${attributes.class} under` }),
      svg(shape, attributes)];
    const plane = () => {
      const ticks = [-2, -1, 0, 1, 2].map((value) => {
        const [x, y] = at(value, value);
        return [
          svg("path", { class: "tick",
            d: `M${x} ${TOP + side}v5M${LEFT} ${y}h-5` }),
          text(x, TOP + side + 19, minus(value), { "text-anchor": "middle" }),
          text(LEFT - 9, y + 4, minus(value), { "text-anchor": "end" })];
      });
      const [left, top] = at(-1, 1), unit = side / 2 / net.reach;
      const [x, y] = at(0, 0);
      return [ticks,
        text(x, TOP + side + 36, "x₁", { "text-anchor": "middle" }),
        text(0, 0, "x₂", { "text-anchor": "middle", transform:
          `translate(12 ${y}) rotate(-90)` }),
        twice("rect", { class: "square", x: left, y: top, width: 2 * unit,
          height: 2 * unit }),
        twice("circle", { class: "truth", cx: x, cy: y, r: sj.data.radius * unit })];
    };
    const bar = ({ colors, label, ticks }) => {
      const left = LEFT + side + 14, stops = colors.filter((_, i) => i % 15 === 0);
      return [
        svg("linearGradient", { id, x1: 0, x2: 0, y1: 1, y2: 0 },
          stops.map((color, i) => svg("stop", { offset: i / (stops.length - 1),
            "stop-color": `rgb(${color})` }))),
        svg("rect", { x: left, y: TOP, width: 12, height: side, fill: `url(#${id})` }),
        ticks.map(([share, words]) => {
          const y = TOP + (1 - share) * side;
          return [svg("path", { class: "tick", d: `M${left + 12} ${y}h4` }),
            text(left + 19, Math.min(Math.max(y + 4, TOP + 9), TOP + side), words)];
        }),
        text(0, 0, label, { "text-anchor": "middle", transform:
          `translate(${LEFT + side + RIGHT - 4} ${TOP + side / 2}) rotate(-90)` })];
    };
    const border = (i) => { // where node i begins to act: w x + b = 0
      const [a, b, c] = [net.w0[0][i], net.w0[1][i], net.b0[i]], far = net.reach;
      const ends = [-far, far].flatMap((edge) => [
        [edge, -(c + a * edge) / b], [-(c + b * edge) / a, edge]])
        .filter((end) => end.every((value) => Math.abs(value) <= far + 1e-9));
      if (ends.length < 2) return null;
      const [from, to] = [ends[0], ends.at(-1)].map(([x1, x2]) => at(x1, x2));
      return twice("path", { class: "border", d: `M${from}L${to}` });
    };
    const each = (points, mark) => points.map((p) => `M${at(net.x[2 * p],
      net.x[2 * p + 1]).map((value) => value.toFixed(1))}${mark}`).join("");
    const show = ({ values, pixels, share, legend, node, marks, say }) => {
      side = Math.max(120, widthOf(stage) - LEFT - RIGHT);
      Object.assign(canvas.style, { left: `${LEFT}px`, top: `${TOP}px`,
        width: `${side}px`, height: `${side}px` });
      const height = side + TOP + BOTTOM;
      Object.entries({ width: side + LEFT + RIGHT, height }).forEach(([key, value]) =>
        drawing.setAttribute(key, value));
      paint(canvas, values, pixels, legend.colors, share);
      canvas.setAttribute("aria-label", say);
      stage.classList.toggle("plain", legend.plain === true);
      drawing.replaceChildren(...[plane(), bar(legend),
        node == null ? [] : border(node),
        marks && marks.all.map((points, y) =>
          twice("path", { class: `dots ${y ? "out" : "in"}`, d: each(points, "h0") })),
        marks && twice("path", { class: "wrong", 
          d: each(marks.wrong, "m-2 -2l4 4m0 -4l-4 4") }),
      ].flat(Infinity).filter(Boolean));
    };
    const point = (event) => { // the place under the pointer, or null
      const box = canvas.getBoundingClientRect();
      const x1 = ((event.clientX - box.left) / box.width * 2 - 1) * net.reach;
      const x2 = (1 - (event.clientY - box.top) / box.height * 2) * net.reach;
      return Math.max(Math.abs(x1), Math.abs(x2)) <= net.reach ? [x1, x2] : null;
    };
    return { stage, canvas, show, point };
  };

  // ---- Charts: each is drawn anew into its host, as wide as that is

  const INSET = { left: 58, right: 20, top: 22, bottom: 44 };
  const frame = (host, height, { x, y, name }) => { // x, y: what is on the axis
    const width = Math.max(240, widthOf(host));
    const right = width - INSET.right, bottom = height - INSET.bottom;
    const [toX, toY] = [[x, INSET.left, right], [y, bottom, INSET.top]].map(
      ([{ from, to, log }, start, end]) => (log ? logScale : scale)(from, to, start,
        end));
    const drawing = svg("svg", { width, height, role: "img", "aria-label": name },
      y.ticks.map((tick) => [
        svg("path", { class: "rule", d: `M${INSET.left} ${toY(tick)}H${right}` }),
        text(INSET.left - 8, toY(tick) + 4, tick, { "text-anchor": "end" })]),
      svg("path", { class: "tick", d: `M${INSET.left} ${bottom}H${right}` }),
      x.ticks.map((tick) => [
        svg("path", { class: "tick", d: `M${toX(tick)} ${bottom}v5` }),
        text(toX(tick), bottom + 19, tick, { "text-anchor": "middle" })]),
      text((INSET.left + right) / 2, height - 6, x.label, { "text-anchor": "middle" }),
      text(0, 0, y.label, { "text-anchor": "middle",
        transform: `translate(12 ${(INSET.top + bottom) / 2}) rotate(-90)` }));
    host.replaceChildren(drawing);
    return { drawing, toX, toY, right, bottom };
  };
  const losses = (from, to, label = "loss") =>
    ({ from, to, ticks: logTicks(from, to), label, log: true });

  const distribution = (host, { all, some, most, loss, shown }) => {
    const [from, to] = [Math.min(net.ends[0], loss), Math.max(net.ends[1], loss)];
    const ticks = whole(4 * most).map((quarters) => quarters / 4);
    const { drawing, toX, toY, bottom, right } = frame(host, 316, { x: losses(from, to),
      y: { from: 0, to: most, ticks, label: "density of log(loss)" },
      name: `Distribution of loss; this network has ${shown}` });
    const xs = Array.from(net.centers, toX);
    const curve = (heights) => line(xs, Array.from(heights, toY)); // may leave the top
    const at = toX(loss), late = at > (INSET.left + right) / 2;
    drawing.append(
      svg("path", { class: "area", d: `${curve(all)}L${xs.at(-1)} ${bottom}L${xs[0]} ` +
        `${bottom}Z` }),
      svg("path", { class: "curve all", d: curve(all) }),
      svg("path", { class: "curve some", d: curve(some) }),
      svg("path", { class: "here", d: `M${at} ${bottom}V10` }),
      svg("circle", { class: "here", cx: at, cy: bottom, r: 4 }),
      text(at + (late ? -7 : 7), 17, shown, { class: "shown",
        "text-anchor": late ? "end" : "start" }));
  };

  const bySize = (host, { series, size, loss, open }) => {
    const every = series.flatMap(({ values }) => values).concat(loss);
    const [from, to] = [Math.min(...every) / 1.15, Math.max(...every) * 1.15];
    const { drawing, toX, toY } = frame(host, 248, { y: losses(from, to),
      x: { from: -0.4, to: net.n + 0.4, ticks: whole(net.n), label: "nodes kept" },
      name: "Loss by number of nodes kept: the best, the top by Shapley, the mean" });
    for (const { name, values } of series) {
      const xs = values.map((_, k) => toX(k)), ys = values.map(toY);
      drawing.append(svg("path", { class: `curve ${name}`, d: line(xs, ys) }));
      if (name !== "mean") {
        drawing.append(...xs.map((x, k) => svg("circle", { class: `spot ${name}`,
          cx: x, cy: ys[k], r: 3.5, onclick: () => open(name, k) })));
      }
    }
    drawing.append(svg("circle", { class: "here", cx: toX(size), cy: toY(loss),
      r: 5 }));
  };

  const path = (host, { losses: values, at, end }) => {
    const [from, to] = [Math.min(net.ends[0] * 1.15, ...values) / 1.08,
      Math.max(...values) * 1.2];
    const most = Math.max(1, values.length - 1);
    const { drawing, toX, toY, bottom } = frame(host, 316, { y: losses(from, to),
      x: { from: 0, to: most, ticks: whole(most), label: "flips" },
      name: `Loss along the walk, ${at} of ${most} flips made` });
    const past = values.slice(0, at + 1), xs = past.map((_, i) => toX(i));
    drawing.append(
      svg("path", { class: "curve best", d: line(xs, past.map(toY)) }),
      ...xs.map((x, i) => svg("circle", { class: "spot best", cx: x, cy: toY(past[i]),
        r: 3 })),
      svg("path", { class: "here faint", d: `M${xs.at(-1)} ${bottom}V${INSET.top}` }),
      svg("circle", { class: "here", cx: xs.at(-1), cy: toY(past.at(-1)), r: 5 }),
      ...(end && at === most ? [text(toX(most) - 8, INSET.top - 6, end,
        { class: "shown", "text-anchor": "end" })] : []));
  };

  return { plain, group, fact, head, panel, key, viridis, magma, signed, paint, map,
    distribution, bySize, path, minus, change, percent, plural,
    measure: () => widths.clear() };
})();
