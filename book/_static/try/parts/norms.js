/* ‖DSD_α‖₁ at each layer as bars, among the photos of BSDS500. */
DSDTry.part("norms", function (use) {
  "use strict";
  const { el, number, section } = use("elements");
  const { LAYERS, percentile } = use("descriptor");

  /** The table for one α. */
  function table(alpha, reference) {
    const known = reference.norms[alpha]; // layer -> percentiles 0 to 100
    const rows = LAYERS.map((layer) => {
      const parts = Object.fromEntries(
        ["usual", "median", "bar", "before", "expected"].map((n) => [n, el("i", { class: n })]),
      );
      const track = el("div", { class: "dsd-try-bar" }, ...Object.values(parts));
      const cells = [el("td", {}, track), el("td", {}, "–"), el("td", {}, "–")];
      return {
        layer,
        parts,
        cells,
        row: el("tr", {}, el("th", { scope: "row" }, layer), ...cells),
      };
    });
    const head = ["Layer", "‖DSD‖₁", "Value", "Percentile"].map((text) =>
      el("th", { scope: "col" }, text),
    );
    const element = el(
      "table",
      { class: "dsd-try-norms" },
      el("caption", {}, `α = ${alpha}, compared with the image at 1/${alpha} of its size`),
      el("thead", {}, el("tr", {}, ...head)),
      el("tbody", {}, ...rows.map(({ row }) => row)),
    );

    /** `before` are the norms without the sliders, `expected` those of ψ; both may be missing. */
    function show(measured, before, expected) {
      const largest = LAYERS.flatMap((layer, i) => [known[i][99], measured[layer]]);
      const end = 1.04 * Math.max(...largest);
      const at = (value) => `${(100 * value) / end}%`;
      rows.forEach(({ layer, parts, cells }, i) => {
        parts.usual.style.left = at(known[i][5]);
        parts.usual.style.width = at(known[i][95] - known[i][5]);
        parts.median.style.left = at(known[i][50]);
        parts.bar.style.width = at(measured[layer]);
        parts.before.hidden = !before;
        if (before) parts.before.style.width = at(before[layer]);
        parts.expected.hidden = !expected;
        if (expected) parts.expected.style.left = at(Math.min(end, expected[layer]));
        cells[1].textContent = number(measured[layer]);
        cells[2].textContent = Math.round(percentile(measured[layer], known[i]));
      });
    }
    return { element, show };
  }

  function norms(reference, alphas) {
    const tables = alphas.map((alpha) => [alpha, table(alpha, reference)]);
    const key = (name, text) =>
      el("span", {}, el("i", { class: name, "aria-hidden": "true" }), text);
    const keys = {
      before: key("before", "without the sliders"),
      expected: key("expected", "what ψ predicts"),
    };
    const element = section(
      "results",
      "Self-dissimilarity ‖DSD‖₁ at each layer",
      ...tables.map(([, { element: each }]) => each),
      el(
        "p",
        { class: "dsd-try-key" },
        key("bar", "this image"),
        key("usual", "90% of photos"),
        key("median", "their median"),
        keys.before,
        keys.expected,
      ),
      el(
        "p",
        { class: "dsd-try-note" },
        `Percentiles are relative to the ${reference.photos} photos of BSDS500.`,
      ),
    );
    function show(measured, before, expected) {
      keys.before.hidden = !before;
      keys.expected.hidden = Object.keys(expected).length === 0;
      for (const [alpha, { show: each }] of tables) {
        each(measured[alpha], before?.[alpha], expected[alpha]);
      }
    }
    return { element, show };
  }

  return { norms };
});
