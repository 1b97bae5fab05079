// Points of a plane as radio buttons; the chosen one's image is beside the plot.
function setUp(box) {
  const plane = box.querySelector("svg");
  const image = box.querySelector("img");
  const caption = box.querySelector("figcaption");
  const marks = Array.from(plane.querySelectorAll("[data-point]"));
  const data = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
  const sources = data.sources.map((source) => source || image.src);
  let chosen = data.start;

  function choose(index) {
    marks.forEach((mark, i) => {
      mark.setAttribute("aria-checked", i === index);
      mark.setAttribute("tabindex", i === index ? 0 : -1);
      mark.querySelector(".ring").setAttribute("visibility", i === index ? "visible" : "hidden");
    });
    if (index === chosen) return;
    chosen = index;
    image.src = sources[index];
    image.alt = data.alts[index];
    caption.textContent = data.captions[index];
  }

  function nearest(event, reach) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(
      plane.getScreenCTM().inverse(),
    );
    let best = -1;
    let closest = reach;
    data.places.forEach(([x, y], i) => {
      const away = Math.hypot(x - at.x, y - at.y);
      if (away < closest) {
        best = i;
        closest = away;
      }
    });
    return best;
  }

  plane.setAttribute("role", "radiogroup");
  plane.addEventListener("pointermove", (event) => {
    const found = nearest(event, 30);
    if (found >= 0) choose(found);
  });
  plane.addEventListener("click", (event) => {
    const found = nearest(event, 60);
    if (found >= 0) marks[found].focus({ preventScroll: true });
  });
  marks.forEach((mark, i) => {
    mark.setAttribute("role", "radio");
    mark.addEventListener("focus", () => choose(i));
    mark.addEventListener("keydown", (event) => {
      const count = marks.length;
      const to = {
        ArrowRight: (i + 1) % count,
        ArrowDown: (i + 1) % count,
        ArrowLeft: (i + count - 1) % count,
        ArrowUp: (i + count - 1) % count,
        Home: 0,
        End: count - 1,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      marks[to].focus();
    });
  });

  openByButton(image, () => {
    const { naturalWidth, naturalHeight, dataset } = image;
    const all = sources.map((src, i) => {
      return { src, alt: data.alts[i], naturalWidth, naturalHeight, dataset };
    });
    openLarge(box, all, data.captions, chosen);
  });
  onWidth(box, [image], (room) => setZoom(image, room));
  choose(chosen);
}
