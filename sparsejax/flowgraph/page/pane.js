// One drawing: it shows scenes, with zoom, pan, tracing and keys, and tells the page what
// was opened.
const pane = (() => {
  const MANY_LINES = 4000; // more are drawn on one canvas under the boxes
  const MANY_BOXES = 5000; // more are not drawn at all
  const LEGIBLE = 0.92; // drawings smaller than that get a taller window
  const HEIGHTS = [1, 1.3, 1.7, 2.4]; // that windows have
  const FAR = 0.45; // text is left out when zoomed out further,
  const MIDDLE = 0.67; // and from here on all but the values

  const make = (host, actions) => {
    const edges = sj.svg("g", {}), nodes = sj.svg("g", {});
    const world = sj.svg("g", {}, edges, nodes);
    const svg = sj.svg("svg", { class: "graph", tabindex: 0, role: "group",
      "aria-label": "Flow graph: arrow keys move, Enter opens a box" }, world);
    const canvas = sj.el("canvas", { class: "lines", "aria-hidden": "true" });
    const message = sj.el("p", { class: "message", hidden: true });
    host.append(canvas, svg, message);
    let scene = null, list = [], camera = { k: 1, x: 0, y: 0 }, touched = false;
    let elements = [], paths = [], focus = null, cache = { name: "" };

    // -- Camera
    const EDGE = 32; // of the drawing, left and right together
    const under = () => actions.top() + 16; // above and below
    const room = () =>
      ({ width: svg.clientWidth || 800, height: svg.clientHeight || 500 });
    const look = () => {
      const { k, x, y } = camera;
      const at = `${x.toFixed(2)} ${y.toFixed(2)}`;
      world.setAttribute("transform", `translate(${at}) scale(${k})`);
      host.classList.toggle("far", k < FAR);
      host.classList.toggle("middle", k < MIDDLE && k >= FAR);
      if (scene && scene.list.length > MANY_LINES) requestAnimationFrame(paintLines);
    };
    const fit = () => {
      touched = false;
      if (!scene || !scene.placed) return;
      const { width: all, height } = room(), { placed } = scene;
      const covered = actions.covered(); // too small beside it: rather under it
      const width = all - (covered < 0.45 * all ? covered : 0);
      const free = { width: width - EDGE, height: height - under() };
      const k = Math.min(free.width / placed.width, free.height / placed.height, 1.5);
      camera = { k, x: (width - placed.width * k) / 2 - placed.left * k,
        y: actions.top() + (free.height - placed.height * k) / 2 };
      look();
    };
    const zoom = (factor, at) => {
      const { width, height } = room();
      const [px, py] = at || [width / 2, height / 2];
      const k = Math.min(8, Math.max(0.02, camera.k * factor)), ratio = k / camera.k;
      camera = { k, x: px - (px - camera.x) * ratio, y: py - (py - camera.y) * ratio };
      touched = true;
      look();
    };
    const shift = (dx, dy) => {
      camera = { ...camera, x: camera.x + dx, y: camera.y + dy };
      look();
    };
    const pan = (dx, dy) => { touched = true; shift(dx, dy); };
    const reveal = (i) => { // bring a box into the window
      const { x, y } = scene.placed.places[i], { width, height } = room();
      const [sx, sy] = [x * camera.k + camera.x, y * camera.k + camera.y];
      const right = width - actions.covered();
      if (sx < 40 || sx > right - 40) shift(right / 2 - sx, 0);
      if (sy < 40 || sy > height - 40) shift(0, height / 2 - sy);
    };

    // -- Many lines, on a canvas
    const paintLines = () => {
      const { width, height } = room(), ratio = devicePixelRatio || 1;
      Object.assign(canvas, { width: width * ratio, height: height * ratio });
      const context = canvas.getContext("2d");
      const ink = { plus: sj.color("plus"), minus: sj.color("minus"),
        zero: sj.color("line") };
      context.setTransform(ratio * camera.k, 0, 0, ratio * camera.k, ratio * camera.x,
        ratio * camera.y);
      list.forEach((stroke, i) => {
        context.strokeStyle = ink[stroke.sign];
        context.globalAlpha = stroke.opacity * 0.6;
        context.lineWidth = stroke.width;
        context.stroke(new Path2D(scene.placed.lines[i]));
      });
    };

    // -- Tracing: all that leads to a box and all that it leads to
    let traced = null; // key of the box
    const trace = (i) => {
      traced = scene.shown.boxes[i].key;
      svg.classList.add("tracing");
      const [up, down] = [true, false].map((side) => views.reach(scene.list, i, side));
      elements.forEach((box, j) => box.classList.toggle("lit", up.has(j) || down.has(j)));
      for (const path of paths) {
        const { from, to } = scene.list[path.dataset.edge];
        path.classList.toggle("lit", (up.has(from) && up.has(to)) ||
          (down.has(from) && down.has(to)));
      }
    };
    const untrace = () => {
      traced = null;
      svg.classList.remove("tracing");
    };
    const mark = () => { // what the search has found stands out while nothing is traced
      svg.classList.toggle("searching", scene.found != null);
      const found = new Set(scene.found || []);
      elements.forEach((box, i) => box.classList.toggle("found", found.has(i)));
    };

    // -- Keys: to the nearest box in a direction
    const step = (dx, dy) => {
      const { places } = scene.placed;
      const here = places[focus];
      const far = (place) => {
        const along = (place.x - here.x) * dx + (place.y - here.y) * dy;
        const aside = Math.abs((place.x - here.x) * dy) +
          Math.abs((place.y - here.y) * dx);
        return along > 1 ? along + 3 * aside : Infinity;
      };
      const best = places.map(far).reduce((b, d, i, all) => (d < all[b] ? i : b), 0);
      if (far(places[best]) < Infinity) enter(best);
    };
    const enter = (i) => {
      focus = i;
      elements.forEach((box, j) => box.setAttribute("tabindex", j === i ? 0 : -1));
      elements[i].focus({ preventScroll: true });
      reveal(i);
    };
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
      ArrowDown: [0, 1] };
    svg.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const inside = event.target !== svg, arrow = arrows[event.key];
      if (arrow && inside) step(...arrow);
      else if (arrow) pan(-40 * arrow[0], -40 * arrow[1]);
      else if (["Enter", " "].includes(event.key) && inside) actions.open(boxAt(event));
      else if (event.key === "Enter" && elements.length) enter(elements.length - 1);
      else return;
      event.preventDefault();
    });

    // -- Pointer
    const boxAt = (event) => {
      const element = event.target.closest && event.target.closest(".box");
      return element ? Number(element.dataset.box) : null;
    };
    let drag = null;
    svg.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      drag = { x: event.clientX, y: event.clientY, box: boxAt(event), moved: false };
    });
    svg.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (!drag.moved && Math.hypot(dx, dy) < 4) return;
      if (!drag.moved) svg.setPointerCapture(event.pointerId);
      pan(dx, dy);
      drag = { ...drag, x: event.clientX, y: event.clientY, moved: true };
    });
    svg.addEventListener("pointerup", () => {
      if (drag && !drag.moved) actions.open(drag.box);
      drag = null;
    });
    svg.addEventListener("pointercancel", () => { drag = null; });
    svg.addEventListener("wheel", (event) => { // without Ctrl the page scrolls
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const { left, top } = svg.getBoundingClientRect();
      zoom(1.0015 ** -event.deltaY, [event.clientX - left, event.clientY - top]);
    }, { passive: false });
    svg.addEventListener("pointerover", (event) => {
      if (boxAt(event) != null && !drag) trace(boxAt(event));
    });
    svg.addEventListener("pointerout", (event) => boxAt(event) != null && untrace());
    svg.addEventListener("focusin", (event) => {
      if (boxAt(event) == null || !event.target.matches(":focus-visible")) return;
      focus = boxAt(event);
      trace(focus);
    });
    svg.addEventListener("focusout", (event) => boxAt(event) != null && untrace());
    new ResizeObserver(() => {
      if (!scene || touched) return;
      fit();
    }).observe(svg);

    // -- Drawing
    const refuse = () => {
      message.hidden = false;
      message.textContent = `${sj.format(scene.shown.boxes.length)} boxes are too many ` +
        "to draw. Choose one output, show the first layer as pictures, take a coarser " +
        "level, or hide weak edges.";
      edges.replaceChildren();
      nodes.replaceChildren();
      canvas.hidden = true;
      [elements, paths] = [[], []];
    };
    // The first height of the window at which text can be read; where none is enough,
    // there is zoom.
    const placeIn = (width, height) => {
      const sizes = boxes.sizes(scene), tries = [];
      for (const part of HEIGHTS) {
        const placed = layout.place(scene.shown, scene.list, sizes,
          { width: width - EDGE, height: height * part - under() });
        tries.push({ ...placed, part });
        if (placed.scale >= LEGIBLE) return tries.at(-1);
      }
      return tries.at(-1).scale > 0.6 * LEGIBLE ? tries.at(-1) : tries[1];
    };
    // The same boxes and lines stay where they are, whatever the values do.
    const placeAll = () => {
      const { shown } = scene, { width, height } = actions.room();
      const name = JSON.stringify([width, height, scene.level, shown.boxes.map((box) =>
        [box.key, box.picture, box.args])]);
      if (name !== cache.name) {
        if (cache.name) touched = false;
        cache = { name, placed: placeIn(width, height) };
      }
      scene.placed = cache.placed;
    };
    const prepare = (next) => { // and say how tall the window should be
      scene = next;
      if (scene.shown.boxes.length > MANY_BOXES) return 1;
      placeAll();
      return scene.placed.part;
    };
    const draw = () => {
      const key = elements[focus] && document.activeElement === elements[focus]
        ? elements[focus].dataset.key : null;
      if (scene.shown.boxes.length > MANY_BOXES) return refuse();
      message.hidden = true;
      list = boxes.strokes(scene);
      const many = list.length > MANY_LINES;
      canvas.hidden = !many;
      paths = many ? [] : boxes.lay(scene, list);
      elements = boxes.drawAll(scene);
      edges.replaceChildren(...paths);
      nodes.replaceChildren(...elements);
      const still = scene.shown.boxes.findIndex((box) => box.key === traced);
      mark();
      if (still < 0) untrace(); else trace(still);
      if (touched) look(); else fit();
      focus = scene.shown.boxes.findIndex((box) => box.key === (key || scene.selected));
      if (focus < 0) focus = elements.length - 1;
      elements[focus].setAttribute("tabindex", 0);
      if (key != null) elements[focus].focus({ preventScroll: true });
    };

    // Parts of a caption in lines no wider than the drawing.
    const lines = (parts, width) => parts.reduce((made, part) => {
      const longer = made.length && `${made.at(-1)} · ${part}`;
      const fits = longer && boxes.textWidth(longer, boxes.SMALL) <= width;
      return fits ? [...made.slice(0, -1), longer] : [...made, part];
    }, []);
    // The drawing as a file of its own, with today's colours, all lines and a caption.
    const file = (caption = []) => {
      if (!scene.placed) placeAll(); // too much for the window, perhaps not for a file
      const shapes = elements.length ? elements.map((box) => box.cloneNode(true))
        : boxes.drawAll(scene);
      const { left, width, height } = scene.placed;
      const text = lines(caption, Math.max(width, 480));
      const wide = 48 + Math.max(width, ...text.map((line) =>
        boxes.textWidth(line, boxes.SMALL)));
      const tall = height + 48 + 18 * text.length, x = left + (width - wide) / 2;
      const copy = sj.svg("svg", { class: "graph", width: wide, height: tall,
        viewBox: `${x} -24 ${wide} ${tall}` },
      sj.svg("style", {}, actions.rules()),
      sj.svg("rect", { x, y: -24, width: wide, height: tall, fill: sj.color("surface") }),
      boxes.lay(scene, boxes.strokes(scene)), shapes,
      text.map((line, i) => sj.svg("text", { class: "key", x: x + 24,
        y: height + 30 + 18 * i }, line)));
      return new XMLSerializer().serializeToString(copy);
    };

    return { prepare, draw, reveal, fit, zoom, file, get scene() { return scene; } };
  };

  return { make, MANY_BOXES };
})();
