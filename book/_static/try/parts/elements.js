/* Elements of the panel, made without a framework. */
DSDTry.part("elements", function () {
  "use strict";
  let count = 0;

  /** An element: `el("p", {class: "note", onclick: f}, "text", child)`. */
  function el(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child != null));
    return element;
  }

  /** A name for an id that occurs once on the page. */
  const unique = (what) => `dsd-try-${what}-${++count}`;

  /** A choice among a few: radio buttons that look like one control. */
  function choice(legend, options, chosen, change) {
    const name = unique("choice");
    const buttons = Object.entries(options).map(([value, label]) => {
      const input = el("input", {
        type: "radio",
        name,
        value,
        checked: value === String(chosen),
        onchange: () => change(value),
      });
      return el("label", {}, input, el("span", {}, label));
    });
    return el("fieldset", { class: "dsd-try-choice" }, el("legend", {}, legend), ...buttons);
  }

  /** A section of the panel with its title. */
  function section(name, title, ...children) {
    const id = unique(name);
    const head = el("p", { id, class: "dsd-try-title" }, title);
    return el("section", { class: `dsd-try-${name}`, "aria-labelledby": id }, head, ...children);
  }

  /** Three digits that matter, as a person would write them. */
  const number = (value) => Number(value.toPrecision(3)).toString().replace("-", "−");

  return { choice, el, number, section, unique };
});
