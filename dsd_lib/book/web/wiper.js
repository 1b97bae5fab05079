// Before and after under a bar that is moved by pointer or keyboard.
function setUp(box) {
  const stage = box.querySelector(".dsd-stage");
  const figures = Array.from(stage.querySelectorAll("figure"));
  const images = figures.map((figure) => figure.querySelector("img"));
  const labels = figures.map((figure) => figure.querySelector("figcaption").textContent);
  let share = 50; // percent of the width that shows the image to the left of the bar
  let base = 0; // index of that image
  let other = 1; // index of the image to the right of the bar

  function element(tag, attributes, text) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text || "";
    return made;
  }

  const handle = element("div", {
    class: "dsd-handle",
    role: "slider",
    tabindex: 0,
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    "aria-orientation": "horizontal",
  });
  const ends = element("div", { class: "dsd-ends" });
  const left = element("span", {});
  const right = element("span", {});
  ends.append(left, right);
  const choices = element("div", { class: "dsd-choices", role: "group", "aria-label": "Compare" });

  function draw() {
    stage.style.setProperty("--bar", `${share}%`);
    handle.setAttribute("aria-label", `${labels[base]} to the left, ${labels[other]} to the right`);
    handle.setAttribute("aria-valuenow", Math.round(share));
    handle.setAttribute("aria-valuetext", `${Math.round(share)} % ${labels[base]}`);
    if (labels.length > 2) left.lastChild.value = base;
    else left.lastChild.textContent = labels[base];
    right.textContent = `${labels[other]} →`;
    figures.forEach((figure, i) => {
      figure.classList.toggle("dsd-right", i === other);
      figure.classList.toggle("dsd-unseen", i !== base && i !== other);
    });
    choices.querySelectorAll("[data-choice]").forEach((button) => {
      const choice = Number(button.dataset.choice);
      button.setAttribute("aria-pressed", choice === other);
      button.hidden = choice === base;
    });
  }

  // The left one may be any of several, too; if it was the right one, the two change places.
  function chooseLeft(index) {
    if (index === other) other = base;
    base = index;
    draw();
  }

  function move(to) {
    share = Math.min(100, Math.max(0, to));
    draw();
  }

  left.append("← ", element("span", {}));
  if (labels.length > 2) {
    const select = element("select", { "aria-label": "To the left of the bar" });
    select.append(...labels.map((label, i) => element("option", { value: i }, label)));
    select.addEventListener("change", () => chooseLeft(Number(select.value)));
    left.replaceChildren("← ", select);
    labels.forEach((label, i) => {
      const button = element("button", { type: "button", "data-choice": i }, label);
      button.addEventListener("click", () => {
        other = i;
        draw();
      });
      choices.append(button);
    });
  }
  const large = element("button", { type: "button", "aria-haspopup": "dialog" }, "Open large");
  large.addEventListener("click", () => openLarge(box, images, labels, other));
  choices.append(large);

  handle.addEventListener("keydown", (event) => {
    const to = {
      ArrowLeft: share - 2,
      ArrowDown: share - 2,
      ArrowRight: share + 2,
      ArrowUp: share + 2,
      PageDown: share - 10,
      PageUp: share + 10,
      Home: 0,
      End: 100,
    }[event.key];
    if (to === undefined && event.key !== "Enter") return;
    event.preventDefault(); // otherwise the page scrolls, or Enter closes what it opens
    if (to === undefined) return openLarge(box, images, labels, other);
    move(to);
  });

  function follow(event) {
    const place = stage.getBoundingClientRect();
    move((100 * (event.clientX - place.left)) / place.width);
  }
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true });
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
  stage.addEventListener("dragstart", (event) => event.preventDefault());

  stage.append(handle);
  stage.after(ends, choices);
  box.classList.add("dsd-live");
  draw();
  onWidth(box, images, (room) => {
    images.forEach((image) => setZoom(image, room));
    stage.style.width = images[0].style.width;
    ends.style.width = `max(${images[0].style.width}, min(100%, 16rem))`;
  });
}
