/* The worker's desk: takes tasks one by one, reports progress, and drops a task that is canceled. */
DSDTry.part("worker", function (use) {
  "use strict";
  const { imresize } = use("resize");
  const { fromBitmap } = use("pixels");
  const { distort } = use("distort");
  const networks = use("networks");

  const CANVAS = 16e6; // pixels; larger ones fail on some phones
  const canceled = new Set();
  let queue = Promise.resolve();

  const tasks = {
    /** A decoded bitmap as an image whose longer side is at most `longest`. */
    open({ bitmap, longest }) {
      const { width, height } = bitmap;
      const shrink = Math.min(1, Math.sqrt(CANVAS / (width * height)));
      const sides = [width, height].map((side) => Math.max(1, Math.round(shrink * side)));
      const image = fromBitmap(bitmap, ...sides);
      bitmap.close();
      const ratio = longest / Math.max(...sides);
      if (ratio >= 1) return image;
      const [w, h] = sides.map((side) => Math.max(1, Math.round(side * ratio)));
      const small = imresize(image, { width: w, height: h });
      small.data.forEach((v, i) => (small.data[i] = Math.round(255 * v) / 255)); // as files hold it
      return use("resize").clamp(small);
    },

    distort: ({ image, settings }) => distort(image, settings),

    async start({ script, loader, wasm }) {
      const text = async (packed) => new TextDecoder().decode(await unpack(packed));
      return networks.start(await text(script), await text(loader), await unpack(wasm));
    },

    load: async ({ name, model }) => networks.load(name, await unpack(model)),
    measure: networks.measure,
    enlarge: networks.enlarge,
    resize: ({ image, ...how }) => imresize(image, how),
  };

  /** The bytes behind gzip in base64. */
  async function unpack(packed) {
    const binary = atob(packed);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  async function perform({ id, task, payload }) {
    const report = async (progress) => {
      self.postMessage({ id, progress });
      await new Promise((resolve) => setTimeout(resolve)); // lets a cancel message in
      if (canceled.has(id)) throw new Error("canceled");
    };
    try {
      await new Promise((resolve) => setTimeout(resolve));
      if (canceled.has(id)) throw new Error("canceled");
      const result = await tasks[task](payload, report);
      self.postMessage({ id, result });
    } catch (error) {
      self.postMessage({ id, error: error.message || String(error) });
    }
    canceled.delete(id);
  }

  self.onmessage = ({ data }) => {
    if ("cancel" in data) canceled.add(data.cancel);
    else queue = queue.then(() => perform(data));
  };
  return {};
});
