// Which key does what, on the review page and in the grid of clips. One table: the buttons, the help overlays and the handlers all read it.
//
// `r` and `c` are Streamlit's own and stay free. Shift makes ten of one, everywhere. Letters are taken by what they type, so that they are
// where the keyboard's print says (AZERTY, Dvorak). Two exceptions go by the key's place on a US keyboard: shifted punctuation, because what it
// types differs between layouts, and everything on a keyboard that types no Latin letters (Cyrillic, Greek, Arabic, Hebrew).

const EVERYWHERE = ["review", "grid"];
const GRID = ["grid"];

/** {action, amount?, on: pages that have it, only the review page when it is missing, keys: [what it matches], shown: text on buttons and in the help, label, group, repeats: also while held down, moving: only while a cut is on the move} */
export const KEYS = [
  { action: "approve", on: EVERYWHERE, keys: ["a"], shown: "A", label: "Approve", group: "Decide" },
  { action: "skip", on: EVERYWHERE, keys: ["s"], shown: "S", label: "Skip", group: "Decide" },
  { action: "archive", on: EVERYWHERE, keys: ["x"], shown: "X", label: "Archive", group: "Decide" },
  { action: "group", keys: ["g"], shown: "G", label: "Group with previous", group: "Decide" },
  { action: "undo", on: EVERYWHERE, keys: ["ctrl+z"], shown: "Ctrl+Z", label: "Undo", group: "Decide" },
  { action: "redo", keys: ["ctrl+shift+z", "ctrl+y"], shown: "Ctrl+Shift+Z", label: "Redo", group: "Decide" },
  { action: "add_cut_point", keys: ["k"], shown: "K", label: "Add a cut at the playhead", group: "Cut" },
  { action: "remove_cut_point", keys: ["delete", "backspace"], shown: "Delete", label: "Remove the marked cut", group: "Cut" },
  { action: "nudge", amount: -1, keys: [","], shown: ",", label: "Marked cut one frame back", group: "Cut", repeats: true },
  { action: "nudge", amount: 1, keys: ["."], shown: ".", label: "Marked cut one frame on", group: "Cut", repeats: true },
  { action: "nudge", amount: -10, keys: ["shift+comma"], shown: "Shift+,", label: "Marked cut ten frames back", group: "Cut", repeats: true },
  { action: "nudge", amount: 10, keys: ["shift+period"], shown: "Shift+.", label: "Marked cut ten frames on", group: "Cut", repeats: true },
  { action: "kind", keys: ["d"], shown: "D", label: "Marked cut: the next kind (hard cut, dissolve, fade, …)", group: "Cut" },
  { action: "range_first", amount: -1, keys: ["u"], shown: "U", label: "Its transition begins one frame earlier", group: "Cut", repeats: true },
  { action: "range_first", amount: 1, keys: ["i"], shown: "I", label: "Its transition begins one frame later", group: "Cut", repeats: true },
  { action: "range_last", amount: -1, keys: ["h"], shown: "H", label: "Its transition ends one frame earlier", group: "Cut", repeats: true },
  { action: "range_last", amount: 1, keys: ["j"], shown: "J", label: "Its transition ends one frame later", group: "Cut", repeats: true },
  { action: "other_cut", keys: ["o"], shown: "O", label: "Mark the clip's other cut", group: "Cut" },
  { action: "put_back", keys: ["escape"], shown: "Esc", label: "A cut on the move goes back to where it was", group: "Cut", moving: true },
  { action: "next_clip", keys: ["n"], shown: "N", label: "Next clip, without deciding", group: "Go" },
  { action: "previous_clip", keys: ["p"], shown: "P", label: "The clip before, without deciding", group: "Go" },
  { action: "go_to", keys: ["t"], shown: "T", label: "Go to a frame, time or timecode", group: "Go" },
  { action: "previous_cut", keys: ["[", "pageup"], shown: "[", label: "Previous cut", group: "Go", repeats: true },
  { action: "next_cut", keys: ["]", "pagedown"], shown: "]", label: "Next cut", group: "Go", repeats: true },
  { action: "start", keys: ["home"], shown: "Home", label: "First frame", group: "Go" },
  { action: "end", keys: ["end"], shown: "End", label: "Last frame", group: "Go" },
  { action: "play", keys: ["space"], shown: "Space", label: "Play or pause", group: "Look" },
  { action: "step", amount: -1, keys: ["arrowleft"], shown: "←", label: "One frame back", group: "Look", repeats: true },
  { action: "step", amount: 1, keys: ["arrowright"], shown: "→", label: "One frame on", group: "Look", repeats: true },
  { action: "step", amount: -10, keys: ["shift+arrowleft"], shown: "Shift+←", label: "Ten frames back", group: "Look", repeats: true },
  { action: "step", amount: 10, keys: ["shift+arrowright"], shown: "Shift+→", label: "Ten frames on", group: "Look", repeats: true },
  { action: "clock", keys: ["v"], shown: "V", label: "The large clock: time, frame or timecode", group: "Look" },
  { action: "full_screen", keys: ["f"], shown: "F", label: "Full screen on or off", group: "Look" },
  { action: "loop", keys: ["l"], shown: "L", label: "Loop on or off", group: "Look" },
  { action: "mute", keys: ["m"], shown: "M", label: "Sound on or off", group: "Look" },
  { action: "rate", amount: 0.5, keys: ["1"], shown: "1", label: "Half speed", group: "Look" },
  { action: "rate", amount: 1, keys: ["2"], shown: "2", label: "Normal speed", group: "Look" },
  { action: "rate", amount: 1.5, keys: ["3"], shown: "3", label: "Speed 1.5", group: "Look" },
  { action: "rate", amount: 2, keys: ["4"], shown: "4", label: "Double speed", group: "Look" },
  { action: "rate", amount: 4, keys: ["5"], shown: "5", label: "Speed 4", group: "Look" },
  { action: "select", on: GRID, keys: ["space"], shown: "Space", label: "Select the clip, or take it out", group: "Select" },
  { action: "select_all", on: GRID, keys: ["ctrl+a"], shown: "Ctrl+A", label: "Select all on this page; once more: all that match", group: "Select" },
  { action: "select_none", on: GRID, keys: ["escape"], shown: "Esc", label: "Select none", group: "Select" },
  { action: "extend", amount: "left", on: GRID, keys: ["shift+arrowleft"], shown: "Shift+←", label: "Select on to the clip before", group: "Select", repeats: true },
  { action: "extend", amount: "right", on: GRID, keys: ["shift+arrowright"], shown: "Shift+→", label: "Select on to the next clip", group: "Select", repeats: true },
  { action: "extend", amount: "up", on: GRID, keys: ["shift+arrowup"], shown: "Shift+↑", label: "Select on to the row above", group: "Select", repeats: true },
  { action: "extend", amount: "down", on: GRID, keys: ["shift+arrowdown"], shown: "Shift+↓", label: "Select on to the row below", group: "Select", repeats: true },
  { action: "move", amount: "left", on: GRID, keys: ["arrowleft"], shown: "←", label: "To the clip before", group: "Go", repeats: true },
  { action: "move", amount: "right", on: GRID, keys: ["arrowright"], shown: "→", label: "To the next clip", group: "Go", repeats: true },
  { action: "move", amount: "up", on: GRID, keys: ["arrowup"], shown: "↑", label: "To the row above", group: "Go", repeats: true },
  { action: "move", amount: "down", on: GRID, keys: ["arrowdown"], shown: "↓", label: "To the row below", group: "Go", repeats: true },
  { action: "move", amount: "first", on: GRID, keys: ["home"], shown: "Home", label: "To the first clip of the page", group: "Go" },
  { action: "move", amount: "last", on: GRID, keys: ["end"], shown: "End", label: "To the last clip of the page", group: "Go" },
  { action: "open", on: GRID, keys: ["enter"], shown: "Enter", label: "Open the clip in Review", group: "Go" },
  { action: "filters", on: EVERYWHERE, keys: ["/"], shown: "/", label: "Filters: to the words of the title", group: "Help" },
  { action: "help", on: EVERYWHERE, keys: ["?", "؟"], shown: "?", label: "This help", group: "Help" },
];

