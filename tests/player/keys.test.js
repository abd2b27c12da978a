import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { KEYS, keyMeaning, keyShown, keysOf } from "../../review_app/player/static/page/keys.js";

const press = (key, more = {}) => ({ key, code: "", ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, repeat: false, composedPath: () => [more.target ?? { localName: "div" }], ...more });
const meaning = (key, more) => {
  const row = keyMeaning(press(key, more));
  return row && (row.amount === undefined ? row.action : `${row.action} ${row.amount}`);
};

test("each decision is one key", () => {
  assert.deepEqual(["a", "s", "x", "g", "k", "Delete", "Backspace"].map((key) => meaning(key)), [
    "approve", "skip", "archive", "group", "add_cut_point", "remove_cut_point", "remove_cut_point",
  ]);
  assert.equal(meaning("A"), "approve", "with caps lock on");
});

test("shift makes ten of one", () => {
  assert.equal(meaning("ArrowRight"), "step 1");
  assert.equal(meaning("ArrowLeft", { shiftKey: true }), "step -10");
  assert.equal(meaning(","), "nudge -1");
  assert.equal(meaning("<", { shiftKey: true, code: "Comma" }), "nudge -10", "US layout");
  assert.equal(meaning(":", { shiftKey: true, code: "Period" }), "nudge 10", "German layout");
});

test("undo and redo, with Ctrl and with Cmd", () => {
  assert.equal(meaning("z", { ctrlKey: true }), "undo");
  assert.equal(meaning("Z", { metaKey: true, shiftKey: true }), "redo");
  assert.equal(meaning("y", { ctrlKey: true }), "redo");
  assert.equal(meaning("z"), null);
});

test("Streamlit's keys and the browser's are left alone", () => {
  for (const key of ["r", "c", "R", "C", "F5", "Tab", "Escape"]) assert.equal(meaning(key), null);
  for (const key of ["a", "s", "x", "l", "k"]) assert.equal(meaning(key, { ctrlKey: true }), null);
  assert.equal(meaning("a", { altKey: true }), null);
  assert.equal(meaning("A", { shiftKey: true }), null);
});

test("Escape is ours only while a cut is on the move", () => {
  assert.equal(keyMeaning(press("Escape"), null, { moving: true }).action, "put_back");
  assert.equal(keyMeaning(press("Escape"), null, { moving: false }), null);
});

test("nothing happens while typing, also inside a shadow root", () => {
  for (const target of [{ localName: "input", type: "text" }, { localName: "textarea" }, { localName: "select" }, { localName: "p", isContentEditable: true }])
    assert.equal(meaning("a", { target }), null);
  assert.equal(meaning("a", { target: { localName: "button" } }), "approve");
  assert.equal(meaning("a", { target: { localName: "input", type: "checkbox" } }), "approve");
  assert.equal(meaning("a", { isComposing: true }), null);
});

const element = (localName, attributes = {}, visible = true) => ({
  localName,
  getAttribute: (name) => attributes[name] ?? null,
  matches: (selector) => (selector === ":focus-visible" ? visible : selector.split(", ").includes(localName)),
});

test("Space presses what the keyboard has reached, and plays after a mouse click", () => {
  for (const name of ["button", "summary"]) {
    assert.equal(meaning(" ", { target: element(name) }), null);
    assert.equal(meaning(" ", { target: element(name, {}, false) }), "play");
  }
  assert.equal(meaning("a", { target: element("button") }), "approve");
});

test("what has keys of its own around the player keeps them all, the player's own sliders do not", () => {
  const own = element("div");
  for (const outer of [element("div", { role: "slider" }), element("div", { role: "dialog" }), element("ul", { role: "listbox" }), element("dialog")]) {
    for (const key of ["a", "ArrowRight", "Delete", " "]) {
      const event = press(key, { composedPath: () => [element("div"), outer] });
      assert.equal(keyMeaning(event, own), null);
      assert.notEqual(keyMeaning({ ...event, composedPath: () => [element("div"), outer, own] }, own), null);
    }
  }
});

test("a held key steps on but never decides twice", () => {
  assert.equal(meaning("ArrowRight", { repeat: true }), "step 1");
  for (const key of ["a", "s", "x", "g", "k", "Delete", " "]) assert.equal(meaning(key, { repeat: true }), null);
  for (const shiftKey of [false, true]) assert.equal(meaning("z", { ctrlKey: true, shiftKey, repeat: true }), null);
});

test("AltGr types brackets on many layouts", () => {
  assert.equal(meaning("]", { altKey: true, ctrlKey: true, getModifierState: (name) => name === "AltGraph" }), "next_cut");
  assert.equal(meaning("?", { shiftKey: true }), "help");
});

