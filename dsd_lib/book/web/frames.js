// The slider chooses the frame.
function setUp(box) {
  const image = box.querySelector("img");
  const caption = box.querySelector("figcaption");
  const slider = box.querySelector("input");
  const { sources, order, labels, alts } = JSON.parse(
    box.querySelector('script[type="application/json"]').textContent,
  );
  const stored = sources.map((source) => source || image.src);
  const frames = order.map((i) => stored[i]);

  slider.hidden = false;
  slider.addEventListener("input", () => {
    image.src = frames[slider.value];
    image.alt = alts[slider.value];
    caption.textContent = labels[slider.value];
    slider.setAttribute("aria-valuetext", labels[slider.value]);
  });

  openByButton(image, () => {
    const { naturalWidth, naturalHeight, dataset } = image;
    const all = frames.map((src, i) => {
      return { src, alt: alts[i], naturalWidth, naturalHeight, dataset };
    });
    openLarge(box, all, labels, Number(slider.value));
  });
  onWidth(box.querySelector("figure"), [image], (room) => setZoom(image, room));
}
