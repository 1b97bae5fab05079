/* The networks, in a worker: Gram matrices of an image, what ψ expects, and images enlarged ×4.
   Everything goes piece by piece, so that it can say how far it is and stop when told to. */
DSDTry.part("networks", function (use) {
  "use strict";
  const { clamp, imresize } = use("resize");
  const { cut } = use("pixels");
  const { LAYERS } = use("descriptor");

  const PIECE = 336; // pixels; the longest side of a piece of an image to be measured
  const ENLARGED = 43; // pixels of the small image; the longest side of a piece to be enlarged
  const LOOKED = 1 / 3; // of the time to enlarge an image goes into its feature map
  const sessions = {};

  /** Start onnxruntime from its three files. */
  function start(script, loader, wasm) {
    const address = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    self.importScripts(address(script));
    const { env } = self.ort;
    env.logLevel = "error";
    env.wasm.wasmBinary = wasm;
    env.wasm.wasmPaths = { mjs: address(loader) };
    // Threads share memory, which browsers allow on isolated pages only.
    const threads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
    env.wasm.numThreads = threads;
    return threads;
  }

  async function load(name, model) {
    sessions[name] = await self.ort.InferenceSession.create(model);
  }

  async function run(name, inputs) {
    const outputs = await sessions[name].run(inputs);
    for (const input of Object.values(inputs)) input.dispose();
    return outputs;
  }

  const tensor = (data, dims) =>
    new self.ort.Tensor(data instanceof BigInt64Array ? "int64" : "float32", data, dims);
  const imageTensor = ({ height, width, data }) => tensor(data, [1, 3, height, width]);

  /** Bounds of parts of about the same length, none much longer than `longest`. */
  function parts(side, longest, multiple) {
    const count = Math.ceil(side / longest);
    const bound = (i) => (i === count ? side : Math.ceil((side * i) / count / multiple) * multiple);
    return Array.from({ length: count }, (_, i) => [bound(i), bound(i + 1)]);
  }

  /** All pieces of an image: [[top, bottom], [left, right]]. */
  function pieces({ height, width }, longest, multiple = 1) {
    return parts(height, longest, multiple).flatMap((rows) =>
      parts(width, longest, multiple).map((columns) => [rows, columns]),
    );
  }

  const grow = ([first, end], margin, side) => [
    Math.max(0, first - margin),
    Math.min(side, end + margin),
  ];

  /** layer -> Gram matrix. Pieces overlap as far as the layers see, so the sum is exact. */
  async function grams(image, { halo, stride }, step) {
    const margin = Math.ceil(halo / stride) * stride;
    const sums = {};
    for (const [rows, columns] of pieces(image, PIECE, stride)) {
      const [top, bottom] = grow(rows, margin, image.height);
      const [left, right] = grow(columns, margin, image.width);
      const crop = [rows[0] - top, columns[0] - left, rows[1] - top, columns[1] - left];
      const outputs = await run("dsd", {
        image: imageTensor(cut(image, top, left, bottom, right)),
        crop: tensor(BigInt64Array.from(crop, BigInt), [4]),
      });
      for (const layer of LAYERS) {
        const part = outputs[`${layer}.gram`].data;
        if (sums[layer]) part.forEach((value, i) => (sums[layer][i] += value));
        else sums[layer] = Float32Array.from(part);
      }
      await step((bottom - top) * (right - left));
    }
    const strides = { relu1_2: 1, relu2_1: 2, relu2_2: 2, relu3_1: 4 };
    for (const layer of LAYERS) {
      const s = strides[layer];
      const positions = Math.floor(image.height / s) * Math.floor(image.width / s);
      const channels = Math.sqrt(sums[layer].length);
      sums[layer] = sums[layer].map((value) => value / (channels * positions));
    }
    return sums;
  }

  /** Gram matrices at full scale (1) and at x↓α for each α, and ψ's expectations where asked. */
  async function measure({ image, alphas, psi, settings }, report) {
    const scales = { 1: image };
    for (const alpha of alphas) scales[alpha] = imresize(image, { scale: 1 / alpha });
    const size = Object.values(scales).reduce((sum, s) => sum + s.height * s.width, 0);
    let done = 0;
    const step = (pixels) => report(Math.min(1, (done += pixels) / size));
    const result = { grams: {}, expected: {} };
    for (const alpha of psi) {
      const { expected } = await run(`psi_alpha${alpha}`, { small: imageTensor(scales[alpha]) });
      result.expected[alpha] = Object.fromEntries(LAYERS.map((l, i) => [l, expected.data[i]]));
      await step(0);
    }
    for (const scale of [...alphas].sort((a, b) => b - a).concat(1)) {
      result.grams[scale] = await grams(scales[scale], settings, step);
    }
    return result;
  }

  /** The image ×4: by bicubic interpolation, and by the networks with weights between L1 and DSD. */
  async function enlarge({ image, dial, settings }, report) {
    const { height, width } = image;
    const weights = () => tensor(Float32Array.of(dial), [1]);
    const { features } = await run("sr_look", { image: imageTensor(image), dial: weights() });
    await report(LOOKED);
    const channels = features.dims[1];
    const map = features.data;
    const enlarged = {
      height: 4 * height,
      width: 4 * width,
      data: new Float32Array(48 * height * width),
    };
    const all = pieces(image, ENLARGED);
    for (const [index, [rows, columns]] of all.entries()) {
      const [top, bottom] = grow(rows, settings.draw, height);
      const [left, right] = grow(columns, settings.draw, width);
      const [h, w] = [bottom - top, right - left];
      const part = new Float32Array(channels * h * w);
      for (let c = 0; c < channels; c++) {
        for (let y = 0; y < h; y++) {
          const first = (c * height + top + y) * width + left;
          part.set(map.subarray(first, first + w), (c * h + y) * w);
        }
      }
      const { enlarged: drawn } = await run("sr_draw", {
        image: imageTensor(cut(image, top, left, bottom, right)),
        features: tensor(part, [1, channels, h, w]),
        dial: weights(),
      });
      for (let plane = 0; plane < 3; plane++) {
        for (let y = 4 * rows[0]; y < 4 * rows[1]; y++) {
          const first = (plane * 4 * h + y - 4 * top) * 4 * w + 4 * (columns[0] - left);
          enlarged.data.set(
            drawn.data.subarray(first, first + 4 * (columns[1] - columns[0])),
            (plane * 4 * height + y) * 4 * width + 4 * columns[0],
          );
        }
      }
      await report(LOOKED + ((1 - LOOKED) * (index + 1)) / all.length);
    }
    return { enlarged: clamp(enlarged), bicubic: clamp(imresize(image, { scale: 4 })) };
  }

  return { enlarge, load, measure, start };
});
