/* Two images of one size under a wiper: left of the line the first, right of it the second. */
DSDTry.part("wiper", function (use) {
  "use strict";
  const { el } = use("elements");
  const { draw } = use("pixels");

  function wiper(title) {
    const first = el("canvas", { role: "img" });
    const second = el("canvas", { role: "img" });
    const line = el("div", { class: "dsd-try-line", "aria-hidden": "true" });
    const stage = el("div", { class: "dsd-try-stage" }, second, first, line);
    const names = [el("span"), el("span")];
    const range = el("input", {
      type: "range",
      min: 0,
      max: 100,
      value: 50,
      "aria-label": title,
      oninput: () => place(Number(range.value)),
    });
    const captions = el("div", { class: "dsd-try-sides" }, ...names);
    const figure = el("figure", { class: "dsd-try-wiper" }, captions, stage, range);

    function place(share) {
      range.value = share;
      first.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
      line.style.left = `${share}%`;
      const [a, b] = names.map((name) => name.textContent);
      range.setAttribute("aria-valuetext", `${share}% ${a}, ${100 - share}% ${b}`);
    }

    function follow(event) {
      if (figure.classList.contains("single")) return;
      const box = stage.getBoundingClientRect();
      place(Math.round(100 * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width))));
    }
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      follow(event);
    });
    stage.addEventListener("pointermove", (event) => {
      if (event.buttons) follow(event);
    });

    /** Show `a` and `b`, each {image, label}; `b` may be missing. */
    function show(a, b = null, zoom = 1) {
      figure.classList.toggle("single", b === null);
      [
        [first, names[0], a],
        [second, names[1], b],
      ].forEach(([canvas, name, side]) => {
        name.textContent = side?.label ?? "";
        canvas.setAttribute("aria-label", side?.label ?? "");
        canvas.hidden = side === null;
        if (side) draw(canvas, side.image);
      });
      stage.style.width = `${zoom * a.image.width}px`;
      stage.style.aspectRatio = `${a.image.width} / ${a.image.height}`;
      stage.classList.toggle("zoomed", zoom > 1);
      if (b === null) first.style.clipPath = "none";
      else place(Number(range.value));
    }

    return { figure, show };
  }

  return { wiper };
});
