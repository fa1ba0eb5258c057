"use strict";
// Shares, intervals and tests: what statistics.py and selection.py compute, over the questions shown.
// Knows lists of numbers; knows no page and no table.

const Z = 1.959963984540054; // the normal law's 97.5% point

// Wilson's score interval of k successes among n.
function wilson(k, n) {
  if (!n) return null;
  const share = k / n, square = Z * Z;
  const centre = (share + square / (2 * n)) / (1 + square / n);
  const half = Z / (1 + square / n) * Math.sqrt(share * (1 - share) / n + square / (4 * n * n));
  return {
    value: share, n,
    low: Math.max(0, Math.min(centre - half, share)),
    high: Math.min(1, Math.max(centre + half, share)),
  };
}

// The mean, with the percentiles that a bootstrap over these values would find: by their Cornish-
// Fisher expansion, which needs no dice and is there at once for any number of questions.
function mean(values) {
  const n = values.length;
  if (!n) return null;
  let sum = 0, least = Infinity, most = -Infinity;
  for (const value of values) {
    sum += value;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  const value = sum / n;
  let m2 = 0, m3 = 0, m4 = 0;
  for (const each of values) {
    const d = each - value;
    m2 += d * d;
    m3 += d * d * d;
    m4 += d * d * d * d;
  }
  m2 /= n; m3 /= n; m4 /= n;
  if (m2 < 1e-18) return { value, n, low: value, high: value };
  const skew = m3 / (m2 * Math.sqrt(m2)), excess = m4 / (m2 * m2) - 3;
  const quantile = z => value + Math.sqrt(m2 / n) * (z
    + (z * z - 1) * skew / (6 * Math.sqrt(n))
    + (z * z * z - 3 * z) * excess / (24 * n)
    - (2 * z * z * z - 5 * z) * skew * skew / (36 * n));
  const low = Math.max(least, Math.min(quantile(-Z), value));
  return { value, n, low, high: Math.min(most, Math.max(quantile(Z), value)) };
}

// Chance that one of k tries is right, of n of which c are: 1 - C(n - c, k) / C(n, k).
function passAt(k, n, c) {
  let miss = 1;
  for (let i = 0; i < k; i++) miss *= Math.max(0, n - c - i) / (n - i);
  return 1 - miss;
}

// McNemar's exact test, two-sided: b questions that only the first got right, c only the second.
function mcnemar(b, c) {
  const n = b + c;
  let logChoose = 0, sum = 0; // summed in logarithms: 2^-5000 is no number
  for (let i = 0; i <= Math.min(b, c); i++) {
    if (i) logChoose += Math.log((n - i + 1) / i);
    sum += Math.exp(logChoose - n * Math.LN2);
  }
  return Math.min(1, 2 * sum);
}
