/* The panel: an image, what spoils it, and what DSD says. Each view is a choice of sections. */
DSDTry.part("panel", function (use) {
  "use strict";
  const { el } = use("elements");
  const { chooser } = use("chooser");
  const { sliders } = use("sliders");
  const { norms } = use("norms");
  const { scores } = use("scores");
  const { matrices } = use("matrices");
  const { enlarger } = use("enlarger");
  const { wiper } = use("wiper");
  const { openFile, openPhoto } = use("open");
  const descriptor = use("descriptor");
  const engine = use("engine");

  const ALPHAS = [2, 4];
  const VIEWS = {
    all: ["norms", "scores", "matrices", "enlarger"],
    dsd: ["norms"],
    gram: ["matrices"],
    distance: ["scores", "norms"],
    naturalness: ["scores", "norms"],
    enlarge: ["enlarger"],
  };
  const WAIT = 250; // milliseconds after a slider's last move

  async function open(place, options) {
    const sections = VIEWS[options.view ?? "all"];
    if (!sections) throw new Error(`Unknown view ${options.view}.`);
    const fallback = [...place.children];
    const panel = build(sections, options, await engine.settings());
    fallback.forEach((child) => (child.hidden = true));
    place.append(panel);
    panel.querySelector("input").focus({ preventScroll: true });
  }

  function build(sections, options, reference) {
    const measures = sections.some((name) => name !== "enlarger");
    const state = { original: null, current: null, before: null, now: null };
    let psi = options.view === "naturalness" ? [options.alpha ?? 4] : [];
    let job = null; // what cancels the running one
    let timer = null;

    // What is said while it works.
    const words = el("span", { role: "status" });
    const bar = el("progress", { max: 1, value: 0, "aria-label": "Progress", hidden: true });
    const cancel = el(
      "button",
      { type: "button", hidden: true, onclick: () => job?.abort("asked") },
      "Cancel",
    );
    const status = el("div", { class: "dsd-try-status" }, words, bar, cancel);

    /** Run a job; a newer one, or the cancel button, ends it. undefined if it did not finish. */
    async function busy(what, work) {
      job?.abort();
      const mine = (job = new AbortController());
      const began = performance.now();
      words.textContent = engine.isLoaded() ? `${what}…` : "Loading the networks…";
      bar.removeAttribute("value");
      bar.hidden = cancel.hidden = false;
      panel.setAttribute("aria-busy", "true");
      try {
        const stopped = new Promise((_, reject) => {
          mine.signal.addEventListener("abort", () => reject(new engine.Canceled("canceled")));
        });
        const progress = (share) => {
          bar.value = share;
          if (words.textContent !== `${what}…`) words.textContent = `${what}…`;
        };
        const result = await Promise.race([work({ signal: mine.signal, progress }), stopped]);
        words.textContent = `Done in ${((performance.now() - began) / 1000).toFixed(1)} s.`;
        return result;
      } catch (error) {
        if (mine === job) {
          words.textContent = mine.signal.aborted ? "Canceled." : error.message;
          words.classList.toggle("failed", !mine.signal.aborted);
        }
        return undefined;
      } finally {
        if (mine === job) {
          bar.hidden = cancel.hidden = true;
          panel.removeAttribute("aria-busy");
        }
      }
    }

    const pictures = wiper("How much of the original is shown");
    const spoil = sliders(options.set ?? {}, () => {
      job?.abort();
      clearTimeout(timer);
      timer = setTimeout(measure, WAIT);
      preview();
    });

    let turn = 0;
    async function preview() {
      if (!state.original) return;
      const mine = ++turn;
      const image = await engine.distort(state.original, spoil.values());
      if (mine !== turn) return;
      state.current = image;
      const original = { image: state.original, label: "original" };
      const name = { image: state.original, label: state.name };
      if (spoil.neutral()) pictures.show(name);
      else pictures.show(original, { image, label: "with the sliders" });
    }

    const parts = {
      norms: () => norms(reference, ALPHAS),
      matrices: () =>
        matrices(reference, { layer: options.layer, alpha: options.alpha, alphas: ALPHAS }),
      scores: () =>
        scores(reference, {
          distance: options.view !== "naturalness",
          natural: options.view !== "distance",
          alpha: psi[0] ?? 0,
          ask(alpha) {
            psi = alpha ? [alpha] : [];
            measure();
          },
        }),
      enlarger: () =>
        enlarger({
          busy,
          current: () => state.current,
          dial: options.dial,
        }),
    };
    const made = Object.fromEntries(sections.map((name) => [name, parts[name]()]));

    /** What is measured of an image, and ‖DSD‖ from it. */
    async function measureImage(image, how) {
      const found = await engine.measure(image, { alphas: ALPHAS, psi, ...how });
      const each = (alpha) => [alpha, descriptor.norms(found.grams, alpha)];
      return { ...found, measured: Object.fromEntries(ALPHAS.map(each)) };
    }

    async function measure() {
      if (!state.original || !measures) return;
      await preview();
      const started = state.original;
      const found = await busy("Measuring", async (how) => {
        // The original is measured once, without the sliders, and again when ψ is asked of it.
        const asked = psi.every((alpha) => alpha in (state.before?.expected ?? {}));
        if (!state.before || (spoil.neutral() && !asked)) {
          const before = await measureImage(started, how);
          if (state.original === started) state.before = before;
        }
        if (spoil.neutral()) return state.before;
        return measureImage(state.current, how);
      });
      if (!found || state.original !== started) return;
      state.now = found;
      const before = spoil.neutral() ? null : state.before.measured;
      made.norms?.show(found.measured, before, found.expected);
      made.scores?.show(found, state.before);
      made.matrices?.show(found.grams, state.before.grams);
      const rank = descriptor.percentile(found.measured[2].relu3_1, reference.norms[2][3]);
      words.textContent +=
        ` More self-dissimilar at relu3_1 (α = 2) than ${Math.round(rank)}% of ` +
        `${reference.photos} photos.`;
      panel.dispatchEvent(new CustomEvent("dsd-try-measured", { detail: { ...found, state } }));
    }

    let taken = 0;
    async function take(opening) {
      const mine = ++taken; // an image chosen later wins, even if it opens sooner
      job?.abort();
      words.classList.remove("failed");
      words.textContent = "Opening…";
      try {
        const { image, notes, name } = await opening;
        if (mine !== taken) return;
        Object.assign(state, { original: image, current: image, before: null, now: null });
        state.name = name;
        made.enlarger?.reset();
        notice.textContent = notes.length ? `Your image is ${notes.join("; ")}.` : "";
        await preview();
        words.textContent = "";
        await measure();
      } catch (error) {
        if (mine !== taken) return;
        words.classList.add("failed");
        words.textContent = error.message;
      }
    }

    const notice = el("p", { class: "dsd-try-note", role: "status" });
    const panel = el("div", { class: "dsd-try", role: "group", "aria-label": "Try it live" });
    const start = options.image ?? "coffee";
    const photo = (name) => openPhoto(name).then((opened) => ({ ...opened, name }));
    panel.append(
      chooser(panel, {
        chosen: start,
        choose: (name) => take(photo(name)),
        receive: (file) =>
          take(openFile(file).then((opened) => ({ ...opened, name: "your image" }))),
      }),
      notice,
      el("div", { class: "dsd-try-bench" }, pictures.figure, spoil.element),
      ...sections.map((name) => made[name].element),
      status,
    );
    take(photo(start));
    return panel;
  }

  return { open };
});
