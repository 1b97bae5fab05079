// Panels: each image opens large by click, Enter or space.
function setUp(box) {
  const images = Array.from(box.querySelectorAll("img"));
  const labels = images.map((image) => image.closest("figure").querySelector("figcaption").innerText);
  images.forEach((image, index) => {
    openByButton(image, () => openLarge(box, images, labels, index));
  });
  onWidth(box, images, (room) => images.forEach((image) => setZoom(image, room)));
}