const TYPING = new Set(["input", "textarea", "select"]);

/** Whether the event goes into a field, where letters are letters. A button, a link or a slider is no field. */
function isTyping(event) {
  const target = event.composedPath?.()[0] ?? event.target;
  if (!target) return false;
  if (target.isContentEditable) return true;
  const name = String(target.localName ?? "").toLowerCase();
  if (name !== "input") return TYPING.has(name) || target.getAttribute?.("role") === "textbox";
  return !["button", "checkbox", "radio", "range", "submit", "reset"].includes(target.type);
}

const KEYED = new Set(["slider", "spinbutton", "listbox", "combobox", "menu", "menubar", "dialog", "alertdialog", "radiogroup", "tablist"]);

const POPUP_OPEN = "[aria-haspopup][aria-expanded=true]";

/** Whether the event goes into something outside the player that has keys of its own, or a menu or popover of the page is open over it. */
function isInKeyed(event, own) {
  if (own?.ownerDocument?.querySelector(POPUP_OPEN)) return true;
  const path = event.composedPath?.() ?? [event.target];
  if (own && path.includes(own)) return false;
  return path.some((one) => KEYED.has(one.getAttribute?.("role")) || one.localName === "dialog" || (one.localName === "input" && one.type === "range"));
}

const BUTTONS = "button, summary, [role=button]";
const PRESSABLE = {
  review: { space: `${BUTTONS}, a[href], input[type=checkbox], input[type=radio]` },
  // The picture of a clip is a link: Space selects the clip, Enter follows any link.
  grid: { space: `${BUTTONS}, input[type=checkbox], input[type=radio]`, enter: `${BUTTONS}, a[href]` },
};

