/* The live page's door. Every page of the book loads this file and nothing else of it: the rest
   comes when a reader asks for it, as scripts, because a page opened from a folder (file://) may
   load scripts but may not fetch. */
(function () {
  "use strict";

  const PARTS = [
    ...["resize", "pixels", "distort", "descriptor", "networks", "worker", "engine", "open"],
    ...[
      "elements",
      "wiper",
      "chooser",
      "sliders",
      "norms",
      "scores",
      "matrices",
      "enlarger",
      "panel",
    ],
  ];
  const base = document.currentScript.src.replace(/[^/]*$/, "");
  const makers = {}; // name -> function that makes a part; the worker gets its source
  const made = {};
  const delivered = {};
  const scripts = {};

  window.DSDTry = {
    makers,
    base,

    /** A part of the program: `make(use)` returns what it offers. */
    part(name, make) {
      makers[name] = make;
    },

    /** What a part offers. */
    use(name) {
      return (made[name] ??= makers[name](window.DSDTry.use));
    },

    /** Called by the files with models, images and percentiles. */
    deliver(name, content) {
      delivered[name] = content;
    },

    /** What a file of that name delivers, for instance `models/dsd`. */
    async asset(path) {
      await window.DSDTry.script(`${path}.js`);
      const name = path.replace(/.*\//, "");
      const content = delivered[name];
      delete delivered[name]; // kept once, by whoever asked
      delete scripts[`${path}.js`];
      return content;
    },

    /** Load a script once. */
    script(file) {
      return (scripts[file] ??= new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.onload = () => {
          script.remove();
          resolve();
        };
        script.onerror = () => {
          script.remove();
          delete scripts[file];
          reject(new Error(`The file ${file} could not be loaded.`));
        };
        script.src = base + file;
        document.head.append(script);
      }));
    },
  };

  function style() {
    return new Promise((resolve) => {
      const link = document.querySelector("link[data-dsd-try-style]");
      if (link) return resolve();
      const fresh = document.createElement("link");
      fresh.rel = "stylesheet";
      fresh.dataset.dsdTryStyle = "";
      fresh.onload = fresh.onerror = resolve;
      fresh.href = `${base}panel.css`;
      document.head.append(fresh);
    });
  }

  async function open(place, button) {
    button.disabled = true;
    button.textContent = "Loading…";
    try {
      await Promise.all([
        style(),
        ...PARTS.map((name) => window.DSDTry.script(`parts/${name}.js`)),
      ]);
      await window.DSDTry.use("panel").open(place, JSON.parse(place.dataset.dsdTry || "{}"));
      button.remove();
    } catch (error) {
      button.disabled = false;
      button.textContent = `${error.message} Try again`;
    }
  }

  function offer(place) {
    const old = typeof WebAssembly !== "object" || typeof DecompressionStream !== "function";
    if (old || typeof OffscreenCanvas !== "function") {
      const note = document.createElement("p");
      note.className = "dsd-try-missing";
      note.textContent =
        "The live version of this figure needs a browser with WebAssembly, from 2023 or later.";
      place.prepend(note);
      return;
    }
    const button = document.createElement("button");
    button.type = "button";
    button.className = "dsd-try-open";
    button.textContent = place.dataset.dsdTryLabel || "Try it live, on your own photo";
    button.addEventListener("click", () => open(place, button));
    place.prepend(button);
  }

  document.querySelectorAll("[data-dsd-try]").forEach(offer);
})();
