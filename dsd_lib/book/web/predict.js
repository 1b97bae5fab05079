// Turns the listed choices into buttons; the first guess opens the answer.
function setUp(box) {
  const list = box.querySelector(".dsd-choices");
  const answer = Number(list.dataset.answer);
  const verdict = box.querySelector(".dsd-verdict");
  const buttons = Array.from(list.querySelectorAll("li"), (item) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.append(...item.childNodes);
    item.append(button);
    return button;
  });
  buttons.forEach((button, chosen) => {
    button.addEventListener("click", () => {
      buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(i === chosen)));
      button.dataset.right = chosen === answer;
      buttons[answer].dataset.right = true;
      verdict.textContent =
        chosen === answer
          ? "✓ That is right."
          : `✗ Not quite: it is ${String.fromCharCode(65 + answer)}.`;
      box.querySelector("details").open = true;
    });
  });
}