test("where no Latin letters are typed the keys go by their place", () => {
  const boards = {
    Russian: { KeyA: "ф", KeyS: "ы", KeyX: "ч", KeyG: "п", KeyK: "л", KeyN: "т", KeyP: "з", BracketLeft: "х", BracketRight: "ъ", Comma: "б", Period: "ю" },
    Greek: { KeyA: "α", KeyS: "σ", KeyX: "χ", KeyG: "γ", KeyK: "κ", KeyN: "ν", KeyP: "π" },
    Arabic: { KeyA: "ش", KeyS: "س", KeyX: "ء", KeyG: "ل", KeyK: "ن", KeyN: "ى", KeyP: "ح", BracketLeft: "ج", BracketRight: "د", Comma: "و", Period: "ز" },
    Hebrew: { KeyA: "ש", KeyS: "ד", KeyX: "ס", KeyG: "ע", KeyK: "ל", KeyN: "מ", KeyP: "פ", Comma: "ת", Period: "ץ" },
    Thai: { KeyA: "ฟ", KeyS: "ห", KeyX: "ป", KeyG: "เ", KeyK: "า", KeyN: "ื", KeyP: "ย" },
  };
  const wanted = {
    KeyA: "approve", KeyS: "skip", KeyX: "archive", KeyG: "group", KeyK: "add_cut_point", KeyN: "next_clip", KeyP: "previous_clip",
    BracketLeft: "previous_cut", BracketRight: "next_cut", Comma: "nudge -1", Period: "nudge 1",
  };
  for (const [name, board] of Object.entries(boards))
    for (const [code, key] of Object.entries(board)) assert.equal(meaning(key, { code }), wanted[code], `${name} ${code}`);
  assert.equal(meaning("Ф", { code: "KeyA" }), "approve", "with caps lock on");
  assert.equal(meaning("Ф", { code: "KeyA", shiftKey: true }), null);
  assert.equal(meaning("Ю", { code: "Period", shiftKey: true }), "nudge 10");
  assert.equal(meaning("لا", { code: "KeyB" }), null, "a key of two letters, in a place that means nothing");
  assert.equal(meaning("٢", { code: "Digit2" }), "rate 1", "Arabic-Indic digits");
  assert.equal(meaning("۵", { code: "Digit5" }), "rate 4", "Persian digits");
  assert.equal(meaning("؟", { code: "Slash", shiftKey: true }), "help");
  assert.equal(meaning("я", { code: "KeyZ", ctrlKey: true }), "undo");
  assert.equal(meaning("Я", { code: "KeyZ", ctrlKey: true, shiftKey: true }), "redo");
  assert.equal(meaning("ζ", { code: "KeyZ", metaKey: true }), "undo");
  assert.equal(meaning("ф", { code: "KeyA", ctrlKey: true }), null);
  assert.equal(meaning("ф", { code: "KeyA", repeat: true }), null);
  assert.equal(meaning("ф", { code: "KeyA", target: { localName: "textarea" } }), null);
  for (const [key, code] of [["к", "KeyR"], ["с", "KeyC"]]) assert.equal(meaning(key, { code }), null, "Streamlit's");
});

test("Latin keyboards go by the letter, wherever it lies", () => {
  assert.equal(meaning("q", { code: "KeyA" }), null, "AZERTY");
  assert.equal(meaning("a", { code: "KeyQ" }), "approve", "AZERTY");
  assert.equal(meaning("o", { code: "KeyS" }), "other_cut", "Dvorak");
  assert.equal(meaning("s", { code: "Semicolon" }), "skip", "Dvorak");
  assert.equal(meaning("z", { code: "KeyY", ctrlKey: true }), "undo", "QWERTZ");
  for (const [key, code] of [["é", "Digit2"], ["ç", "Digit9"], ["ü", "BracketLeft"], ["ø", "Quote"], ["ß", "Minus"], ["ğ", "BracketLeft"], ["ł", "KeyL"], ["ı", "KeyI"]])
    assert.equal(meaning(key, { code }), null, key);
});

test("no key has two meanings, and every row can be shown", () => {
  for (const page of ["review", "grid"]) {
    const keys = keysOf(page).flatMap((row) => row.keys);
    assert.equal(new Set(keys).size, keys.length, page);
  }
  for (const row of KEYS) assert.ok(row.shown && row.label && row.group);
  assert.equal(keyShown("step", -10), "Shift+←");
  assert.equal(keyShown("approve"), "A");
});

test("the grid has the same keys for decisions, and those of a list; Space selects there, also on the link of a picture", () => {
  const inGrid = (key, more) => keyMeaning(press(key, more), null, { page: "grid" });
  for (const [key, action] of [["a", "approve"], ["s", "skip"], ["x", "archive"], ["?", "help"], [" ", "select"], ["Enter", "open"], ["Escape", "select_none"]])
    assert.equal(inGrid(key)?.action, action, key);
  assert.equal(inGrid("z", { ctrlKey: true }).action, "undo");
  assert.deepEqual([inGrid("ArrowDown").amount, inGrid("ArrowDown", { shiftKey: true }).action], ["down", "extend"]);
  assert.equal(inGrid("ArrowDown", { repeat: true }).action, "move");
  for (const key of ["a", " "]) assert.equal(inGrid(key, { repeat: true }), null, "one press, one decision");
  for (const key of ["k", "n", "g", "l"]) assert.equal(inGrid(key), null, "only on the review page");
  assert.equal(inGrid("ф", { code: "KeyA" }).action, "approve");
  assert.equal(inGrid(" ", { target: element("a[href]") }).action, "select");
  assert.equal(inGrid("Enter", { target: element("a[href]") }), null, "the browser follows the link");
  assert.equal(inGrid(" ", { target: element("button") }), null);
});

test("the page for reviewers has the keys of this table, in its order where it has one", () => {
  const text = readFileSync(new URL("../../docs/reviewers.md", import.meta.url), "utf8");
  const below = (heading) => text.split(`\n## ${heading}\n`)[1].split("\n## ")[0];
  const keys = (heading) => [...below(heading).matchAll(/^\| `([^`]+)` \|/gm)].map(([, key]) => key);
  assert.deepEqual(keys("Keys on the Review page"), keysOf("review").map(({ shown }) => shown));
  assert.deepEqual(keys("Many clips at once"), keysOf("grid").map(({ shown }) => shown));
});
