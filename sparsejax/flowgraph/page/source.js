// What this file holds: graphs, samples, labels, and what follows from them alone.
const source = (() => {
  const ends = (packed) => packed && { ...packed, low: engine.array(packed.low),
    high: engine.array(packed.high) };
  const whole = (graph, { low, high }) => { // with the domain, which inputs have
    const domain = (limits) => graph.inputs.map((at) => limits[at]);
    return { low: [...domain(graph.low), ...low],
      high: [...domain(graph.high), ...high] };
  };
  const rangesOf = (graph, { interval, exact, observed }) => ({
    interval: whole(graph, ends(interval)), observed: ends(observed),
    exact: exact && { ...ends(exact),
      at: new Map(exact.nodes.map((node, i) => [node, i])) },
  });
  const graphs = sj.data.graphs.map(({ graph, ranges, ...rest }) => {
    const read = engine.read(engine.unpack(graph));
    return { ...read, ranges: rangesOf(read, ranges), ...rest };
  });
  const [first] = graphs;
  const size = first.inputNames.length;

  const bytes = (text) =>
    Array.from(atob(text), (c) => Math.fround(c.charCodeAt(0) / 255));
  const samples = sj.data.samples.map((sample) =>
    typeof sample === "string" ? bytes(sample) : sample);
  const labels = sj.data.labels;
  const rest = first.low.map((low, i) => Math.min(Math.max(0, low), first.high[i]));
  const sliders = !first.image && size <= 16;
  // Ends of sliders and of the pen: where the domain has none, those of what was seen.
  const { observed } = first.ranges;
  const range = (numbers) => numbers.reduce(([a, b], x) =>
    [Math.min(a, x), Math.max(b, x)], [Infinity, -Infinity]);
  const seen = first.low.map((_, i) => {
    const node = observed ? first.inputs.indexOf(i) : -1;
    const known = node < 0 ? [] : [observed.low[node], observed.high[node]];
    return range([...samples.map((sample) => sample[i]), ...known]);
  });
  const ofAll = range(seen.flat().filter(Number.isFinite));
  const end = (limit, i, side) => {
    if (Number.isFinite(limit)) return limit;
    const [least, most] = first.image ? ofAll : seen[i]; // all pixels look alike
    const other = side > 0 ? first.low[i] : first.high[i];
    const far = Number.isFinite(other) ? side * other + 1 : -Infinity;
    if (least < most) return side * Math.max(far, side > 0 ? most : -least);
    const only = least === most ? least : rest[i];
    return side * Math.max(far, 1, 2 * Math.abs(only));
  };
  const low = first.low.map((limit, i) => end(limit, i, -1));
  const high = first.high.map((limit, i) => end(limit, i, 1));
  const paper = { image: first.image, low, high };

  const outputsOf = (graph, values) => graph.outputs.map((node) => values[node]);
  const predicted = (numbers) => // null also where one of them is not a number
    numbers.length > 1 && !numbers.some(Number.isNaN)
      ? numbers.indexOf(Math.max(...numbers)) : null;
  const most = (numbers) => numbers.reduce((a, b) => Math.max(a, Math.abs(b)), 0);

  // output_7 is class 7: what all names begin with is left out.
  const common = first.outputNames.length < 2 ? ""
    : first.outputNames.map(formats.graphemes).reduce((a, b) => {
      let same = 0;
      while (same < a.length && a[same] === b[same]) same++;
      return a.slice(0, same);
    }).join("").replace(/[A-Za-z0-9]+$/, "");
  const short = (name) => name.slice(common.length);

  const constant = (graph, at) => !views.view(graph, [at], "dot", false).boxes
    .some((box) => box.op === "input");
  // How it is known that an output never changes: "structural", "bounds" or null.
  const constants = graphs.map((graph) => graph.outputs.map((_, at) => {
    if (constant(graph, at)) return "structural";
    const flag = graph.flags.find(({ kind, proof, keys }) => proof !== "observed" &&
      kind === "constant output" && keys.includes(graph.outputNames[at]));
    return flag ? flag.proof : null;
  }));
  const differences = graphs.length < 2 ? [new Map()]
    : [views.compare(graphs[0], graphs[1]), views.compare(graphs[1], graphs[0])];

  // One scale for all pictures of a graph. Its end is a quantile: one weight that is far
  // larger than all others would leave these without colour.
  const scales = graphs.map((graph) => {
    const weights = graph.ops.flatMap((_, i) => views.pictured(graph, i)
      ? graph.coefs.slice(graph.starts[i], graph.starts[i + 1]) : []);
    const sizes = weights.map(Math.abs).sort((a, b) => a - b);
    return sizes[Math.floor(0.9 * sizes.length)] || 1;
  });

  return { graphs, first, size, samples, labels, rest, low, high, paper, sliders,
    outputsOf, predicted, most,
    short, constants, differences, scales };
})();
