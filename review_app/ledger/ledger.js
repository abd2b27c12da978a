// The ledger as a table. Text is set as text, never as HTML.

const times = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export default function ({ data, parentElement, setTriggerValue }) {
  const body = parentElement.querySelector("tbody");
  const said = JSON.stringify(data.rows);
  body.undo = (id) => setTriggerValue("undo", id);
  if (body.said === said) return;
  body.said = said;
  body.replaceChildren(...data.rows.map((row) => shown(row, body)));
}

function shown(row, body) {
  const cell = (...children) => element("td", {}, ...children);
  const clips = row.clips.map(([id, number]) => {
    const link = element("a", { href: `/?clip=${id}`, textContent: number ?? "clip", title: number === null ? "The clip in Review" : `Clip ${number} in Review` });
    link.addEventListener("click", follow);
    return link;
  });
  const more = row.clip_count - row.clips.length;
  if (more) clips.push(element("span", { textContent: `and ${more} more` }));
  const made = element(
    "tr",
    { className: row.undone ? "undone" : "" },
    cell(element("time", { dateTime: new Date(row.when * 1000).toISOString(), textContent: times.format(row.when * 1000) })),
    cell(row.who),
    cell(row.what),
    cell(row.source_video),
    element("td", { className: "clips" }, ...clips),
    cell(row.before),
    cell(row.after),
    element("td", { className: "way" }, way(row, body)),
  );
  made.dataset.id = row.id;
  return made;
}

function way(row, body) {
  if (row.undone) return element("span", { textContent: "taken back" });
  if (row.why_not !== null) return element("span", { className: "why", textContent: row.why_not });
  const button = element("button", { type: "button", textContent: "Undo", title: "Take this decision back: its clips become as they were before" });
  button.setAttribute("aria-label", `Undo: ${row.what}, ${row.source_video}`);
  button.addEventListener("click", () => {
    button.disabled = true; // a second click is no second undo
    setTimeout(() => (button.disabled = false), 3000);
    body.undo(row.id);
  });
  return button;
}

/** Go to another page without loading all of it anew, as Back and Forward do: by the address, which Streamlit then reads. */
function follow(event) {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState({}, "", event.currentTarget.href);
  window.dispatchEvent(new PopStateEvent("popstate"));
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
