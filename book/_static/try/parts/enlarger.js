/* ×4: bicubic interpolation against the networks of the dial, under a wiper. */
DSDTry.part("enlarger", function (use) {
  "use strict";
  const { choice, el, section, unique } = use("elements");
  const { wiper } = use("wiper");
  const { cut } = use("pixels");
  const engine = use("engine");

  const LONGEST = 128; // pixels of the small image: three to five seconds on one thread

  /** `busy` runs a job with progress and cancel; `current` gives the image. */
  function enlarger({ busy, current, dial = 1 }) {
    let way = "shrink";
    let shown = false;
    let zoom = 1;
    const figure = wiper("Bicubic on the left, the network on the right");
    figure.figure.hidden = true;
    const words = el("p", { role: "status", class: "dsd-try-readout" });
    const id = unique("dial");
    const output = el("output", { for: id });
    const range = el("input", {
      type: "range",
      id,
      min: 0,
      max: 1,
      step: 0.25,
      value: dial,
      oninput: () => {
        tell();
        if (shown) run();
      },
    });
    function tell() {
      const t = Number(range.value);
      const text = t === 0 ? "L1: faithful" : t === 1 ? "DSD: natural" : `${100 * t}% DSD`;
      output.textContent = text;
      range.setAttribute("aria-valuetext", text);
    }
    tell();
    const button = el("button", { type: "button", class: "primary", onclick: run }, "Enlarge ×4");

    async function small() {
      const image = current();
      if (way === "shrink") {
        const sides = { height: image.height & ~3, width: image.width & ~3 };
        const original = cut(image, 0, 0, sides.height, sides.width);
        return { original, input: await engine.resize(original, { scale: 1 / 4 }) };
      }
      const height = Math.min(LONGEST, image.height);
      const width = Math.min(LONGEST, image.width);
      const [top, left] = [(image.height - height) >> 1, (image.width - width) >> 1];
      return { input: cut(image, top, left, top + height, left + width) };
    }

    async function run() {
      const { input, original } = await small();
      const stored = input.data.map((v) => Math.round(255 * Math.min(1, Math.max(0, v))) / 255);
      const result = await busy("Enlarging", (how) =>
        engine.enlarge({ ...input, data: stored }, Number(range.value), how),
      );
      if (!result) return;
      shown = true;
      last = { ...result, original, input };
      show();
      figure.figure.hidden = false;
    }

    let last = null;
    function show() {
      const { bicubic, enlarged } = last;
      figure.show(
        { image: bicubic, label: "bicubic" },
        { image: enlarged, label: `network, ${output.textContent}` },
        zoom,
      );
      const size = `${last.input.width}×${last.input.height} → ${enlarged.width}×${enlarged.height}.`;
      words.textContent = last.original
        ? `${size} PSNR against the original: bicubic ${psnr(bicubic, last.original)} dB, ` +
          `network ${psnr(enlarged, last.original)} dB.`
        : size;
    }

    function psnr(a, b) {
      let sum = 0;
      for (let i = 0; i < a.data.length; i++) sum += (a.data[i] - b.data[i]) ** 2;
      return (-10 * Math.log10(sum / a.data.length)).toFixed(2);
    }

    const element = section(
      "enlarger",
      "Super-resolution ×4",
      el(
        "div",
        { class: "dsd-try-choices" },
        choice(
          "Input",
          { shrink: "the image shrunk by 4", part: `its central ${LONGEST} pixels` },
          way,
          (value) => (way = value),
        ),
        choice("Zoom", { 1: "1×", 2: "2×" }, 1, (value) => {
          zoom = Number(value);
          if (last) show();
        }),
      ),
      el("div", { class: "dsd-try-dial" }, el("label", { for: id }, "Dial"), range, output, button),
      figure.figure,
      words,
    );
    return {
      element,
      reset() {
        shown = false;
        last = null;
        figure.figure.hidden = true;
        words.textContent = "";
      },
    };
  }

  return { enlarger };
});