/**
 * Whether the key presses what has the focus. Only where the focus came by keyboard: after a mouse click Space goes on playing. A button of a
 * dialog that was just closed has the focus until the page is drawn again.
 */
function isPressable(event, pressable) {
  const target = event.composedPath?.()[0] ?? event.target;
  return Boolean(target?.matches?.(pressable) && target.matches(":focus-visible") && (target.checkVisibility?.() ?? true));
}

/** The rows of KEYS that a page has. */
export function keysOf(page) {
  return KEYS.filter(({ on = ["review"] }) => on.includes(page));
}

/**
 * The row of KEYS that a keydown event means on a page ("review", "grid"), or null. Decisions do not repeat while a key is held: one press, one decision.
 * own: the player's element. What has keys of its own around it (a slider, an open menu or popover of the page) keeps them all.
 * moving: whether a cut is on the move.
 */
export function keyMeaning(event, own = null, { moving = false, page = "review" } = {}) {
  if (event.isComposing || isTyping(event) || isInKeyed(event, own)) return null;
  // AltGr, which types the brackets on many layouts, looks like Ctrl+Alt on Windows.
  const typed = Boolean(event.getModifierState?.("AltGraph"));
  if (event.altKey && !typed) return null;
  const control = !typed && (event.ctrlKey || event.metaKey);
  const spelled = spellings(event, control);
  const row = keysOf(page).find(({ keys }) => keys.some((key) => spelled.includes(key)));
  if (!row || (event.repeat && !row.repeats) || (row.moving && !moving)) return null;
  const pressable = PRESSABLE[page][spelled[0]];
  return pressable && isPressable(event, pressable) ? null : row;
}

/** A letter, accent or digit of a script other than Latin: what the key would type on a US keyboard is meant. */
const FOREIGN = /^(?!.*\p{Script=Latin})(?=.*[^\x00-\x7f])[\p{L}\p{M}\p{Nd}\u200c\u200d]+$/u;
const PLACES = { BracketLeft: "[", BracketRight: "]", Comma: ",", Period: "." };

/** What the key in this place types on a US keyboard: "KeyA" -> "a"; undefined for a place that has no meaning here. */
function typedInPlace(code) {
  return PLACES[code] ?? /^(?:Key|Digit)(.)$/.exec(code ?? "")?.[1].toLowerCase();
}

function spellings(event, control) {
  const typed = event.key === " " ? "space" : String(event.key).toLowerCase();
  const key = FOREIGN.test(typed) ? (typedInPlace(event.code) ?? typed) : typed;
  if (control) return [`ctrl+${event.shiftKey ? "shift+" : ""}${key}`];
  if (event.shiftKey && key.length > 1) return [`shift+${key}`];
  // A shifted sign is itself ("?" is a shifted key on most layouts); the shifted comma and period also go by their place.
  if (event.shiftKey && ["Comma", "Period"].includes(event.code)) return [`shift+${event.code.toLowerCase()}`];
  if (event.shiftKey && /^\p{L}$/u.test(key)) return [];
  return [key];
}

/** Text of the key that does `action` (with this `amount`), as shown on its button. */
export function keyShown(action, amount) {
  return KEYS.find((row) => row.action === action && (amount === undefined || row.amount === amount))?.shown ?? "";
}
