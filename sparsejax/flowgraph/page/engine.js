// A graph as it was sent, what it computes, and edits of it: pure functions, no DOM.
const engine = (() => {
  // ---- Reading

  const unravel = (index, dims) =>
    dims.reduceRight((digits, size) => {
      digits.unshift(index % size);
      index = Math.floor(index / size);
      return digits;
    }, []);

  // Names are a list, or [before, dims, after]: `x[3,4]` of a 28 by 28 picture.
  const names = (packed, count) => {
    if (packed.pattern == null) return packed;
    const [before, dims, after] = packed.pattern;
    return Array.from({ length: count }, (_, i) =>
      before + unravel(i, dims).join(",") + after);
  };

  // Arrays are sent as { kind: base64 }.
  const KINDS = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array,
    float32: Float32Array, float64: Float64Array };
  const array = (packed) => {
    const [[kind, text]] = Object.entries(packed);
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return Array.from(new KINDS[kind](bytes.buffer));
  };
  // The shortest decimals of a float32, as NumPy prints them, not those of its double.
  const shortest = (value) => {
    for (let digits = 6; digits < 9; digits++) {
      const near = Number(value.toPrecision(digits));
      if (Math.fround(near) === value) return near;
    }
    return Number(value.toPrecision(9));
  };
  const numbers = (packed) => array(packed).map("float32" in packed ? shortest : Number);

  const spread = (value, count, none) => // ends of the domain, null where it has none
    (Array.isArray(value) ? value : Array(count).fill(value)).map((end) => end ?? none);

  // The form that `Graph.to_json` writes, from the packed one of the page.
  const unpack = (packed) => {
    const size = packed.shape.reduce((a, b) => a * b, 1);
    const input_names = names(packed.input_names, size);
    const given = packed.nodes.keys;
    const inputs = packed.inputs.map((at) => input_names[at]);
    const count = array(packed.nodes.op).length;
    const keys = given.length < count ? inputs.concat(given) : given;
    const functions = Object.fromEntries(Object.entries(packed.functions)
      .map(([name, body]) => [name, unpack(body)]));
    const nodes = {
      op: array(packed.nodes.op), degree: array(packed.nodes.degree),
      args: array(packed.nodes.args), coefs: numbers(packed.nodes.coefs),
      consts: numbers(packed.nodes.consts), keys,
    };
    return { ...packed, input_names, nodes, functions };
  };

  const read = (whole) => {
    const { nodes } = whole;
    const starts = [0];
    for (const degree of nodes.degree) starts.push(starts.at(-1) + degree);
    const size = whole.input_names.length;
    return {
      whole,
      level: whole.level,
      image: whole.image,
      ops: nodes.op.map((at) => whole.ops[at]),
      starts,
      args: nodes.args,
      coefs: nodes.coefs,
      consts: nodes.consts,
      keys: nodes.keys,
      at: new Map(nodes.keys.map((key, i) => [key, i])),
      inputs: whole.inputs,
      outputs: whole.outputs,
      outputNames: whole.output_names,
      inputNames: whole.input_names,
      low: spread(whole.low, size, -Infinity),
      high: spread(whole.high, size, Infinity),
      functions: new Map(Object.entries(whole.functions)
        .map(([name, body]) => [name, read(body)])),
    };
  };

  // ---- Evaluation

  const arity = (graph, op) => {
    if (op === "affine" || op === "output") return 1;
    return graph.functions.has(op) ? graph.functions.get(op).inputNames.length
      : ops[op].length;
  };
  const weighs = (graph, i) => // a weighted sum, with or without a function of it
    !["input", "const"].includes(graph.ops[i]) && arity(graph, graph.ops[i]) === 1;

  const sum = (graph, i, values, coefs, consts) => {
    let total = 0;
    for (let e = graph.starts[i]; e < graph.starts[i + 1]; e++) {
      total += coefs[e] * values[graph.args[e]];
    }
    return total + consts[i];
  };

  const apply = (graph, op, operands) => {
    const body = graph.functions.get(op);
    return body ? evaluate(body, operands)[body.outputs[0]] : ops[op](...operands);
  };

  const compute = (graph, i, x, values, coefs, consts) => {
    const op = graph.ops[i];
    if (op === "input") return x[graph.inputs[i]];
    if (op === "const") return consts[i];
    if (weighs(graph, i)) {
      const total = sum(graph, i, values, coefs, consts);
      return op === "affine" || op === "output" ? total : apply(graph, op, [total]);
    }
    const operands = graph.args.slice(graph.starts[i], graph.starts[i + 1]);
    return apply(graph, op, operands.map((arg) => values[arg]));
  };

  // The value of every node. `changes`: { fixed: node -> value, coefs, consts }.
  const evaluate = (graph, x, changes = {}) => {
    const { fixed = new Map(), coefs = graph.coefs, consts = graph.consts } = changes;
    const values = new Float64Array(graph.ops.length);
    for (let i = 0; i < values.length; i++) {
      values[i] = fixed.has(i) ? fixed.get(i)
        : compute(graph, i, x, values, coefs, consts);
    }
    return values;
  };

  // ---- Edits: ["remove", key], ["clamp", key, value], ["bias", key, value] and
  // ["weight", key, operand, value]. Those of nodes that are not there do nothing.

  const edge = (graph, key, operand) => {
    const i = graph.at.get(key), source = graph.at.get(operand);
    if (i == null || source == null) return -1;
    for (let e = graph.starts[i]; e < graph.starts[i + 1]; e++) {
      if (graph.args[e] === source) return e;
    }
    return -1;
  };

  const target = (edit) => // what an edit is about; a later one of the same replaces it
    JSON.stringify(edit[0] === "weight" ? edit.slice(0, 3)
      : [edit[0] === "bias" ? "bias" : "node", edit[1]]);

  const changes = (graph, edits) => {
    const made = { fixed: new Map(), coefs: graph.coefs.slice(),
      consts: graph.consts.slice() };
    for (const [kind, key, ...rest] of edits) {
      const node = graph.at.get(key), value = Number(rest.at(-1));
      if (node == null) continue;
      if (kind === "remove") made.fixed.set(node, 0);
      if (kind === "clamp") made.fixed.set(node, value);
      if (kind === "bias") made.consts[node] = value;
      if (kind === "weight") made.coefs[edge(graph, key, rest[0])] = value;
    }
    return made;
  };

  return { array, unpack, read, weighs, sum, apply, evaluate, changes, target, edge };
})();
