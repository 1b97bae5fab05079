/* The mathematics of DSD on Gram matrices, each a Float32Array of C·C numbers. */
DSDTry.part("descriptor", function () {
  "use strict";

  const LAYERS = ["relu1_2", "relu2_1", "relu2_2", "relu3_1"];
  const DISTANCE_LAYERS = ["relu2_1", "relu2_2", "relu3_1"]; // the library's default

  /** ‖DSD‖₁: the mean absolute entry of G(x) - G(x↓α). */
  function norm(fine, coarse) {
    let sum = 0;
    for (let i = 0; i < fine.length; i++) sum += Math.abs(fine[i] - coarse[i]);
    return sum / fine.length;
  }

  /** ‖DSD_α‖₁ at each layer; `grams` is scale -> layer -> matrix. */
  function norms(grams, alpha) {
    return Object.fromEntries(LAYERS.map((l) => [l, norm(grams[1][l], grams[alpha][l])]));
  }

  /** Eq. (4): the mean of |DSD(x) - DSD(y)|, summed over the layers. */
  function distance(x, y, alpha) {
    let total = 0;
    for (const layer of DISTANCE_LAYERS) {
      const [a, b, c, d] = [x[1][layer], x[alpha][layer], y[1][layer], y[alpha][layer]];
      let sum = 0;
      for (let i = 0; i < a.length; i++) sum += Math.abs(a[i] - b[i] - (c[i] - d[i]));
      total += sum / a.length;
    }
    return total;
  }

  /** Eq. (5): the sum over layers of |expected - measured|. */
  function naturalness(measured, expected) {
    return LAYERS.reduce((sum, l) => sum + Math.abs(expected[l] - measured[l]), 0);
  }

  /** Where a value stands among percentiles 0 to 100 of a set: a number from 0 to 100. */
  function percentile(value, list) {
    const above = list.findIndex((limit) => limit > value);
    if (above === -1) return 100;
    if (above === 0) return 0;
    return above - 1 + (value - list[above - 1]) / (list[above] - list[above - 1]);
  }

  return { DISTANCE_LAYERS, LAYERS, distance, naturalness, norms, percentile };
});
