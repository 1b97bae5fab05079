/* The page's side of the workers: one for pixels, quick, and one for networks, which load when first
   needed. Both are made from the source of the parts, since file:// allows no worker from a file. */
DSDTry.part("engine", function () {
  "use strict";

  const PARTS = ["resize", "pixels", "distort", "descriptor", "networks", "worker"];
  const listeners = new Map(); // id -> {resolve, reject, progress}
  const loading = {};
  let count = 0;
  let workers = null;
  let loaded = false;

  class Canceled extends Error {}

  function source() {
    const makers = PARTS.map((name) => `${name}: ${DSDTry.makers[name]}`).join(",\n");
    return `const made = {}, makers = {${makers}};
      const use = (name) => (made[name] ??= makers[name](use));
      use("worker");`;
  }

  function start() {
    if (workers) return;
    const address = URL.createObjectURL(new Blob([source()], { type: "text/javascript" }));
    workers = { pixels: new Worker(address), networks: new Worker(address) };
    for (const worker of Object.values(workers)) {
      worker.onmessage = ({ data: { id, progress, result, error } }) => {
        const listener = listeners.get(id);
        if (!listener) return;
        if (progress !== undefined) return listener.progress?.(progress);
        listeners.delete(id);
        if (error === undefined) listener.resolve(result);
        else listener.reject(error === "canceled" ? new Canceled(error) : new Error(error));
      };
      worker.onerror = (event) => {
        event.preventDefault();
        for (const { reject } of listeners.values()) {
          reject(new Error(`The worker could not start: ${event.message}`));
        }
        listeners.clear();
      };
    }
  }

  /** Have a worker do a task. `signal` cancels it, `progress` is called with numbers up to 1. */
  function ask(worker, task, payload, { signal, progress, transfer } = {}) {
    start();
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new Canceled("canceled"));
      const id = ++count;
      listeners.set(id, { resolve, reject, progress });
      signal?.addEventListener("abort", () => {
        workers[worker].postMessage({ cancel: id });
        if (listeners.delete(id)) reject(new Canceled("canceled"));
      });
      workers[worker].postMessage({ id, task, payload }, transfer ?? []);
    });
  }

  /** What is fetched, once, whoever asks and however often; a failure may be tried again. */
  function once(name, load) {
    loading[name] ??= load();
    loading[name].catch(() => delete loading[name]);
    return loading[name];
  }

  const settings = () => once("reference", () => DSDTry.asset("models/reference"));

  const runtime = () =>
    once("runtime", async () => {
      const files = ["ort", "ort_loader", "ort_wasm"].map((f) => DSDTry.asset(`runtime/${f}`));
      const [script, loader, wasm] = await Promise.all(files);
      const threads = await ask("networks", "start", { script, loader, wasm });
      loaded = true;
      return threads;
    });

  const model = (name) =>
    once(name, async () => {
      const [packed] = await Promise.all([DSDTry.asset(`models/${name}`), runtime()]);
      return ask("networks", "load", { name, model: packed });
    });

  /** Gram matrices at full scale and at each x↓α; what ψ expects for the α in `psi`. */
  async function measure(image, { alphas = [2, 4], psi = [], ...how } = {}) {
    await Promise.all([model("dsd"), ...psi.map((alpha) => model(`psi_alpha${alpha}`))]);
    const payload = { image, alphas, psi, settings: await settings() };
    return ask("networks", "measure", payload, how);
  }

  /** The image ×4, by bicubic interpolation and by the networks. */
  async function enlarge(image, dial, how) {
    await Promise.all([model("sr_look"), model("sr_draw")]);
    return ask("networks", "enlarge", { image, dial, settings: await settings() }, how);
  }

  const distort = (image, settings, how) => ask("pixels", "distort", { image, settings }, how);
  const open = (bitmap, longest) =>
    ask("pixels", "open", { bitmap, longest }, { transfer: [bitmap] });
  const resize = (image, how) => ask("pixels", "resize", { image, ...how });

  const isLoaded = () => loaded;

  return { Canceled, distort, enlarge, isLoaded, measure, open, resize, runtime, settings };
});
