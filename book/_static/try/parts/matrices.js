/* The Gram matrices of the image at both scales and their difference, the DSD, as heat maps. */
DSDTry.part("matrices", function (use) {
  "use strict";
  const { choice, el, number, section } = use("elements");
  const { LAYERS } = use("descriptor");

  const SIDE = 256; // pixels of a heat map
  const MOST = 64; // channels shown unless all are asked for
  // From dark to bright; the difference from blue over gray to green, which is more than below.
  const SEQUENTIAL = ["#0b1d2a", "#0b4f6c", "#1f8a8c", "#7fc8a0", "#f7f3c6"];
  const DIVERGING = ["#08519c", "#6baed6", "#f4f4f2", "#5cc79f", "#00684c"];

  const stops = (colors) =>
    colors.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  const scales = { sequential: stops(SEQUENTIAL), diverging: stops(DIVERGING) };

  /** The color at `t` in [0, 1]. */
  function color(scale, t) {
    const place = Math.min(1, Math.max(0, t)) * (scale.length - 1);
    const first = Math.min(scale.length - 2, Math.floor(place));
    return scale[first].map((v, i) => v + (place - first) * (scale[first + 1][i] - v));
  }

  function matrices(reference, { layer = "relu2_1", alpha = 2, alphas }) {
    let grams = null;
    let limits = {}; // layer -> value at the end of the color scale, from the image without sliders
    let order = [];
    let cell = [0, 0];
    let many = "most";
    const maps = ["G(x)", "G(x↓α)", "DSD = G(x) − G(x↓α)"].map((title) => {
      const canvas = el("canvas", {
        width: SIDE,
        height: SIDE,
        tabindex: 0,
        role: "img",
        "aria-label": title,
      });
      return { title, canvas, caption: el("figcaption", {}, title) };
    });
    const readout = el("p", { class: "dsd-try-readout", role: "status" });

    function entry(name, i, j) {
      const size = Math.sqrt(grams[1][layer].length);
      const at = order[i] * size + order[j];
      const [fine, coarse] = [grams[1][layer][at], grams[alpha][layer][at]];
      return { fine, coarse, difference: fine - coarse }[name];
    }

    function paint() {
      const size = Math.sqrt(grams[1][layer].length);
      const shown = many === "all" ? size : Math.min(size, MOST);
      // Channels in the order of their strength, so that what is strong is at the upper left.
      order = Array.from({ length: size }, (_, c) => c).sort(
        (a, b) => limits[layer].strength[b] - limits[layer].strength[a],
      );
      order.length = shown;
      const side = SIDE / shown;
      maps.forEach(({ canvas }, which) => {
        const bytes = new ImageData(SIDE, SIDE);
        for (let y = 0; y < SIDE; y++) {
          for (let x = 0; x < SIDE; x++) {
            const [i, j] = [Math.floor(y / side), Math.floor(x / side)];
            const rgb =
              which < 2
                ? // The square root of the values, or only the strongest channels would be seen.
                  color(
                    scales.sequential,
                    Math.sqrt(entry(which ? "coarse" : "fine", i, j) / limits[layer].gram),
                  )
                : color(
                    scales.diverging,
                    0.5 + 0.5 * root(entry("difference", i, j) / limits[layer].difference[alpha]),
                  );
            bytes.data.set([...rgb, 255], 4 * (y * SIDE + x));
          }
        }
        canvas.getContext("2d").putImageData(bytes, 0, 0);
      });
      cell = cell.map((i) => Math.min(i, shown - 1));
      maps[1].caption.textContent = `G(x↓${alpha})`;
      maps[2].caption.textContent = `DSD = G(x) − G(x↓${alpha})`;
      maps.forEach(({ canvas, caption }) => {
        canvas.setAttribute(
          "aria-label",
          `${caption.textContent} at ${layer}, ${shown} of ${size} channels; use the arrow keys to move between cells`,
        );
      });
      tell();
    }

    const root = (t) => Math.sign(t) * Math.sqrt(Math.abs(t));

    function tell() {
      const [i, j] = cell;
      const [fine, coarse, difference] = ["fine", "coarse", "difference"].map((name) =>
        number(entry(name, i, j)),
      );
      readout.textContent =
        `Channels ${order[i]} and ${order[j]} of ${layer}: G(x) = ${fine}, ` +
        `G(x↓${alpha}) = ${coarse}, DSD = ${difference}`;
    }

    maps.forEach(({ canvas }) => {
      canvas.addEventListener("pointermove", ({ clientX, clientY }) => {
        if (!grams) return;
        const box = canvas.getBoundingClientRect();
        const place = [(clientY - box.top) / box.height, (clientX - box.left) / box.width];
        cell = place.map((t) =>
          Math.min(order.length - 1, Math.max(0, Math.floor(t * order.length))),
        );
        tell();
      });
      canvas.addEventListener("keydown", (event) => {
        const moves = {
          ArrowUp: [-1, 0],
          ArrowDown: [1, 0],
          ArrowLeft: [0, -1],
          ArrowRight: [0, 1],
        };
        const move = moves[event.key];
        if (!grams || !move) return;
        event.preventDefault();
        cell = cell.map((i, k) => Math.min(order.length - 1, Math.max(0, i + move[k])));
        tell();
      });
    });

    const pick = (set) => (value) => {
      set(value);
      if (grams) paint();
    };
    const named = (values, label) => Object.fromEntries(values.map((v) => [v, label(v)]));
    const element = section(
      "matrices",
      "Gram matrices at the two scales, and their difference",
      el(
        "div",
        { class: "dsd-try-choices" },
        choice(
          "Layer",
          named(LAYERS, (l) => l),
          layer,
          pick((value) => (layer = value)),
        ),
        choice(
          "α",
          named(alphas, String),
          alpha,
          pick((value) => (alpha = Number(value))),
        ),
        choice(
          "Channels",
          { most: `${MOST} strongest`, all: "all" },
          many,
          pick((value) => (many = value)),
        ),
      ),
      el(
        "div",
        { class: "dsd-try-maps" },
        ...maps.map(({ canvas, caption }) => el("figure", {}, canvas, caption)),
      ),
      readout,
      el(
        "p",
        { class: "dsd-try-note" },
        "Each cell is one pair of channels and shows how strongly they are active together. Bright ",
        "means strong; in the difference, green means more at full size and blue more in the small ",
        "image. The color scale is always that of the image without the sliders.",
      ),
    );

    function setLimits(original) {
      limits = Object.fromEntries(
        LAYERS.map((l) => {
          const fine = original[1][l];
          const size = Math.sqrt(fine.length);
          const strength = Array.from({ length: size }, (_, c) => fine[c * size + c]);
          const difference = Object.fromEntries(
            alphas.map((a) => {
              const gaps = fine.map((v, i) => Math.abs(v - original[a][l][i])).sort();
              return [a, gaps[Math.floor(0.999 * (gaps.length - 1))] || 1e-6];
            }),
          );
          const sorted = fine.slice().sort();
          return [
            l,
            { strength, difference, gram: sorted[Math.floor(0.999 * (sorted.length - 1))] || 1e-6 },
          ];
        }),
      );
    }

    return {
      element,
      show(current, original) {
        grams = current;
        setLimits(original);
        paint();
      },
    };
  }

  return { matrices };
});
