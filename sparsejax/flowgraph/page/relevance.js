// What every node, edge and bias has to do with one output: the numbers of
// flowgraph/relevance.py, which a test compares with these. Pure functions, no DOM.
const relevance = (() => {
  const FLAT = new Set(
    "sign floor ceil round not gt ge lt le eq ne and or xor".split(" "));
  const TINY = 1e-10; // closer to zero, a quotient gives way to the derivative
  const STEP = 1e-5;
  const times = (q, value) => q === 0 ? 0 : q * value; // 0 times infinity

  // Which nodes depend on the input, with a derivative; what is set does not.
  const depends = (graph, fixed) => {
    const found = [];
    graph.ops.forEach((op, i) => found.push(op === "input" || (!fixed.has(i) &&
      !FLAT.has(op) && graph.args.slice(graph.starts[i], graph.starts[i + 1])
      .some((arg) => found[arg]))));
    return found;
  };

  // b = f(a): the multiplier of a is (f(a) - f(0)) / a, and f(0) a constant's.
  const slope = (f, a, b, q) => {
    const zero = Number.isFinite(f(0)) ? f(0) : 0;
    const part = Math.abs(a) >= TINY ? (b - zero) / a
      : (f(a + STEP) - f(a - STEP)) / (2 * STEP);
    return [times(q, part), times(q, zero)];
  };

  // Multipliers of the operands of b, and a constant's part; `live` ones depend on the
  // input. A weighted sum is the one operand of its function.
  const through = (graph, op, operands, b, live, q) => {
    const only = (k, part, rest = 0) =>
      [operands.map((_, at) => at === k ? part : 0), rest];
    const count = live.filter(Boolean).length, k = live.indexOf(true);
    if (op === "affine" || op === "output") return only(0, q);
    if (op === "relu") return only(0, operands[0] > 0 ? q : 0);
    if (op === "select") return only(operands[0] > 0 ? 2 : 1, q);
    if (/^m(ax|in)$/.test(op) && (count !== 1 || operands.length > 2)) {
      return only(operands.indexOf(b), q);
    }
    if (count === 1) {
      return only(k, ...slope((a) => engine.apply(graph, op,
        operands.map((value, at) => at === k ? a : value)), operands[k], b, q));
    }
    // The same relevance for every one that shares.
    const [u, v] = operands, part = q / (count || operands.length);
    if (op === "mul") return [[part * v, part * u], 0];
    const back = operands.map((value, at) => (live[at] || !count) &&
      Math.abs(value) >= TINY ? (part * b) / value : 0);
    if (op === "div") back[0] = part / v;
    return [back, back.reduce((rest, m, at) => rest - m * operands[at], q * b)];
  };

  // `node` is what to explain; `values` and `changes` are the engine's. Inputs + biases
  // + constants + set = output.
  const explain = (graph, values, node, { fixed, coefs, consts }) => {
    const [multipliers, nodes, bias, constants] =
      [0, 0, 0, 0].map(() => new Float64Array(values.length));
    const edges = new Float64Array(coefs.length), live = depends(graph, fixed);
    let inputs = 0, set = 0;
    multipliers[node] = 1;
    for (let i = node; i >= 0; i--) {
      const q = multipliers[i], op = graph.ops[i], amount = times(q, values[i]);
      nodes[i] = amount;
      if (op === "input") inputs += amount;
      else if (fixed.has(i)) set += amount;
      else if (op === "const" || FLAT.has(op)) constants[i] = amount;
      else if (q !== 0) {
        const from = graph.starts[i], sum = engine.weighs(graph, i);
        const args = graph.args.slice(from, graph.starts[i + 1]);
        const [back, rest] = through(graph, op,
          sum ? [engine.sum(graph, i, values, coefs, consts)]
            : args.map((arg) => values[arg]),
          values[i], sum ? [true] : args.map((arg) => live[arg]), q);
        if (sum) bias[i] = times(back[0], consts[i]);
        constants[i] = rest;
        args.forEach((arg, k) => {
          const part = sum ? coefs[from + k] * back[0] : back[k];
          edges[from + k] = times(part, values[arg]);
          multipliers[arg] += part;
        });
      }
    }
    const total = (numbers) => numbers.reduce((a, b) => a + b, 0);
    return { multipliers, nodes, edges, bias, constants, sums: { inputs,
      biases: total(bias), constants: total(constants), set, output: values[node] } };
  };

  return { explain, times, FLAT };
})();
