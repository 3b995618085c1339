// Which part of a graph is looked at, and how: pure functions, no DOM.
//
// The graph's own nodes ("dot" level) are all that is ever evaluated. A view is a list
// of boxes on top of them, at some level and for some outputs; a box knows the node
// whose value it has (`node`), the one whose weights it applies (`owner`), or the one
// weight that it stands for (`term`). So an edit means the same at every level.
const views = (() => {
  const live = (graph, outputs) => {
    const keep = new Uint8Array(graph.ops.length);
    for (const output of outputs) keep[output] = 1;
    for (let i = keep.length - 1; i >= 0; i--) {
      if (!keep[i]) continue;
      for (let e = graph.starts[i]; e < graph.starts[i + 1]; e++) keep[graph.args[e]] = 1;
    }
    return keep;
  };

  const pictured = (graph, i) => { // a sum of pixels alone, which a picture shows
    const [from, to] = [graph.starts[i], graph.starts[i + 1]];
    return graph.image != null && graph.ops[i] === "affine" && to > from &&
      graph.args.slice(from, to).every((arg) => graph.ops[arg] === "input");
  };

  // The affine nodes that only one function of one operand reads: parts of a neuron.
  const absorbed = (graph, keep, outputs) => {
    const readers = graph.ops.map(() => []);
    for (let i = 0; i < keep.length; i++) {
      if (!keep[i]) continue;
      for (let e = graph.starts[i]; e < graph.starts[i + 1]; e++) {
        readers[graph.args[e]].push(i);
      }
    }
    const visible = new Set(outputs), found = new Map(); // reader -> affine
    readers.forEach((list, i) => {
      if (graph.ops[i] !== "affine" || visible.has(i) || list.length !== 1) return;
      const reader = list[0];
      const { ops } = graph;
      if (ops[reader] !== "affine" && engine.weighs(graph, reader)) found.set(reader, i);
    });
    return found;
  };

  // The boxes of some outputs (positions in `outputs`) at a level, operands first.
  const view = (graph, chosen, level, pictures) => {
    const ends = chosen.map((at) => graph.outputs[at]);
    const keep = live(graph, ends);
    const parts = level === "neuron" ? absorbed(graph, keep, ends) : new Map();
    const hidden = new Set(parts.values());
    const boxes = [], box = new Map(); // node -> position of the box with its value
    const add = (made) => boxes.push({ node: -1, owner: -1, term: -1, args: [], edges: [],
      output: null, picture: false, ...made }) - 1;
    const plain = (i) => {
      const owner = parts.has(i) ? parts.get(i) : i;
      const picture = pictures && pictured(graph, owner);
      const made = { key: graph.keys[i], op: graph.ops[i], node: i, owner, picture };
      for (let e = graph.starts[owner]; e < graph.starts[owner + 1] && !picture; e++) {
        (made.args ||= []).push(box.get(graph.args[e]));
        (made.edges ||= []).push(e);
      }
      return add(made);
    };
    const term = (i, e) => {
      const key = `${graph.keys[i]}*${graph.keys[graph.args[e]]}`;
      return add({ key, op: "affine", owner: i, term: e, args: [box.get(graph.args[e])],
        edges: [e] });
    };
    // A box for every product, for their sum and for the bias, as in `levels.py`.
    const apart = (i) => {
      const [from, to] = [graph.starts[i], graph.starts[i + 1]];
      const key = graph.keys[i], bias = graph.consts[i];
      const terms = [];
      for (let e = from; e < to; e++) {
        terms.push(graph.coefs[e] === 1 ? box.get(graph.args[e]) : term(i, e));
      }
      let last = terms[0];
      if (terms.length > 1) {
        last = add({ key, op: "affine", node: bias ? -1 : i, owner: i, args: terms,
          edges: terms.map(() => -1) });
      }
      if (bias) {
        last = add({ key: terms.length > 1 ? `${key}+bias` : key, op: "affine", node: i,
          owner: i, args: [last], edges: [-1] });
      }
      return last;
    };
    const whole = (i) => level !== "scalar" || graph.level === level ||
      graph.ops[i] !== "affine" ||
      graph.starts[i] === graph.starts[i + 1] || (pictures && pictured(graph, i));
    for (let i = 0; i < keep.length; i++) {
      if (!keep[i] || hidden.has(i)) continue;
      box.set(i, whole(i) ? plain(i) : apart(i));
    }
    const outputs = ends.map((end, i) => {
      const name = graph.outputNames[chosen[i]];
      if (level !== "scalar" || graph.level === "scalar") {
        boxes[box.get(end)].output = name;
        return box.get(end);
      }
      return add({ key: name, op: "output", node: end, owner: end, args: [box.get(end)],
        edges: [-1], output: name });
    });
    return pictures ? tidy({ boxes, outputs }) : { boxes, outputs };
  };

  // Without the boxes that nothing reads any more: inputs shown in pictures alone.
  const tidy = ({ boxes, outputs }) => {
    const read = new Set(outputs);
    for (const made of boxes) for (const arg of made.args) read.add(arg);
    const kept = boxes.map((_, i) => i).filter((i) => read.has(i));
    return select({ boxes, outputs }, kept, () => true);
  };

  // Some of the boxes, and of the edges between them.
  const select = ({ boxes, outputs }, kept, shown) => {
    const to = new Map(kept.map((old, i) => [old, i]));
    const part = (i) => {
      const { args, edges } = boxes[i];
      const slots = args.map((_, s) => s).filter((s) => to.has(args[s]) && shown(i, s));
      return { ...boxes[i], args: slots.map((s) => to.get(args[s])),
        edges: slots.map((s) => edges[s]) };
    };
    return { boxes: kept.map(part), outputs: outputs.map((old) => to.get(old)) };
  };

  const links = ({ boxes }) =>
    boxes.flatMap((box, to) => box.args.map((from, slot) =>
      ({ from, to, slot, edge: box.edges[slot] })));

  // ---- Numbers of a view

  const valueOf = (graph, box, values, made) => {
    if (box.term >= 0) return made.coefs[box.term] * values[graph.args[box.term]];
    if (box.node >= 0) return values[box.node];
    return engine.sum(graph, box.owner, values, made.coefs, made.consts) -
      made.consts[box.owner];
  };

  // { value, coef, contribution, relevance } of every edge; `numbers` are the boxes'
  // values, `shares` what `relevance.explain` found, if that is what lines show.
  const measure = (shown, numbers, made, shares) =>
    links(shown).map((link) => {
      const coef = link.edge < 0 ? 1 : made.coefs[link.edge];
      const value = numbers[link.from];
      const found = shares && (link.edge >= 0 ? shares.edges[link.edge]
        : relevance.times(shares.multipliers[shown.boxes[link.to].owner], value));
      const contribution = coef * value;
      return { ...link, coef, value, contribution, relevance: found,
        amount: shares ? found : contribution };
    });
  const multiplier = (box, shares) => // Q; R is the box's value times that
    shares.multipliers[box.node >= 0 ? box.node : box.owner];

  // ---- Thresholds

  const size = (link) => Math.abs(link.amount) || 0;

  const strongest = (list, count) => { // into every box
    const most = new Float64Array(count);
    for (const link of list) most[link.to] = Math.max(most[link.to], size(link));
    return most;
  };

  // The share of the outputs that flows through every box: w A + w A^2 + ... with the
  // rows of A, |contributions| into a box, made to sum to 1; one pass, in a DAG.
  const influence = (shown, list) => {
    const total = new Float64Array(shown.boxes.length);
    for (const link of list) total[link.to] += size(link);
    const share = new Float64Array(shown.boxes.length);
    for (const output of shown.outputs) share[output] += 1 / shown.outputs.length;
    for (let i = list.length - 1; i >= 0; i--) { // the last readers come last
      const link = list[i];
      if (!total[link.to]) continue;
      share[link.from] += (share[link.to] * size(link)) / total[link.to];
    }
    return share;
  };

  const fewest = (shown, list, percent) => { // boxes with that much of all influence
    const share = influence(shown, list);
    for (const output of shown.outputs) share[output] = 0;
    const order = [...share.keys()].sort((a, b) => share[b] - share[a]);
    const goal = (share.reduce((a, b) => a + b, 0) * percent) / 100;
    const kept = new Set(shown.outputs);
    let sum = 0;
    for (const i of order) {
      if (sum >= goal * (1 - 1e-12) || !share[i]) break;
      sum += share[i];
      kept.add(i);
    }
    return kept;
  };

  const rules = {
    none: () => () => true,
    abs: (shown, list, amount) => (link) => size(link) >= amount,
    rel: (shown, list, amount) => {
      const most = strongest(list, shown.boxes.length);
      return (link) => size(link) >= (amount / 100) * most[link.to] && size(link) > 0;
    },
    top: (shown, list, amount) => {
      const kept = fewest(shown, list, amount);
      return (link) => kept.has(link.from) && kept.has(link.to);
    },
  };

  // What is left of a view without its weak edges, and all that only these lead to.
  const hide = (shown, list, rule, amount) => {
    if (rule === "none") return shown;
    const strong = rules[rule](shown, list, amount);
    const stays = new Set(list.filter(strong).map((link) => `${link.to} ${link.slot}`));
    const kept = new Set(shown.outputs);
    for (let i = shown.boxes.length - 1; i >= 0; i--) {
      if (!kept.has(i)) continue;
      shown.boxes[i].args.forEach((arg, slot) => {
        if (stays.has(`${i} ${slot}`)) kept.add(arg);
      });
    }
    const order = [...kept].sort((a, b) => a - b);
    return select(shown, order, (i, slot) => stays.has(`${i} ${slot}`));
  };

  // Pinned boxes, what they read and what reads them, and the outputs.
  const around = (shown, pins) => {
    const pinned = new Set(shown.boxes.flatMap((box, i) => pins.has(box.key) ? [i] : []));
    const touches = (link) => pinned.has(link.from) || pinned.has(link.to);
    const near = links(shown).filter(touches).flatMap((link) => [link.from, link.to]);
    const kept = [...new Set([...shown.outputs, ...pinned, ...near])]
      .sort((a, b) => a - b);
    return select(shown, kept, (i, slot) =>
      touches({ from: shown.boxes[i].args[slot], to: i }));
  };

  // All boxes on a path into (`up`) or out of a box, itself included.
  const reach = (list, start, up) => {
    const found = new Set([start]);
    const order = up ? [...list].reverse() : list; // operands come before their readers
    for (const { from, to } of order) {
      if (up ? found.has(to) : found.has(from)) found.add(up ? from : to);
    }
    return found;
  };

  // ---- Search: part of a key, an operation, `relu>3` or `value<-1`.
  const tests = {
    ">": (a, b) => a > b, "<": (a, b) => a < b, "=": (a, b) => Math.abs(a - b) < 5e-3,
    ">=": (a, b) => a >= b, "<=": (a, b) => a <= b,
  };
  // A picture is found by the name of an input that it reads.
  const search = (graph, shown, numbers, text) => {
    const asked = text.trim().toLowerCase();
    if (!asked) return null;
    const input = graph.keys.findIndex((key, i) => graph.ops[i] === "input" &&
      key.toLowerCase() === asked);
    const pictures = (box) => box.picture && input >= 0 && graph.args
      .slice(graph.starts[box.owner], graph.starts[box.owner + 1]).includes(input);
    const parts = asked.match(/^(\w*)\s*(>=|<=|>|<|=)\s*([-−]?[\d.]+(?:e[-+]?\d+)?)$/);
    const fits = parts
      ? (box, value) => (["", "value"].includes(parts[1]) || box.op === parts[1]) &&
        tests[parts[2]](value, Number(parts[3].replace("−", "-")))
      : (box) => box.key.toLowerCase().includes(asked) || pictures(box) ||
        box.op.toLowerCase() === asked ||
        (box.output || "").toLowerCase().includes(asked);
    return shown.boxes.flatMap((box, i) => fits(box, numbers[i]) ? [i] : []);
  };

  // ---- Two graphs: which nodes, known by their keys, are not the same in another one.
  const compare = (graph, other) => {
    const weights = (g, i) => new Map(g.args.slice(g.starts[i], g.starts[i + 1])
      .map((arg, k) => [g.keys[arg], g.coefs[g.starts[i] + k]]));
    const same = (i, j) => {
      const mine = weights(graph, i), theirs = weights(other, j);
      return graph.ops[i] === other.ops[j] && graph.consts[i] === other.consts[j] &&
        mine.size === theirs.size &&
        [...mine].every(([key, coef]) => theirs.get(key) === coef);
    };
    const found = new Map(); // node -> "only" or "differs"
    graph.keys.forEach((key, i) => {
      const j = other.at.get(key);
      if (j == null) found.set(i, "only");
      else if (!same(i, j)) found.set(i, "differs");
    });
    return found;
  };

  // The box that shows a node, or else applies its weights.
  const home = ({ boxes }, node) => boxes.find((box) => box.node === node) ||
    boxes.find((box) => box.owner === node);

  return { view, links, valueOf, measure, multiplier, hide, around, reach, search, compare,
    influence, pictured, live, home };
})();
