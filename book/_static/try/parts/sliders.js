/* The sliders that spoil the image, each neutral at its start. */
DSDTry.part("sliders", function (use) {
  "use strict";
  const { el, unique } = use("elements");

  const SLIDERS = {
    blur: { label: "Blur", min: 0, max: 5, step: 0.1, neutral: 0, say: (v) => `σ = ${v} px` },
    noise: { label: "Noise", min: 0, max: 50, step: 1, neutral: 0, say: (v) => `σ = ${v}/255` },
    jpeg: {
      label: "JPEG",
      min: 2,
      max: 100,
      step: 1,
      neutral: 100,
      reversed: true,
      say: (v) => (v === 100 ? "off" : `quality ${v}`),
    },
    scale: { label: "Scale", min: 1, max: 8, step: 0.5, neutral: 1, say: (v) => `↓${v} and back` },
    brightness: { label: "Brightness", min: 0.3, max: 1.7, step: 0.05, neutral: 1 },
    contrast: { label: "Contrast", min: 0.1, max: 2, step: 0.05, neutral: 1 },
  };

  function sliders(start, change) {
    const rows = Object.entries(SLIDERS).map(([name, slider]) => {
      const { label, min, max, step, neutral, say, reversed } = slider;
      const id = unique(name);
      const output = el("output", { for: id });
      // A slider always spoils more to the right: JPEG's quality counts down.
      const turn = (value) => (reversed ? min + max - value : value);
      const input = el("input", { type: "range", id, min, max, step, "data-slider": name });
      const value = () => Number(turn(Number(input.value)).toFixed(2));
      const tell = () => {
        const text = value() === neutral ? "off" : (say?.(value()) ?? `× ${value()}`);
        output.textContent = text;
        input.setAttribute("aria-valuetext", text);
      };
      const set = (wanted) => {
        input.value = turn(wanted);
        tell();
      };
      input.addEventListener("input", () => {
        tell();
        change();
      });
      set(start[name] ?? neutral);
      return { name, neutral, value, set, row: [el("label", { for: id }, label), input, output] };
    });
    const reset = el(
      "button",
      {
        type: "button",
        onclick: () => {
          rows.forEach(({ set, neutral }) => set(neutral));
          change();
        },
      },
      "Undo all",
    );
    return {
      element: el(
        "fieldset",
        { class: "dsd-try-sliders" },
        el("legend", {}, "Damage it"),
        ...rows.flatMap(({ row }) => row),
        reset,
      ),
      values: () => Object.fromEntries(rows.map(({ name, value }) => [name, value()])),
      neutral: () => rows.every(({ value, neutral }) => value() === neutral),
    };
  }

  return { sliders };
});
