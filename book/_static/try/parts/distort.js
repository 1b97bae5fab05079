/* What the sliders do to an image, one after the other in the order of `steps`. */
DSDTry.part("distort", function (use) {
  "use strict";
  const { clamp, imresize } = use("resize");
  const { fromBitmap, toBytes } = use("pixels");

  const steps = {
    brightness: { neutral: 1, apply: (image, factor) => pointwise(image, (v) => factor * v) },
    contrast: { neutral: 1, apply: (image, factor) => stretched(image, factor) },
    blur: { neutral: 0, apply: (image, sigma) => gaussianBlur(image, sigma) },
    scale: { neutral: 1, apply: (image, factor) => downAndUp(image, factor) },
    noise: { neutral: 0, apply: (image, sigma) => noisy(image, sigma / 255) },
    jpeg: { neutral: 100, apply: (image, quality) => jpeg(image, quality) },
  };

  function pointwise(image, change) {
    return clamp({ ...image, data: image.data.map(change) });
  }

  /** Contrast around the image's mean. */
  function stretched(image, factor) {
    const mean = image.data.reduce((sum, v) => sum + v, 0) / image.data.length;
    return pointwise(image, (v) => mean + factor * (v - mean));
  }

  /** Bicubic ↓factor and back to the size it had. */
  function downAndUp(image, factor) {
    const { height, width } = image;
    return clamp(imresize(imresize(image, { scale: 1 / factor }), { height, width }));
  }

  /** Gaussian blur of standard deviation `sigma` pixels, mirrored at the borders. */
  function gaussianBlur({ height, width, data }, sigma) {
    const reach = Math.floor(4 * sigma + 0.5);
    const taps = new Float64Array(2 * reach + 1).map((_, k) =>
      Math.exp(-0.5 * ((k - reach) / sigma) ** 2),
    );
    const sum = taps.reduce((a, b) => a + b);
    const mirror = (i, side) => {
      const period = Math.max(1, 2 * (side - 1));
      const inPeriod = ((i % period) + period) % period;
      return inPeriod < side ? inPeriod : period - inPeriod;
    };
    const along = (source, length, step, lines) => {
      const target = new Float32Array(source.length);
      const padded = new Float64Array(length + 2 * reach);
      for (const start of lines) {
        for (let i = 0; i < padded.length; i++) {
          padded[i] = source[start + step * mirror(i - reach, length)];
        }
        for (let i = 0; i < length; i++) {
          let total = 0;
          for (let k = 0; k < taps.length; k++) total += taps[k] * padded[i + k];
          target[start + step * i] = total / sum;
        }
      }
      return target;
    };
    const rows = Array.from({ length: 3 * height }, (_, i) => i * width);
    const columns = Array.from(
      { length: 3 * width },
      (_, i) => Math.floor(i / width) * height * width + (i % width),
    );
    return { height, width, data: along(along(data, width, 1, rows), height, width, columns) };
  }

  /** White Gaussian noise, the same pattern for every strength. */
  function noisy(image, sigma) {
    const random = generator(7);
    return pointwise(image, (v) => {
      const radius = Math.sqrt(-2 * Math.log(1 - random())); // Box and Muller
      return v + sigma * radius * Math.cos(2 * Math.PI * random());
    });
  }

  /** Mulberry32: numbers in [0, 1) from a seed. */
  function generator(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /** The image as the browser's own JPEG encoder gives it back. */
  async function jpeg(image, quality) {
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext("2d").putImageData(toBytes(image), 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: quality / 100 });
    return fromBitmap(await createImageBitmap(blob));
  }

  /** `settings` is {blur: 2, …}; a step that is left out or neutral changes nothing. */
  async function distort(image, settings) {
    for (const [name, step] of Object.entries(steps)) {
      const value = settings[name] ?? step.neutral;
      if (value !== step.neutral) image = await step.apply(image, value);
    }
    return image;
  }

  return { distort };
});
