// Elements made in code. Text is set as text, never as HTML.

export function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** The help: which key does what. rows: of the table of keys. meanings: sentences below it. */
export function keysDialog(rows, meanings) {
  const close = element("button", { type: "button", textContent: "Close", title: "Back to the clips (Esc)" });
  const line = ({ shown, label }) => [element("dt", {}, element("kbd", { textContent: shown })), element("dd", { textContent: label })];
  const lists = [...new Set(rows.map(({ group }) => group))].map((name) =>
    element("section", {}, element("h3", { textContent: name }), element("dl", {}, ...rows.filter(({ group }) => group === name).flatMap(line))),
  );
  const made = element(
    "dialog",
    {},
    element("header", {}, element("h2", { textContent: "Keys" }), close),
    element("div", { className: "groups" }, ...lists),
    ...meanings.map((text) => element("p", { textContent: text })),
  );
  made.setAttribute("aria-label", "Keys");
  close.addEventListener("click", () => made.close());
  made.addEventListener("click", (event) => event.target === made && made.close());
  return made;
}

/**
 * Where an arrow leads from a place. middles: {x, y} of each card, in order; cards of one row have the same y. way: "left", "right", "up",
 * "down", "first" or "last". At the edge it stays.
 */
export function placeBeside(middles, place, way) {
  const last = middles.length - 1;
  if (way === "first" || way === "last") return way === "first" ? 0 : last;
  if (way === "left" || way === "right") return Math.min(Math.max(place + (way === "left" ? -1 : 1), 0), last);
  const { x, y } = middles[place];
  const beyond = middles.filter((one) => (way === "up" ? one.y < y - 1 : one.y > y + 1));
  if (!beyond.length) return place;
  const row = way === "up" ? Math.max(...beyond.map((one) => one.y)) : Math.min(...beyond.map((one) => one.y));
  const near = beyond.filter((one) => Math.abs(one.y - row) <= 1).sort((one, other) => Math.abs(one.x - x) - Math.abs(other.x - x));
  return middles.indexOf(near[0]);
}

export function middleOf(figure) {
  const { left, top, width } = figure.getBoundingClientRect();
  return { x: left + width / 2, y: top };
}
