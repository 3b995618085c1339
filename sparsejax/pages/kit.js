// The kit under every page: one global object `sj`, no network, no dependency. It runs
// right after the header, so that theme and controls are there before anything else.
"use strict";
const sj = (() => {
  const root = document.documentElement;

  // ---- Elements: functions become listeners (`onclick`), null is left out.
  const make = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (typeof value === "function") node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.flat(Infinity).filter((child) => child != null));
    return node;
  };
  const el = (tag, attributes, ...children) =>
    make(document.createElement(tag), attributes, children);
  const space = "http://www.w3.org/2000/svg";
  const svg = (tag, attributes, ...children) =>
    make(document.createElementNS(space, tag), attributes, children);

  // ---- Numbers: `digits` significant ones, a true minus sign, grouped thousands.
  const format = (number, digits = 3) => {
    if (number == null) return "–";
    const size = Math.abs(number);
    let text;
    if (!Number.isFinite(number)) text = String(number);
    else if (size >= 1e15 || (size < 1e-4 && size > 0)) {
      text = number.toExponential(digits - 1);
    } else if (Number.isInteger(number) || size >= 10 ** digits - 0.5) {
      text = (number + 0).toLocaleString("en-US", { maximumFractionDigits: 0 });
    } else text = number.toPrecision(digits);
    return text.replaceAll("-", "−");
  };

  // ---- Errors are shown where the page would have been, never an empty page.
  const fail = (error, message) => {
    if (/ResizeObserver loop/.test(message)) return;
    const text = (error && error.stack) || message;
    const old = document.querySelector(".error pre");
    root.dataset.failed = "";
    if (old) return old.append("\n\n" + text);
    document.querySelector("header").after(
      el("div", { class: "error", role: "alert" },
        el("strong", {}, "A part of this page could not be drawn"),
        el("p", {}, message),
        el("details", {}, el("summary", {}, "Details"), el("pre", {}, text))));
  };
  addEventListener("error", (event) => fail(event.error, event.message));
  addEventListener("unhandledrejection", (event) =>
    fail(event.reason, String(event.reason)));

  // ---- Small state in the address: page.html#level=5&unit=12
  const fields = () => new URLSearchParams(location.hash.slice(1));
  const hash = {
    // A number where the fallback is one; the fallback where nothing usable is given.
    get(name, fallback = null) {
      const text = fields().get(name);
      if (text == null) return fallback;
      if (typeof fallback !== "number") return text;
      return text.trim() && Number.isFinite(+text) ? +text : fallback;
    },
    set(name, value) {
      const state = fields();
      if (value == null) state.delete(name);
      else state.set(name, value);
      try {
        history.replaceState(null, "", "#" + state);
      } catch {} // some browsers refuse after a hundred changes in a row
    },
  };

  // ---- Theme and sign colours: from the address, else remembered, else first.
  const choices = {
    theme: { auto: "Auto", light: "Light", dark: "Dark" },
    signs: {
      "green-red": "Green plus, red minus",
      "blue-orange": "Blue plus, orange minus",
    },
  };
  const listeners = [];
  const remember = (name, value) => {
    try {
      if (value) localStorage.setItem("sparsejax." + name, value);
      return localStorage.getItem("sparsejax." + name);
    } catch { return null; } // storage can be forbidden, as it is for some local files
  };
  const choose = (name, value) => {
    root.dataset[name] = value;
    remember(name, value);
    if (hash.get(name)) hash.set(name, value);
    for (const button of document.querySelectorAll(`[data-choice="${name}"]`)) {
      button.setAttribute("aria-pressed", button.value === value);
    }
    changed();
  };
  let ends = null; // minus, zero and plus as [r, g, b], until a choice changes
  const changed = () => {
    ends = null;
    for (const run of listeners) run();
  };
  for (const [name, options] of Object.entries(choices)) {
    const value = [hash.get(name), remember(name)]
      .find((text) => Object.hasOwn(options, text));
    root.dataset[name] = value || Object.keys(options)[0];
  }
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", changed);
  }
  const group = (name, label, face) =>
    el("div", { class: "group", role: "group", "aria-label": label },
      Object.entries(choices[name]).map(([value, text]) =>
        el("button", {
          type: "button", value, title: text, "data-choice": name, "aria-label": text,
          "aria-pressed": String(root.dataset[name] === value),
          onclick: () => choose(name, value),
        }, face(value, text))));
  document.querySelector(".controls").append(
    group("theme", "Theme", (value, text) => text),
    group("signs", "Sign colours", (value) =>
      el("span", { class: value, "aria-hidden": "true" },
        el("i", {}, "+"), el("i", {}, "−"))));

  // ---- Signed values: minus, zero and plus colours, mixed by magnitude.
  const color = (name) => { // of a variable of the style sheet, as "rgb(r, g, b)"
    const probe = root.appendChild(el("i", { style: `color: var(--${name})` }));
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  };
  const read = () => ends || (ends = ["minus", "zero", "plus"].map((name) =>
    color(name).match(/[\d.]+/g).slice(0, 3).map(Number)));
  const mix = (value) => {
    const [minus, zero, plus] = read();
    const size = Math.min(1, Math.abs(value) || 0);
    const end = value < 0 ? minus : plus;
    return zero.map((from, i) => Math.round(from + (end[i] - from) * size));
  };
  const sign = { color: (value) => `rgb(${mix(value).join(", ")})` };

  // ---- Signed pictures: a grey PNG (128 is zero) put on a canvas in those colours.
  const pictures = new Map(); // address -> promise of { width, height, grey }
  const wanted = new WeakMap(); // canvas -> the last address asked for
  const shown = new WeakMap(); // canvas -> the picture on it
  const canvases = new Set(); // weak references to all of these, to repaint them
  const decode = async (uri) => {
    const image = new Image();
    image.src = uri;
    await image.decode().catch(() => {
      throw new Error(`not a picture: ${uri.slice(0, 40)}`);
    });
    const { naturalWidth: width, naturalHeight: height } = image;
    const context = el("canvas", { width, height })
      .getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    return { width, height, grey: data.filter((_, i) => i % 4 === 0) };
  };
  const draw = (canvas) => {
    const { width, height, grey } = shown.get(canvas);
    const colors = [...Array(256).keys()].map((i) => [...mix((i - 128) / 127), 255]);
    const pixels = new ImageData(width, height);
    for (let i = 0; i < grey.length; i++) pixels.data.set(colors[grey[i]], 4 * i);
    Object.assign(canvas, { width, height });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  };
  const paint = async (canvas, uri) => {
    if (!wanted.has(canvas)) canvases.add(new WeakRef(canvas));
    wanted.set(canvas, uri);
    canvas.classList.add("signed");
    if (!canvas.hasAttribute("role")) canvas.setAttribute("role", "img");
    if (!pictures.has(uri)) pictures.set(uri, decode(uri));
    const picture = await pictures.get(uri);
    if (wanted.get(canvas) === uri) { // else a later call has overtaken this one
      shown.set(canvas, picture);
      draw(canvas);
    }
    return picture;
  };
  listeners.push(() => {
    for (const reference of canvases) {
      const canvas = reference.deref();
      if (!canvas) canvases.delete(reference);
      else if (shown.has(canvas)) draw(canvas);
    }
  });
  const legend = (low, high = "") =>
    el("div", { class: "legend" }, el("span", {}, low), el("i"), el("span", {}, high));

  // ---- A slider over 0 .. count - 1. Set `value` to start: that calls `onchange`.
  let sliders = 0;
  const slider = (label, count, text, onchange) => {
    if (!(count >= 1)) throw new RangeError(`slider "${label}" has no steps`);
    const id = `slider-${++sliders}`;
    const show = () => {
      output.textContent = text(+input.value);
      input.setAttribute("aria-valuetext", output.textContent);
    };
    const move = () => { show(); onchange(+input.value); };
    const input = el("input", { id, type: "range", min: 0, max: count - 1, step: 1,
      value: 0, disabled: count === 1, oninput: move });
    const output = el("output", { for: id });
    const box = el("div", { class: "slider" },
      el("label", { for: id }, label), output, input);
    show();
    return Object.defineProperty(box, "value", {
      get: () => +input.value,
      set: (value) => { input.value = value; move(); },
    });
  };

  const fill = (id, ...children) => {
    const place = document.getElementById(id);
    if (!place) throw new Error(`the page has no element "${id}"`);
    place.replaceChildren();
    return make(place, null, children);
  };

  let data; // parsed when first asked for
  return {
    get data() {
      if (data === undefined) {
        const holder = document.getElementById("data");
        data = holder && JSON.parse(holder.textContent);
      }
      return data;
    },
    el, svg, fill, format, hash, slider, color, sign, paint, legend,
    onchange: (run) => void listeners.push(run),
  };
})();
