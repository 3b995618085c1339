// Where the boxes of a view go: layers from inputs at the top to outputs at the bottom,
// few crossings, wide layers wrapped into rows so that all of it fits the window.
const layout = (() => {
  const GUTTER = 22; // between two boxes of a row: lines of the rows above run there
  const ROW = 22; // between two rows of a layer
  const LAYERS = { least: 60, most: 168 }; // between two layers
  const DUMMY = 14; // room for a line that crosses a layer
  const LARGEST = 1.5; // no drawing is enlarged more

  // ---- Layers

  const depths = ({ boxes, outputs }) => {
    const depth = new Array(boxes.length).fill(0);
    boxes.forEach((box, i) => {
      for (const arg of box.args) depth[i] = Math.max(depth[i], depth[arg] + 1);
    });
    const least = new Array(boxes.length).fill(Infinity); // of a box's readers
    boxes.forEach((box, i) => {
      for (const arg of box.args) least[arg] = Math.min(least[arg], depth[i]);
    });
    const last = Math.max(0, ...depth);
    for (const output of outputs) if (least[output] === Infinity) depth[output] = last;
    boxes.forEach((box, i) => { // constants stand beside what they are used with
      if (box.op === "const" && least[i] < Infinity) depth[i] = least[i] - 1;
    });
    return depth;
  };

  // Items of every layer, { box } or a dummy { box: -1 }, and a chain of items an edge.
  const chains = (shown, list, depth) => {
    const items = shown.boxes.map((_, box) =>
      ({ box, layer: depth[box], up: [], down: [] }));
    const layers = Array.from({ length: Math.max(0, ...depth) + 1 }, () => []);
    for (const item of items) layers[item.layer].push(item);
    const join = (a, b) => { a.down.push(b); b.up.push(a); };
    const paths = list.map(({ from, to }) => {
      const path = [items[from]];
      for (let layer = depth[from] + 1; layer < depth[to]; layer++) {
        const dummy = { box: -1, layer, up: [], down: [] };
        layers[layer].push(dummy);
        join(path.at(-1), dummy);
        path.push(dummy);
      }
      join(path.at(-1), items[to]);
      return [...path, items[to]];
    });
    return { layers, paths };
  };

  // ---- Order: sweeps that move every item to the middle of its neighbours

  const number = (layer) => layer.forEach((item, i) => {
    item.order = i;
    item.part = (i + 0.5) / layer.length; // layers differ in length
  });

  const crossings = (layers) => { // by a Fenwick tree over the positions below
    let count = 0;
    for (const layer of layers.slice(0, -1)) {
      const ends = layer.flatMap((item) =>
        item.down.map((other) => other.order).sort((a, b) => a - b));
      const tree = new Int32Array(Math.max(0, ...ends) + 2);
      ends.forEach((end, before) => {
        let left = 0;
        for (let k = end + 1; k > 0; k -= k & -k) left += tree[k];
        count += before - left;
        for (let k = end + 1; k < tree.length; k += k & -k) tree[k]++;
      });
    }
    return count;
  };

  const sweep = (layers, side) => {
    for (const layer of layers) {
      for (const item of layer) {
        const near = item[side];
        item.want = near.length
          ? near.reduce((total, other) => total + other.part, 0) / near.length
          : item.part;
      }
      layer.sort((a, b) => a.want - b.want || a.order - b.order);
      number(layer);
    }
  };

  const pairs = (a, b, side) => { // crossings of two neighbours' edges, as they stand
    let count = 0;
    for (const p of a[side]) for (const q of b[side]) count += p.order > q.order;
    return count;
  };

  const transpose = (layers) => {
    for (const layer of layers) {
      for (let i = 0; i + 1 < layer.length; i++) {
        const [a, b] = [layer[i], layer[i + 1]];
        const gain = pairs(a, b, "up") + pairs(a, b, "down") -
          pairs(b, a, "up") - pairs(b, a, "down");
        if (gain <= 0) continue;
        [layer[i], layer[i + 1]] = [b, a];
        number(layer);
      }
    }
  };

  const arrange = (layers) => {
    layers.forEach(number);
    const count = layers.reduce((total, layer) => total + layer.length, 0);
    const rounds = count > 8000 ? 1 : count > 1500 ? 4 : 12;
    let best = { crossings: Infinity };
    for (let round = 0; round < rounds; round++) {
      sweep(layers, "up");
      sweep([...layers].reverse(), "down");
      if (count < 600) transpose(layers);
      const now = crossings(layers);
      if (now < best.crossings) {
        best = { crossings: now, layers: layers.map((l) => [...l]) };
      }
      if (!now) break;
    }
    best.layers.forEach(number);
    return best;
  };

  // ---- Rows and columns of a layer

  const shape = (layer, sizes) => {
    const real = layer.filter((item) => item.box >= 0);
    return {
      count: real.length,
      width: Math.max(0, ...real.map((item) => sizes[item.box].width)),
      height: Math.max(0, ...real.map((item) => sizes[item.box].height)),
      dummies: layer.length - real.length,
    };
  };

  const rows = ({ count, width, dummies }, room) => {
    const free = room - dummies * 2 + GUTTER;
    const columns = Math.max(1, Math.floor(free / (width + GUTTER)));
    return Math.max(1, Math.ceil(count / columns));
  };

  const tall = ({ height }, k) => k * height + (k - 1) * ROW;

  const wide = ({ count, width, dummies }, k) =>
    Math.ceil(count / k) * (width + GUTTER) - GUTTER + dummies * (k > 1 ? 2 : DUMMY);

  // The width at which the whole drawing is largest in its frame.
  const fit = (shapes, frame) => {
    const most = Math.max(120, ...shapes.map((s) => wide(s, 1)));
    let best = { scale: -1e9 }; // of a frame still to be opened it may be negative
    for (let room = most; room >= 120; room *= 0.97) {
      const k = shapes.map((s) => rows(s, room));
      const width = Math.max(...shapes.map((s, i) => wide(s, k[i])));
      const height = shapes.reduce((total, s, i) => total + tall(s, k[i]), 0) +
        (shapes.length - 1) * LAYERS.least;
      const scale = Math.min(frame.width / width, frame.height / height, LARGEST);
      if (scale > best.scale * 1.04) best = { scale, rows: k, width, height };
    }
    return best;
  };

  // Positions nearest to the wanted ones that keep the order and these distances: blocks
  // that would overlap merge at their mean.
  const settle = (wanted, offsets, low, high) => {
    const blocks = [];
    wanted.forEach((want, i) => {
      let block = { sum: want - offsets[i], count: 1 };
      while (blocks.length &&
          blocks.at(-1).sum / blocks.at(-1).count > block.sum / block.count) {
        const last = blocks.pop();
        block = { sum: last.sum + block.sum, count: last.count + block.count };
      }
      blocks.push(block);
    });
    const most = Math.max(low, high - offsets.at(-1));
    const inside = (at) => Math.min(Math.max(at, low), most);
    const means = blocks.flatMap(({ sum, count }) => Array(count).fill(sum / count));
    return means.map((mean, i) => inside(mean) + offsets[i]);
  };

  const steps = (layer, sizes) => { // distance of every item from the first
    const half = (item) => (item.box < 0 ? DUMMY : sizes[item.box].width + GUTTER) / 2;
    let at = 0;
    return layer.map((item, i) => (at += i ? half(layer[i - 1]) + half(item) : 0));
  };

  const grid = (layer, k, { count, width }, total) => {
    const columns = Math.ceil(count / k);
    const free = total - columns * width;
    const pitch = width + Math.min(free / Math.max(1, columns), 2.2 * GUTTER);
    const left = (total - (columns * pitch)) / 2 + pitch / 2;
    let i = 0;
    for (const item of layer) {
      if (item.box < 0) item.x = left + (Math.floor(i / k) - 0.5) * pitch;
      else {
        item.row = i % k;
        item.lowest = item.row === k - 1 || i === count - 1; // nothing is below it
        item.x = left + Math.floor(i / k) * pitch;
        item.pitch = pitch;
        i++;
      }
    }
  };

  const straighten = (layers, rowsOf, sizes, width) => {
    const single = layers.filter((_, i) => rowsOf[i] === 1);
    const pull = (layer, sides) => {
      const wanted = layer.map((item) => {
        const near = sides.flatMap((side) => item[side]);
        return near.length ? near.reduce((t, o) => t + o.x, 0) / near.length : item.x;
      });
      const offsets = steps(layer, sizes);
      const edge = (item) => (item.box < 0 ? DUMMY : sizes[item.box].width) / 2;
      settle(wanted, offsets, edge(layer[0]), width - edge(layer.at(-1)))
        .forEach((x, i) => { layer[i].x = x; });
    };
    for (const layer of single) {
      const offsets = steps(layer, sizes);
      const start = (width - offsets.at(-1)) / 2;
      layer.forEach((item, i) => {
        Object.assign(item, { x: start + offsets[i], row: 0, lowest: true });
      });
    }
    for (let round = 0; round < 6; round++) {
      for (const layer of single) pull(layer, ["up"]);
      for (const layer of [...single].reverse()) pull(layer, ["down"]);
    }
    for (const layer of single) pull(layer, ["up", "down"]);
  };

  // ---- Lines

  const bend = (x1, y1, x2, y2) => {
    const middle = (y1 + y2) / 2;
    return `C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`;
  };

  // A box with others below it is left through the gutter beside it.
  const gutter = (item, box, k) =>
    item.x + box.width / 2 + ((item.pitch - box.width) * (item.row + 1)) / (k + 1);

  const route = (path, places, bands) => {
    const first = path[0], last = path.at(-1);
    const from = places[first.box], to = places[last.box];
    const band = bands[first.layer], end = bands[last.layer];
    let [x, y] = [first.x, from.y + from.height / 2];
    let text = `M${x} ${y}`;
    const go = (nx, ny) => { text += bend(x, y, nx, ny); [x, y] = [nx, ny]; };
    const drop = (ny) => { text += `V${ny}`; y = ny; };
    if (!first.lowest) go(gutter(first, from, band.rows), y + ROW);
    drop(band.bottom);
    for (const dummy of path.slice(1, -1)) {
      go(dummy.x, bands[dummy.layer].top);
      drop(bands[dummy.layer].bottom);
    }
    const top = to.y - to.height / 2;
    if (last.row > 0) {
      go(gutter({ ...last, row: last.row - 1 }, to, end.rows), end.top);
      drop(top - ROW);
    }
    go(last.x, top);
    return text;
  };

  const rounded = (path) => path.replace(/-?\d+\.\d{2,}/g, (n) => Number(n).toFixed(1));

  // Centres and sizes of the boxes, and the lines of the edges in `list`.
  const place = (shown, list, sizes, frame) => {
    const depth = depths(shown);
    const { layers: unordered, paths } = chains(shown, list, depth);
    const { layers, crossings: count } = arrange(unordered);
    const shapes = layers.map((layer) => shape(layer, sizes));
    const best = fit(shapes, frame);
    const wall = frame.width / best.scale;
    const width = Math.max(best.width, Math.min(wall, best.width * 1.6));
    const spare = frame.height / best.scale - best.height;
    const gap = Math.min(LAYERS.most,
      LAYERS.least + Math.max(0, spare) / Math.max(1, layers.length - 1));
    layers.forEach((layer, i) => {
      if (best.rows[i] > 1) grid(layer, best.rows[i], shapes[i], width);
    });
    straighten(layers, best.rows, sizes, width);
    let y = 0;
    const bands = shapes.map((s, i) => {
      const band = { top: y, bottom: y + tall(s, best.rows[i]), rows: best.rows[i] };
      y = band.bottom + gap;
      return band;
    });
    const places = [];
    layers.forEach((layer, l) => {
      for (const item of layer) {
        if (item.box < 0) continue;
        const { height } = shapes[l];
        places[item.box] = { ...sizes[item.box], x: item.x,
          y: bands[l].top + item.row * (height + ROW) + height / 2 };
      }
    });
    const ends = places.map((at, i) => [at.x - at.width / 2, at.x + at.width / 2 +
      (best.rows[depth[i]] > 1 ? GUTTER : 0)]);
    const left = ends.reduce((least, [a]) => Math.min(least, a), Infinity);
    const right = ends.reduce((most, [, b]) => Math.max(most, b), -Infinity);
    return { places, crossings: count, left, width: right - left, height: y - gap,
      scale: best.scale,
      lines: paths.map((path) => rounded(route(path, places, bands))) };
  };

  return { place };
})();
