/* A file of the reader's as an image, with what they should know about it, or a clear message. */
DSDTry.part("open", function (use) {
  "use strict";
  const engine = use("engine");

  const LONGEST = 481; // pixels: the longer side of BSDS500's photos, which we compare with
  const SHORTEST = 13; // pixels: a quarter of it still reaches relu3_1

  const ascii = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));

  /** What the first bytes say: {kind, animated, deep}, or null where they are no image's. */
  function sniff(bytes) {
    const head = ascii(bytes, 0, 16);
    if (head.startsWith("\x89PNG\r\n\x1a\n")) {
      const chunks = ascii(bytes, 8, Math.min(bytes.length, 4096));
      return { kind: "PNG", animated: chunks.includes("acTL"), deep: bytes[24] === 16 };
    }
    if (head.startsWith("\xff\xd8\xff")) return { kind: "JPEG" };
    if (/^GIF8[79]a/.test(head)) return { kind: "GIF", animated: gifFrames(bytes) > 1 };
    if (/^RIFF....WEBP/s.test(head)) {
      return { kind: "WebP", animated: ascii(bytes, 12, 48).includes("ANIM") };
    }
    if (/^....ftyp(avif|avis)/s.test(head)) {
      return { kind: "AVIF", animated: head.includes("avis") };
    }
    if (/^....ftyp(hei|mif1|msf1)/s.test(head)) return { kind: "HEIC" };
    if (head.startsWith("II*\0") || head.startsWith("MM\0*")) return { kind: "TIFF" };
    if (head.startsWith("BM")) return { kind: "BMP" };
    return null;
  }

  /** Images in a GIF, counted up to two. */
  function gifFrames(bytes) {
    const table = (packed) => (packed & 0x80 ? 3 * 2 ** ((packed & 7) + 1) : 0);
    const skipBlocks = (at) => {
      while (bytes[at] > 0) at += bytes[at] + 1;
      return at + 1;
    };
    let at = 13 + table(bytes[10]);
    let frames = 0;
    while (at < bytes.length && frames < 2) {
      if (bytes[at] === 0x21) at = skipBlocks(at + 2);
      else if (bytes[at] === 0x2c) {
        frames++;
        at = skipBlocks(at + 11 + table(bytes[at + 9]));
      } else break;
    }
    return frames;
  }

  async function decode(blob, name) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const found = sniff(bytes);
    if (found === null) {
      throw new Error(
        `${name} is not an image: expected PNG, JPEG, WebP, GIF, AVIF or BMP, ` +
          `got ${bytes.length ? "another kind of file" : "an empty file"}.`,
      );
    }
    try {
      const how = { colorSpaceConversion: "none", imageOrientation: "from-image" };
      return [found, await createImageBitmap(blob, how)];
    } catch {
      throw new Error(
        `${name} could not be read: this browser does not open this ${found.kind} file, ` +
          "or the file is damaged. Save it as PNG or JPEG and try again.",
      );
    }
  }

  /** {image, notes}: at most 481 pixels on the longer side. Throws an Error for the reader. */
  async function openFile(blob, name = blob.name || "The image") {
    const [found, bitmap] = await decode(blob, name);
    const { width, height } = bitmap;
    if (Math.min(width, height) < SHORTEST) {
      bitmap.close();
      throw new Error(
        `${name} is too small: expected sides of at least ${SHORTEST} pixels, ` +
          `got ${width}×${height}.`,
      );
    }
    if (Math.min(width, height) * LONGEST < SHORTEST * Math.max(width, height)) {
      bitmap.close();
      throw new Error(
        `${name} is too narrow: scaled to ${LONGEST} pixels, its shorter side would be below ` +
          `${SHORTEST}; got ${width}×${height}.`,
      );
    }
    const image = await engine.open(bitmap, LONGEST);
    const notes = [];
    if (image.width !== width) {
      notes.push(`scaled from ${width}×${height} to ${image.width}×${image.height} pixels`);
    }
    if (found.animated) notes.push("animated (this is its first frame)");
    if (found.deep) notes.push("16 bits per channel (browsers read 8 of them)");
    return { image, notes };
  }

  /** One of the book's images, bit for bit. */
  async function openPhoto(name) {
    const binary = atob(await DSDTry.asset(`photos/${name}`));
    const bytes = Uint8Array.from(binary, (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return openFile(await new Response(stream).blob(), name);
  }

  return { LONGEST, openFile, openPhoto };
});
