// The scalar operations of a graph: the table of flowgraph/ops.py, which a test compares
// with this one. Truth is 1, and whatever is greater than 0 counts as true.
"use strict";
const ops = (() => {
  const truth = (value) => (value ? 1 : 0);
  const compare = (test) => (a, b) => truth(test(a, b));

  // Half to even, as NumPy and IEEE 754 do it; Math.round sends halves upward.
  const round = (x) => {
    const low = Math.floor(x);
    const rest = x - low;
    if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
    return low % 2 === 0 ? low : low + 1;
  };

  // erf as exp(-x^2) times a series of positive terms: nothing cancels.
  const series = (x) => {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  };
  // erfc for large x as its continued fraction, from the inside out.
  const tail = (x) => {
    let fraction = x;
    for (let n = 120; n > 0; n--) fraction = x + n / 2 / fraction;
    return Math.exp(-x * x) / Math.sqrt(Math.PI) / fraction;
  };
  const erf = (x) =>
    Math.abs(x) < 2 ? series(x) : Math.sign(x) * (1 - tail(Math.abs(x)));
  const erfc = (x) => (x < 1 ? 1 - erf(x) : tail(x));

  return {
    relu: (x) => Math.max(x, 0),
    abs: Math.abs,
    sign: Math.sign,
    square: (x) => x * x,
    exp: Math.exp,
    exp2: (x) => 2 ** x,
    expm1: Math.expm1,
    log: Math.log,
    log1p: Math.log1p,
    sqrt: Math.sqrt,
    cbrt: Math.cbrt,
    rsqrt: (x) => 1 / Math.sqrt(x),
    tanh: Math.tanh,
    sigmoid: (x) => 1 / (1 + Math.exp(-x)),
    sin: Math.sin,
    cos: Math.cos,
    tan: Math.tan,
    arcsin: Math.asin,
    arccos: Math.acos,
    arctan: Math.atan,
    sinh: Math.sinh,
    cosh: Math.cosh,
    arcsinh: Math.asinh,
    arccosh: Math.acosh,
    arctanh: Math.atanh,
    erf,
    erfc,
    floor: Math.floor,
    ceil: Math.ceil,
    round,
    not: (x) => 1 - x,
    mul: (a, b) => a * b,
    div: (a, b) => a / b,
    pow: (a, b) => a ** b,
    rem: (a, b) => a % b,
    arctan2: Math.atan2,
    max: Math.max,
    min: Math.min,
    gt: compare((a, b) => a > b),
    ge: compare((a, b) => a >= b),
    lt: compare((a, b) => a < b),
    le: compare((a, b) => a <= b),
    eq: compare((a, b) => a === b),
    ne: compare((a, b) => a !== b),
    and: compare((a, b) => a > 0 && b > 0),
    or: compare((a, b) => a > 0 || b > 0),
    xor: compare((a, b) => a > 0 !== b > 0),
    select: (p, a, b) => (p > 0 ? b : a),
  };
})();
