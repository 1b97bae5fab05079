// Images at whole numbers of screen pixels, and a dialog that shows one large.

// The zoom that was asked for, or the largest below it that fits: each pixel of the image is the
// same number of pixels of the screen. 0 where not even one fits.
function zoomThatFits(image, zoom, room) {
  const density = window.devicePixelRatio || 1;
  return Math.floor(Math.min(zoom, room / image.naturalWidth) * density) / density;
}

function setZoom(image, room) {
  const zoom = zoomThatFits(image, Number(image.dataset.zoom), room);
  image.style.width = zoom ? `${image.naturalWidth * zoom}px` : "100%";
}

// Calls back once the images are decoded and whenever the width of the box changes.
function onWidth(box, images, callback) {
  Promise.all(images.map((image) => image.decode().catch(() => {}))).then(() => {
    let width = 0;
    new ResizeObserver(() => {
      if (box.clientWidth === width) return;
      width = box.clientWidth;
      callback(width);
    }).observe(box);
  });
}

// Puts an image into a button that opens it.
function openByButton(image, open) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "dsd-open";
  button.title = "Open large";
  button.setAttribute("aria-haspopup", "dialog");
  image.replaceWith(button);
  button.append(image);
  button.addEventListener("click", open);
}

// Opens images one at a time over the page; arrow keys change them in place, Escape closes.
function openLarge(box, images, labels, first) {
  const dialog = document.createElement("dialog");
  dialog.className = "dsd-large";
  dialog.setAttribute("aria-label", "Enlarged image");
  dialog.innerHTML =
    '<div class="dsd-view" tabindex="0" role="group" aria-label="Image"><img alt=""></div>' +
    '<div class="dsd-bar">' +
    '<button type="button" aria-label="Previous image">←</button><p aria-live="polite"></p>' +
    '<button type="button" aria-label="Next image">→</button>' +
    '<button type="button" aria-label="Close">✕</button></div>';
  const view = dialog.querySelector(".dsd-view");
  const large = view.querySelector("img");
  const [previous, next, close] = dialog.querySelectorAll("button");
  let shown = first;

  function show(index) {
    shown = (index + images.length) % images.length;
    const image = images[shown];
    const fits = Math.min(
      view.clientWidth / image.naturalWidth,
      view.clientHeight / image.naturalHeight,
    );
    const density = window.devicePixelRatio || 1;
    const zoom = Math.max(Math.floor(fits * density), Math.ceil(image.dataset.zoom * density));
    large.src = image.src;
    large.alt = image.alt;
    large.style.width = `${(image.naturalWidth * zoom) / density}px`;
    const count = images.length > 1 ? ` (${shown + 1} of ${images.length})` : "";
    dialog.querySelector("p").textContent = labels[shown] + count;
  }

  previous.hidden = next.hidden = images.length < 2;
  previous.addEventListener("click", () => show(shown - 1));
  next.addEventListener("click", () => show(shown + 1));
  close.addEventListener("click", () => dialog.close());
  large.addEventListener("click", () => show(shown + 1));
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(shown + step);
  });
  const again = () => show(shown);
  window.addEventListener("resize", again);
  dialog.addEventListener("close", () => {
    window.removeEventListener("resize", again);
    dialog.remove();
  });
  box.append(dialog);
  dialog.showModal();
  show(first);
  close.focus();
}
