// A small transformer, as the library's: RMS norm without gains, sinks, causal heads,
// neurons of relu, writers that add up to the residual stream. In float64.
const network = (() => {
  const spec = sj.data.network;
  if (!spec) return null;
  const { layers, heads, head, vocabulary } = spec;
  const inner = heads * head;
  const nets = new Map();
  const weights = (seed) => {
    if (!nets.has(seed)) nets.set(seed, Object.fromEntries(Object.entries(
      spec.weights[seed]).map(([name, text]) => [name, tables.floats(text)])));
    return nets.get(seed);
  };
  const dense = (p, name, x) => { // x: (inputs,), the kernel (inputs, outputs)
    const kernel = p[`${name}/kernel`], bias = p[`${name}/bias`];
    const width = kernel.length / x.length;
    const out = bias ? bias.slice() : new Float64Array(width);
    for (let i = 0; i < x.length; i++) {
      if (!x[i]) continue;
      for (let j = 0; j < width; j++) out[j] += x[i] * kernel[i * width + j];
    }
    return out;
  };
  const scale = (x) =>
    1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + 1e-5);
  const normal = (x) => { const by = scale(x); return x.map((v) => v * by); };
  const add = (x, y) => x.map((v, i) => v + y[i]);
  const softmax = (x) => {
    const top = Math.max(...x), e = x.map((v) => Math.exp(v - top));
    const sum = e.reduce((a, b) => a + b, 0);
    return e.map((v) => v / sum);
  };
  // off: (layer, head) -> what is written in its place, (t) -> (head,), or null if on
  const run = (seed, ids, off) => {
    const p = weights(seed), width = p["embed/token"].length / vocabulary;
    const row = (name, i) => p[name].slice(i * width, (i + 1) * width);
    let h = ids.map((id, t) => add(row("embed/token", id), row("embed/position", t)));
    const writes = [{ name: "embedding", values: h }], patterns = [], zs = [];
    for (let i = 0; i < layers; i++) {
      const read = h.map(normal);
      const [q, k, v] = ["query", "key", "value"].map((name) =>
        read.map((x) => dense(p, `block_${i}/${name}`, x)));
      const sink = p[`block_${i}/sink`], out = p[`block_${i}/out/kernel`];
      const total = h.map(() => new Float64Array(width));
      patterns.push([]);
      zs.push([]);
      for (let j = 0; j < heads; j++) {
        const from = j * head;
        const rows = ids.map((_, t) => {
          const scores = [sink[j]];
          for (let s = 0; s <= t; s++) {
            let dot = 0;
            for (let e = from; e < from + head; e++) dot += q[t][e] * k[s][e];
            scores.push(dot / Math.sqrt(head));
          }
          return softmax(scores).slice(1);
        });
        const own = rows.map((weights) => {
          const z = new Float64Array(head);
          weights.forEach((w, s) => z.forEach((_, e) => { z[e] += w * v[s][from + e]; }));
          return z;
        });
        const values = off(i, j), z = values ? ids.map((_, t) => values(t)) : own;
        const written = z.map((row) => {
          const sum = new Float64Array(width);
          row.forEach((value, e) => {
            const at = (from + e) * width;
            if (value) for (let d = 0; d < width; d++) sum[d] += value * out[at + d];
          });
          return sum;
        });
        written.forEach((x, t) => { total[t] = add(total[t], x); });
        patterns[i].push(rows);
        zs[i].push(own);
        writes.push({ name: `z_${i}[${j}]`, values: written });
      }
      h = h.map((x, t) => add(x, total[t]));
      const neurons = h.map((x) => dense(p, `block_${i}/up`, normal(x))
        .map((v) => Math.max(0, v)));
      const mlp = neurons.map((x) => dense(p, `block_${i}/down`, x));
      h = h.map((x, t) => add(x, mlp[t]));
      writes.push({ name: `neurons ${i}`, values: mlp });
    }
    const logits = h.map((x) => dense(p, "unembed", normal(x)));
    return { logits, patterns, zs, writes, last: h };
  };
  // What every writer adds to a token's logit, less the mean of all tokens'
  const effects = (seed, result, targets) => {
    const p = weights(seed), kernel = p["unembed/kernel"];
    return result.writes.map(({ name, values }) => ({ name, values: values.map((x, t) => {
      if (targets[t] == null) return null;
      const by = scale(result.last[t]);
      let sum = 0;
      x.forEach((value, d) => {
        const row = kernel.subarray(d * vocabulary, (d + 1) * vocabulary);
        const mean = row.reduce((a, b) => a + b, 0) / vocabulary;
        sum += value * by * (row[targets[t]] - mean);
      });
      return sum;
    }) }));
  };
  // How heads that are off are replaced: by zero, a mean, or another sequence's values
  const replaced = (seed, part, mask, corrupted) => {
    const { kind, values } = spec.ablations[part];
    const other = kind === "resample" ? run(seed, corrupted, () => null).zs : null;
    const means = values && values.map(tables.floats);
    return (i, j) => {
      if ((mask >>> (i * heads + j)) & 1) return null;
      if (kind === "zero") return () => new Float64Array(head);
      if (other) return (t) => other[i][j][t];
      return (t) => { // (heads, head), or for some positions, the last ones known
        const one = means[i], count = one.length / inner;
        const first = count === 1 ? 0 : spec.starts[i];
        const at = count === 1 ? 0 : Math.min(Math.max(t - first, 0), count - 1);
        return one.slice(at * inner + j * head, at * inner + (j + 1) * head);
      };
    };
  };
  const loss = (logits, targets, from) => {
    let sum = 0, count = 0;
    targets.forEach((target, t) => {
      if (t < from || target == null) return;
      sum -= Math.log(softmax([...logits[t]])[target]);
      count += 1;
    });
    return sum / count;
  };
  return { ...spec, run, effects, replaced, loss, softmax };
})();
