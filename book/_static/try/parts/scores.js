/* The distance to the original (Eq. 4) and the naturalness (Eq. 5), each as one number. */
DSDTry.part("scores", function (use) {
  "use strict";
  const { choice, el, number, section } = use("elements");
  const descriptor = use("descriptor");

  /** `distance` and `natural` say which to show; `ask` is told for which α to ask ψ, or 0. */
  function scores(reference, { distance, natural, alpha, ask }) {
    const distances = [2, 4].map((a) => [a, el("dd", {}, "–")]);
    const score = el("dd", {}, "–");
    const term = (title, note, value) =>
      el("div", {}, el("dt", {}, title, el("small", {}, note)), value);
    const terms = [
      ...(distance ? distances : []).map(([a, value]) =>
        term(`Distance to the original, α = ${a}`, "Eq. (4); 0 means equal", value),
      ),
      natural ? term("Naturalness", "Eq. (5); lower is more natural", score) : null,
    ];
    const question = choice(
      "Ask ψ for the value of a clean photo",
      { 0: "no", 2: "α = 2", 4: "α = 4" },
      alpha,
      (value) => ask(Number(value)),
    );
    const element = section(
      "scores",
      distance ? (natural ? "Distance and naturalness" : "Distance") : "Naturalness",
      el("dl", {}, ...terms.filter(Boolean)),
      natural ? question : null,
      natural ? el("p", { class: "dsd-try-note" }, "ψ loads another 4 MB, once.") : null,
    );

    /** What was found of the image, and `before` of it without the sliders. */
    function show({ grams, expected, measured }, before) {
      for (const [a, value] of distances) {
        value.textContent = number(descriptor.distance(before.grams, grams, a));
      }
      const [asked] = Object.keys(expected);
      if (!asked) {
        score.textContent = "–";
        return;
      }
      const found = descriptor.naturalness(measured[asked], expected[asked]);
      const rank = Math.round(descriptor.percentile(found, reference.naturalness[asked]));
      score.replaceChildren(
        number(found),
        el("small", {}, `higher than for ${rank}% of ${reference.unseen} clean photos`),
      );
    }

    return { element, show };
  }

  return { scores };
});
