// A grid of clips. Hover plays a preview, a click opens, the box or Space selects, Shift selects a range. Text is set as text, never as HTML.

const states = new WeakMap(); // host -> {selected, cards, last}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const host = parentElement.querySelector(".grid");
  let state = states.get(parentElement);
  if (!state) {
    state = { selected: new Set(), last: null };
    states.set(parentElement, state);
  }
  state.send = () => setStateValue("selected", [...state.selected]);
  state.open = (id) => setTriggerValue("opened", id);
  const ids = data.cards.map((card) => card.id);
  for (const id of [...state.selected]) if (!ids.includes(id)) state.selected.delete(id);
  host.replaceChildren(...data.cards.map((card) => element(card, data.selectable, state, ids, host)));
}

function element(card, selectable, state, ids, host) {
  const figure = document.createElement("figure");
  figure.dataset.id = card.id;
  figure.dataset.state = card.state;
  const picture = document.createElement("button");
  picture.className = "picture";
  picture.type = "button";
  picture.setAttribute("aria-label", `Open ${card.title}`);
  const still = document.createElement("img");
  still.loading = "lazy";
  still.alt = "";
  still.src = card.still_url;
  picture.append(still);
  let wait = 0;
  const stop = () => {
    clearTimeout(wait);
    picture.querySelector("video")?.remove();
  };
  const play = () => {
    wait = setTimeout(() => {
      const video = document.createElement("video");
      Object.assign(video, { src: card.preview_url, muted: true, loop: true, autoplay: true, playsInline: true });
      picture.append(video);
    }, 120);
  };
  picture.addEventListener("pointerenter", play);
  picture.addEventListener("pointerleave", stop);
  picture.addEventListener("focus", play);
  picture.addEventListener("blur", stop);
  picture.addEventListener("click", () => state.open(card.id));
  const caption = document.createElement("figcaption");
  const title = document.createElement("span");
  title.className = "title";
  title.textContent = card.title;
  const note = document.createElement("span");
  note.className = "note";
  note.textContent = card.note;
  caption.append(title, note);
  figure.append(picture, caption);
  if (selectable) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = state.selected.has(card.id);
    box.setAttribute("aria-label", `Select ${card.title}`);
    box.addEventListener("click", (event) => {
      const range = event.shiftKey && state.last !== null ? between(ids, state.last, card.id) : [card.id];
      for (const id of range) box.checked ? state.selected.add(id) : state.selected.delete(id);
      state.last = card.id;
      for (const other of host.querySelectorAll("figure")) other.querySelector("input").checked = state.selected.has(Number(other.dataset.id));
      state.send();
    });
    label.append(box);
    figure.append(label);
  }
  return figure;
}

function between(ids, first, second) {
  const [low, high] = [ids.indexOf(first), ids.indexOf(second)].sort((a, b) => a - b);
  return low < 0 ? [second] : ids.slice(low, high + 1);
}
