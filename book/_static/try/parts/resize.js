/* Bicubic resizing as MATLAB's imresize does it: the matrices of dsd_lib/resize.py, kept sparse.
   An image is {height, width, data}: data is a Float32Array of three planes, values in [0, 1]. */
DSDTry.part("resize", function () {
  "use strict";

  /** Keys' cubic with a = -0.5. */
  function cubic(t) {
    t = Math.abs(t);
    if (t <= 1) return 1.5 * t ** 3 - 2.5 * t ** 2 + 1;
    if (t <= 2) return -0.5 * t ** 3 + 2.5 * t ** 2 - 4 * t + 2;
    return 0;
  }

  /** The matrix that resizes one axis: `count` source indices and weights for each new pixel. */
  function matrix(side, newSide, scale) {
    const stretch = Math.max(1, 1 / scale); // antialiasing: shrinking widens the kernel
    const count = Math.ceil(4 * stretch) + 2;
    const indices = new Int32Array(newSide * count);
    const weights = new Float64Array(newSide * count);
    for (let i = 0; i < newSide; i++) {
      const center = (i + 0.5) / scale - 0.5; // in input pixels
      const first = Math.floor(center - 2 * stretch);
      let sum = 0;
      for (let k = 0; k < count; k++) {
        const position = first + k;
        const inPeriod = (((position % (2 * side)) + 2 * side) % (2 * side)) | 0;
        // Symmetric padding: 0 1 2 … n-1 n-1 … 2 1 0 and again.
        indices[i * count + k] = inPeriod < side ? inPeriod : 2 * side - 1 - inPeriod;
        sum += weights[i * count + k] = cubic((center - position) / stretch);
      }
      for (let k = 0; k < count; k++) weights[i * count + k] /= sum;
    }
    return { count, indices, weights };
  }

  function outputSide(side, scale) {
    return Math.max(1, Math.ceil(Math.round(side * scale * 1e9) / 1e9));
  }

  /** Resized by `scale`, or to `height` and `width`. Values may overshoot a little. */
  function imresize(image, { scale, height, width }) {
    const rowScale = scale ?? height / image.height;
    const columnScale = scale ?? width / image.width;
    height ??= outputSide(image.height, scale);
    width ??= outputSide(image.width, scale);
    const rows = matrix(image.height, height, rowScale);
    const columns = matrix(image.width, width, columnScale);
    const data = new Float32Array(3 * height * width);
    const line = new Float32Array(image.width); // one new row, still at the old width
    for (let plane = 0; plane < 3; plane++) {
      const source = plane * image.height * image.width;
      for (let y = 0; y < height; y++) {
        const sums = new Float64Array(image.width);
        for (let k = 0; k < rows.count; k++) {
          const weight = rows.weights[y * rows.count + k];
          if (weight === 0) continue;
          const start = source + rows.indices[y * rows.count + k] * image.width;
          for (let x = 0; x < image.width; x++) sums[x] += weight * image.data[start + x];
        }
        line.set(sums);
        const target = (plane * height + y) * width;
        for (let x = 0; x < width; x++) {
          let sum = 0;
          for (let k = 0; k < columns.count; k++) {
            const at = x * columns.count + k;
            sum += columns.weights[at] * line[columns.indices[at]];
          }
          data[target + x] = sum;
        }
      }
    }
    return { height, width, data };
  }

  /** Limited to [0, 1], in place. */
  function clamp(image) {
    const { data } = image;
    for (let i = 0; i < data.length; i++) data[i] = Math.min(1, Math.max(0, data[i]));
    return image;
  }

  return { clamp, imresize, matrix };
});
