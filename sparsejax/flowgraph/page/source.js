// What this file holds: graphs, samples, labels, and what follows from them alone.
const source = (() => {
  const ends = (packed) => packed && { ...packed, low: engine.array(packed.low),
    high: engine.array(packed.high) };
  const rangesOf = ({ interval, exact, observed }) => ({
    interval: ends(interval), observed: ends(observed),
    exact: exact && { ...ends(exact),
      at: new Map(exact.nodes.map((node, i) => [node, i])) },
  });
  const graphs = sj.data.graphs.map(({ graph, ranges, ...rest }) =>
    ({ ...engine.read(engine.unpack(graph)), ranges: rangesOf(ranges), ...rest }));
  const [first] = graphs;
  const size = first.inputNames.length;

  const bytes = (text) =>
    Array.from(atob(text), (c) => Math.fround(c.charCodeAt(0) / 255));
  const samples = sj.data.samples.map((sample) =>
    typeof sample === "string" ? bytes(sample) : sample);
  const labels = sj.data.labels;
  const rest = first.low.map((low, i) => Math.min(Math.max(0, low), first.high[i]));
  const sliders = !first.image && size <= 16;

  const outputsOf = (graph, values) => graph.outputs.map((node) => values[node]);
  const predicted = (numbers) =>
    numbers.length > 1 ? numbers.indexOf(Math.max(...numbers)) : null;
  const most = (numbers) => numbers.reduce((a, b) => Math.max(a, Math.abs(b)), 0);

  // output_7 is class 7: what all names begin with is left out.
  const common = first.outputNames.length < 2 ? "" : first.outputNames.reduce((a, b) => {
    let same = 0;
    while (same < a.length && a[same] === b[same]) same++;
    return a.slice(0, same);
  }).replace(/[A-Za-z0-9]+$/, "");
  const short = (name) => name.slice(common.length);

  const constant = (graph, at) => !views.view(graph, [at], "dot", false).boxes
    .some((box) => box.op === "input");
  const constants = graphs.map((graph) =>
    graph.outputs.map((_, at) => constant(graph, at)));
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

  return { graphs, first, size, samples, labels, rest, sliders, outputsOf, predicted,
    most,
    short, constants, differences, scales };
})();
