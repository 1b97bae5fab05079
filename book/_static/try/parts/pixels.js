/* Images to and from a canvas: planes of floats in [0, 1] on our side, RGBA bytes on the canvas's. */
DSDTry.part("pixels", function () {
  "use strict";

  /** The image on a canvas's bytes (ImageData). */
  function fromBytes({ height, width, data }) {
    const size = height * width;
    const planes = new Float32Array(3 * size);
    for (let i = 0; i < size; i++) {
      for (let plane = 0; plane < 3; plane++) planes[plane * size + i] = data[4 * i + plane] / 255;
    }
    return { height, width, data: planes };
  }

  /** The bytes that show an image; values are limited to [0, 1] and rounded. */
  function toBytes({ height, width, data }) {
    const size = height * width;
    const bytes = new ImageData(width, height);
    for (let i = 0; i < size; i++) {
      for (let plane = 0; plane < 3; plane++) {
        bytes.data[4 * i + plane] = Math.round(255 * data[plane * size + i]);
      }
      bytes.data[4 * i + 3] = 255;
    }
    return bytes;
  }

  /** Draw an image on a canvas, which takes its size. */
  function draw(canvas, image) {
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").putImageData(toBytes(image), 0, 0);
  }

  /** A decoded bitmap as an image, on white where it is transparent. */
  function fromBitmap(bitmap, width = bitmap.width, height = bitmap.height) {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    return fromBytes(context.getImageData(0, 0, width, height));
  }

  /** The rectangle of an image from (top, left) to before (bottom, right). */
  function cut(image, top, left, bottom, right) {
    const height = bottom - top;
    const width = right - left;
    const data = new Float32Array(3 * height * width);
    for (let plane = 0; plane < 3; plane++) {
      for (let y = 0; y < height; y++) {
        const start = (plane * image.height + top + y) * image.width + left;
        data.set(image.data.subarray(start, start + width), (plane * height + y) * width);
      }
    }
    return { height, width, data };
  }

  return { cut, draw, fromBitmap, fromBytes, toBytes };
});
