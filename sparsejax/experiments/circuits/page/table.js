// Losses of subsets. A subset is an integer: bit i is set where node i is kept.
const tables = (() => {
  const decoded = new Map();
  const floats = (text) => { // little-endian float32, whatever this machine is
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float64Array.from({ length: bytes.length / 4 }, (_, i) =>
      view.getFloat32(4 * i, true));
  };
  const of = (part) => {
    if (!part.table) return null;
    if (!decoded.has(part)) decoded.set(part, floats(part.table));
    return decoded.get(part);
  };
  const number = (nodes) => nodes.reduce((sum, i) => sum + 2 ** i, 0);
  const members = (mask, n) => [...Array(n).keys()].filter((i) => (mask >>> i) & 1);
  const count = (mask) => {
    let bits = 0;
    for (let rest = mask; rest; rest &= rest - 1) bits += 1;
    return bits;
  };
  const above = (table, mask, n) => { // mean and worst over all supersets
    const free = members(~mask & (2 ** n - 1), n);
    let sum = 0, worst = -Infinity;
    for (let k = 0; k < 2 ** free.length; k++) {
      let superset = mask;
      for (let j = 0; j < free.length; j++) if ((k >>> j) & 1) superset |= 1 << free[j];
      sum += table[superset];
      worst = Math.max(worst, table[superset]);
    }
    return { mean: sum / 2 ** free.length, worst };
  };
  const place = (table, mask) => { // how many subsets of its size are better
    const size = count(mask);
    let better = 0, all = 0, best = Infinity;
    for (let other = 0; other < table.length; other++) {
      if (count(other) !== size) continue;
      all += 1;
      if (table[other] < table[mask]) better += 1;
      best = Math.min(best, table[other]);
    }
    return { rank: better + 1, all, best };
  };
  const withRandom = (mask, n) => members(2 ** n - 1, n).reduce((sum, i) =>
    (mask >>> i) & 1 || Math.random() < 0.5 ? sum + 2 ** i : sum, 0);
  return { floats, of, number, members, count, above, place, withRandom };
})();
