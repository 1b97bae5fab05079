/* Where the image comes from: one of the book's, or the reader's by button, drop or paste. */
DSDTry.part("chooser", function (use) {
  "use strict";
  const { el, unique } = use("elements");

  const PHOTOS = {
    coffee: "a cup of coffee",
    astronaut: "an astronaut",
    cat: "a cat",
    flower: "a flower",
    gravel: "gravel",
    rocket: "a rocket",
    temple: "a temple",
    tissue: "tissue under a microscope",
  };
  let active = null; // of several panels on a page, the one that a pasted image goes to

  /** `choose` gets the name of a photo of ours, `receive` a file of the reader's. */
  function chooser(panel, { chosen, choose, receive }) {
    const group = unique("photo");
    const photos = Object.entries(PHOTOS).map(([name, alt]) => {
      const input = el("input", {
        type: "radio",
        name: group,
        value: name,
        checked: name === chosen,
        onchange: () => choose(name),
      });
      const source = `${DSDTry.base}photos/thumbs/${name}.webp`;
      return el("label", {}, input, el("img", { src: source, alt, width: 56, height: 56 }));
    });
    const file = el("input", {
      type: "file",
      accept: "image/*",
      "aria-label": "Your own image",
      onchange: () => {
        if (file.files[0]) take(file.files[0]);
        file.value = "";
      },
    });
    const own = el("label", { class: "dsd-try-own" }, file, el("span", {}, "Your own image…"));

    function take(blob) {
      photos.forEach((label) => (label.firstChild.checked = false));
      receive(blob);
    }

    active ??= panel;
    for (const kind of ["pointerdown", "focusin"]) {
      panel.addEventListener(kind, () => (active = panel));
    }
    document.addEventListener("paste", (event) => {
      const image = [...(event.clipboardData?.files ?? [])][0];
      if (image && active === panel && panel.isConnected) {
        event.preventDefault();
        take(image);
      }
    });
    panel.addEventListener("dragover", (event) => {
      event.preventDefault();
      panel.classList.add("dropping");
    });
    for (const kind of ["dragleave", "drop"]) {
      panel.addEventListener(kind, () => panel.classList.remove("dropping"));
    }
    panel.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });

    return el(
      "fieldset",
      { class: "dsd-try-chooser" },
      el("legend", {}, "Image"),
      el("div", { class: "dsd-try-photos" }, ...photos),
      el(
        "p",
        {},
        own,
        " or drop it here, or paste it. It stays on your device: nothing is uploaded.",
      ),
    );
  }

  return { chooser };
});
