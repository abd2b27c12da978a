// Elements made in code. Text goes in as text, never as markup: a title with <script> in it stays a title.

/** An element. `options`: class, text, title, label (aria-label), hidden, on: {event: handler}, data: {}, and any attribute by its name. */
export function el(name, options = {}, ...children) {
  const element = document.createElement(name);
  const { class: classes, text, label, on = {}, data = {}, ...attributes } = options;
  if (classes) element.className = classes;
  if (text !== undefined) element.textContent = text;
  if (label) element.setAttribute("aria-label", label);
  for (const [event, handler] of Object.entries(on)) element.addEventListener(event, handler);
  Object.assign(element.dataset, data);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(attribute, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(attribute, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A handler of clicks that ignores the second click of a double click: the button may mean something else by then. */
export function singleClick(handler) {
  return (event) => event.detail <= 1 && handler();
}

/** Set text only where it differs, so that screen readers and the layout are left in peace. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SHAPES = {
  approve: "M4 10.5l4 4 8-9",
  skip: "M4 5l6 5-6 5zM11 5l6 5-6 5z",
  archive: "M3 4h14v4H3zM4.5 8v8h11V8M8 11h4",
  group: "M8 12a3 3 0 0 1 0-4l2-2a3 3 0 0 1 4.2 4.2l-1 1M12 8a3 3 0 0 1 0 4l-2 2a3 3 0 0 1-4.2-4.2l1-1",
  undo: "M7 5L3 9l4 4M3 9h8a5 5 0 0 1 0 10h-1",
  redo: "M13 5l4 4-4 4M17 9H9a5 5 0 0 0 0 10h1",
  play: "M6 4l10 6-10 6z",
  pause: "M6 4h3v12H6zM11 4h3v12h-3z",
  start: "M5 4v12M16 4l-8 6 8 6z",
  end: "M15 4v12M4 4l8 6-8 6z",
  back: "M13 4l-8 6 8 6z",
  on: "M7 4l8 6-8 6z",
  before: "M9 4l-6 6 6 6M16 4l-6 6 6 6",
  after: "M4 4l6 6-6 6M11 4l6 6-6 6",
  full: "M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4",
  loop: "M4 9a5 5 0 0 1 5-5h7M13 1l3 3-3 3M16 11a5 5 0 0 1-5 5H4M7 13l-3 3 3 3",
  sound: "M3 8v4h3l4 4V4L6 8zM13 7a4 4 0 0 1 0 6M15 4.5a8 8 0 0 1 0 11",
  mute: "M3 8v4h3l4 4V4L6 8zM13 8l4 4M17 8l-4 4",
  cut: "M10 3v14M6 7l-3 3 3 3M14 7l3 3-3 3",
  add: "M10 4v12M4 10h12",
  remove: "M5 5l10 10M15 5L5 15",
};
const FILLED = new Set(["play", "pause", "skip", "back", "on"]);

/** A small drawing of its own colour, invisible to screen readers: the button beside it has the words. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", "0 0 20 20");
  drawing.setAttribute("aria-hidden", "true");
  drawing.setAttribute("class", FILLED.has(name) ? "icon filled" : "icon");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SHAPES[name]);
  drawing.append(path);
  return drawing;
}
