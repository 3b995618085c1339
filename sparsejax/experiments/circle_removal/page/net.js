// The mathematics. A subnetwork is an integer m: bit i is set where node i is kept.
//
//   z(x) = c + sum of v_i(x) over the nodes kept: logit of outside less that of inside
//   v_i(x) = relu(w_i x + b_i) (u_i,outside - u_i,inside): what node i says about x
//   P(outside) = 1 / (1 + exp(-z))
//   loss = log(1 + exp(z)) for a point inside, log(1 + exp(-z)) for one outside
const net = (() => {
  const { w0, b0, w1, b1 } = sj.data.net;
  const n = b0.length, c = b1[1] - b1[0];
  const every = 2 ** n - 1;
  const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const floats = (text) => { // little-endian float32, whatever this machine is
    const view = new DataView(bytes(text).buffer);
    return Float64Array.from({ length: view.byteLength / 4 }, (_, i) =>
      view.getFloat32(4 * i, true));
  };
  const has = (mask, i) => (mask >>> i) & 1;
  const nodes = [...Array(n).keys()];
  const size = (mask) => nodes.reduce((sum, i) => sum + has(mask, i), 0);

  // ---- The network on points x = [x1, x2, x1, x2, ...]

  const votes = (x) => nodes.map((i) => Float64Array.from({ length: x.length / 2 },
    (_, p) => Math.max(0, x[2 * p] * w0[0][i] + x[2 * p + 1] * w0[1][i] + b0[i]) *
      (w1[i][1] - w1[i][0])));
  const logits = (votes, mask) => {
    const z = new Float64Array(votes[0].length).fill(c);
    for (const i of nodes) {
      if (!has(mask, i)) continue;
      const v = votes[i];
      for (let p = 0; p < z.length; p++) z[p] += v[p];
    }
    return z;
  };
  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  const softplus = (z) => Math.max(z, 0) + Math.log(1 + Math.exp(-Math.abs(z)));
  const loss = (z, y) => softplus(y ? -z : z);

  // ---- Test points

  const x = floats(sj.data.x), y = bytes(sj.data.y);
  const seen = votes(x);
  const none = new Float64Array(y.length);
  const mean = (z, side = 0, v = none) => { // loss at the logits z + side v
    let sum = 0;
    for (let p = 0; p < y.length; p++) sum += loss(z[p] + side * v[p], y[p]);
    return sum / y.length;
  };
  const lossOf = (mask) => mean(logits(seen, mask));
  const evaluate = (mask) => { // loss, points that are wrong, the change by every flip
    const z = logits(seen, mask), now = mean(z);
    const wrong = [...y.keys()].filter((p) => (z[p] > 0) !== (y[p] === 1));
    const flips = nodes.map((i) => mean(z, has(mask, i) ? -1 : 1, seen[i]) - now);
    return { loss: now, wrong, accuracy: 1 - wrong.length / y.length, flips };
  };

  // ---- A grid over the square [-2, 2]^2, row 0 at the top

  const reach = 2;
  const grid = (pixels) => {
    const at = (i) => ((i + 0.5) / pixels * 2 - 1) * reach;
    const points = Float64Array.from({ length: 2 * pixels * pixels }, (_, i) => {
      const p = i >> 1;
      return i % 2 ? -at(Math.floor(p / pixels)) : at(p % pixels);
    });
    const outside = Uint8Array.from({ length: pixels * pixels }, (_, p) =>
      Math.hypot(points[2 * p], points[2 * p + 1]) > sj.data.radius);
    return { pixels, votes: votes(points), outside };
  };
  const inside = (z) => z.map((at) => sigmoid(-at));
  const pointwise = (z, grid) => z.map((at, p) => loss(at, grid.outside[p]));
  // d loss / d m_i, were the mask not 0 or 1 but any number
  const gradient = (z, grid, i) =>
    z.map((at, p) => (sigmoid(at) - grid.outside[p]) * grid.votes[i][p]);

  // ---- Other subnetworks

  const order = [...nodes].sort((i, j) => sj.data.shapley[i] - sj.data.shapley[j]);
  const best = sj.data.best;
  const top = [...Array(n + 1).keys()].map((k) =>
    order.slice(0, k).reduce((mask, i) => mask | (1 << i), 0));
  const random = (keep) => nodes.reduce((mask, i) =>
    Math.random() < keep ? mask | (1 << i) : mask, 0);
  const shuffled = () => { // flips every node once, in random order
    const left = [...nodes];
    return nodes.map(() =>
      left.splice(Math.floor(Math.random() * left.length), 1)[0]);
  };
  const along = (mask, order) => {
    const path = [mask];
    for (const i of order) path.push(path.at(-1) ^ (1 << i));
    return path;
  };
  const downhill = (mask) => { // always the flip that lowers the loss most
    const path = [mask];
    for (;;) {
      const { flips } = evaluate(path.at(-1));
      const least = Math.min(...flips);
      if (least > -1e-12) return path; // what is less is rounding
      path.push(path.at(-1) ^ (1 << flips.indexOf(least)));
    }
  };

  // ---- All of them: C(n, k) of size k, sorted by loss

  const choose = (k) => {
    let count = 1;
    for (let i = 1; i <= k; i++) count = count * (n + 1 - i) / i;
    return Math.round(count);
  };
  const sizes = sj.data.sizes.map((text, k) => {
    const losses = floats(text), count = choose(k), { head, steps } = sj.data;
    const rank = losses.length === count ? (j) => j : (j) => j < head ? j :
      head - 1 + Math.floor((j - head + 1) * (count - head) / steps);
    return { count, losses, rank };
  });
  const below = ({ count, losses, rank }, limit) => { // how many have less
    let low = 0, high = losses.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (losses[middle] < limit) low = middle + 1; else high = middle;
    }
    if (low === 0 || low === losses.length) return low && count;
    const first = rank(low - 1), between = rank(low) - first - 1;
    const [a, b] = [losses[low - 1], losses[low]];
    return first + 1 + between * (limit - a) / (b - a);
  };
  const tie = 2e-6; // the table was computed in float32
  const chances = (keep) => sizes.map(({ count }, k) =>
    count * keep ** k * (1 - keep) ** (n - k));
  const place = (loss, k, keep) => {
    const above = sizes.map((one) => 1 - below(one, loss + tie) / one.count);
    return {
      better: chances(keep).reduce((sum, chance, j) => sum + chance * above[j], 0),
      lower: sizes.reduce((sum, one) => sum + below(one, loss - tie), 0),
      rank: 1 + below(sizes[k], loss - tie),
      exact: loss <= sizes[k].losses[Math.min(sj.data.head, sizes[k].losses.length) - 1]
        + tie || sizes[k].losses.length === sizes[k].count,
      of: sizes[k].count,
    };
  };

  // Densities of log loss by size, smoothed as in the source: a Gaussian of width 0.03.
  const width = 0.03, step = 0.01;
  const ends = [Math.min, Math.max].map((pick) =>
    pick(...sizes.flatMap(({ losses }) => [losses[0], losses.at(-1)])));
  const low = Math.log(ends[0]) - 0.15, high = Math.log(ends[1]) + 0.15;
  const bins = Math.ceil((high - low) / step);
  const kernel = [...Array(25).keys()].map((i) =>
    Math.exp(-(((i - 12) * step / width) ** 2) / 2));
  const total = kernel.reduce((a, b) => a + b) * step;
  const densities = sizes.map((one) => {
    const edges = Array.from({ length: bins + 1 }, (_, i) =>
      below(one, Math.exp(low + i * step)) / one.count);
    const smooth = new Float64Array(bins);
    for (let i = 0; i < bins; i++) {
      const mass = edges[i + 1] - edges[i];
      for (let j = 0; mass && j < 25; j++) {
        const at = i + j - 12;
        if (at >= 0 && at < bins) smooth[at] += mass * kernel[j] / total;
      }
    }
    return smooth;
  });
  const density = (weights) => Float64Array.from({ length: bins }, (_, i) =>
    weights.reduce((sum, weight, k) => sum + weight * densities[k][i], 0));
  const centers = Float64Array.from({ length: bins }, (_, i) =>
    Math.exp(low + (i + 0.5) * step));

  return { n, nodes, every, has, size, votes, logits, x, y, lossOf, evaluate, reach,
    grid, inside, pointwise, gradient, order, best, top, random, shuffled, along,
    downhill, sizes, place, chances, density, centers, ends: [Math.exp(low), Math.exp(high)],
    w0, b0, w1 };
})();
