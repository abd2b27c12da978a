"""A box to drop files into: they go straight to our own route, with progress, and never through Streamlit's memory."""

from __future__ import annotations

import streamlit as st

from review_app.server.uploads import (
    CHAPTERS_HEADER,
    MODIFIED_HEADER,
    NAME_HEADER,
    OFFSET_HEADER,
    RIGHTS_HEADER,
    SIZE_HEADER,
    UPLOAD_HEADER,
)
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk

_JS = """
const unfinished = new Map(); // row -> file, of those that wait or are being sent
addEventListener("beforeunload", (event) => unfinished.size && event.preventDefault());
// A file dropped beside the box would take the place of the page.
const holdsFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => holdsFiles(event) && event.preventDefault());

const WAITS_MS = [500, 1000, 2000, 4000, 8000, 15_000];
const LOST = new Set([0, 408, 429, 500, 502, 503, 504]); // statuses after which it is tried again; 0: no answer
const ENDS = 7 * 86_400_000; // the server keeps what is there no longer
const made = (name, properties = {}) => Object.assign(document.createElement(name), properties);

// What was begun survives a reload: the browser knows the file by its name, size and last change, and the server by `upload`.
const remembered = {
  key: ({ name, size, modified }) => `heaters.upload/${JSON.stringify([name, size, modified])}`,
  all() {
    const found = [];
    for (const key of Object.keys(localStorage).filter((key) => key.startsWith("heaters.upload/"))) {
      const [name, size, modified] = JSON.parse(key.slice("heaters.upload/".length));
      const [upload, share, at] = JSON.parse(localStorage.getItem(key));
      if (Date.now() - at > ENDS) localStorage.removeItem(key);
      else found.push({ name, size, modified, upload, share, at });
    }
    return found;
  },
  keep(file, share, at = Date.now()) {
    try { localStorage.setItem(this.key(file), JSON.stringify([file.upload, share, at])); } catch { /* full, or switched off */ }
  },
  forget: (file) => localStorage.removeItem(remembered.key(file)),
};
const HERE_MS = 20_000; // a tab that sends says so more often
addEventListener("pagehide", () => {
  for (const file of unfinished.values()) if (file.upload) remembered.keep(file, file.share, Date.now() - HERE_MS);
});

/** One request: {status, answer}. body: what to send. onProgress: gets bytes sent. stop: an AbortSignal. */
const asked = (method, headers, { body = null, onProgress = () => {}, onSent = () => {}, stop } = {}) =>
  new Promise((settled) => {
    const request = new XMLHttpRequest();
    request.open(method, "/api/uploads");
    for (const [header, text] of Object.entries(headers)) request.setRequestHeader(header, text);
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded));
    request.upload.addEventListener("load", onSent);
    request.addEventListener("loadend", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { answer = {}; }
      settled({ status: request.status, answer });
    });
    stop?.addEventListener("abort", () => request.abort());
    request.send(body);
  });

export default function ({ data, parentElement, setTriggerValue }) {
  const box = parentElement.querySelector(".box"), input = box.querySelector("input"), list = parentElement.querySelector("ul");
  box.heaters = { data, done: (id) => setTriggerValue("uploaded", id) };
  if (box.ready) return;
  box.ready = true;
  const headersOf = ({ name, size, modified, upload }, more = {}) => {
    const { token, said, names } = box.heaters.data;
    const told = { ...said, [names.name]: name, [names.size]: size, [names.modified]: modified, ...more };
    if (upload) told[names.upload] = upload;
    const written = Object.entries(told).map(([header, text]) => [header, encodeURIComponent(text)]);
    return { "X-Heaters-Token": token, ...Object.fromEntries(written) };
  };
  const rowOf = (blob) => {
    const file = { blob, name: blob.name, size: blob.size, modified: blob.lastModified, share: 0 };
    const row = made("li"), said = made("span", { textContent: "waits" }), bar = made("progress", { max: 1, value: 0 });
    const stop = made("button", { type: "button", textContent: "Cancel", title: `Do not send ${file.name}` });
    const stopped = new AbortController();
    const over = (kind, words, { goesOn = false } = {}) => {
      row.className = kind;
      said.textContent = words;
      stop.remove();
      unfinished.delete(row);
      if (!goesOn) remembered.forget(file);
    };
    stop.addEventListener("click", () => {
      over("cancelled", "cancelled");
      stopped.abort();
      if (file.upload) asked("DELETE", headersOf(file));
    });
    row.append(made("span", { textContent: file.name }), bar, said, stop);
    row.heaters = remembered.key(file);
    for (const left of list.querySelectorAll("li.left")) if (left.heaters === row.heaters) left.remove();
    file.upload = remembered.all().find((one) => remembered.key(one) === row.heaters)?.upload;
    list.append(row);
    unfinished.set(row, file);
    return { file, row, bar, said, stop, stopped: stopped.signal, over };
  };
  /** Send what is missing; true when there is no more to do. */
  const sendRest = async ({ file, row, bar, said, stop, stopped, over }) => {
    const begun = await asked("GET", headersOf(file), { stop: stopped });
    let { status, answer } = begun;
    if (status === 200 && answer.id === undefined) {
      file.upload = answer.upload;
      const { offset } = answer;
      const show = (sent) => {
        file.share = file.size ? Math.min(1, (offset + sent) / file.size) : 0;
        bar.value = file.share;
        said.textContent = `${Math.round(100 * file.share)} %`;
        remembered.keep(file, file.share);
      };
      show(0);
      ({ status, answer } = await asked("POST", headersOf(file, { [box.heaters.data.names.offset]: offset }), {
        body: file.blob.slice(offset), onProgress: show, onSent: () => (stop.hidden = true), stop: stopped, // too late to be cancelled
      }));
      stop.hidden = false;
    }
    if (!unfinished.has(row)) return true;
    if (status === 200 || status === 201) {
      over("ok", `submitted as source video ${answer.id}`);
      box.heaters.done(answer.id);
    } else if (LOST.has(status)) {
      said.textContent = `${answer.error ?? "No connection to the server"}. It goes on by itself.`;
      return false;
    } else over("failed", answer.error ?? `The server answers ${status}: send it again.`, { goesOn: status === 401 || status === 403 });
    return true;
  };
  const send = async (upload) => {
    for (let tries = 0, share = 0; !(await sendRest(upload)); tries++) {
      if (upload.file.share > share) tries = 0;
      share = upload.file.share;
      await new Promise((over) => setTimeout(over, WAITS_MS[Math.min(tries, WAITS_MS.length - 1)]));
      if (!unfinished.has(upload.row)) return;
    }
  };
  const sendAll = async (files) => {
    for (const upload of files.map(rowOf)) if (unfinished.has(upload.row)) await send(upload);
  };
  // Of an earlier visit of this page. What another tab sends just now is not shown.
  for (const file of remembered.all().filter(({ at }) => Date.now() - at >= HERE_MS)) {
    const row = made("li", { className: "left" }), stop = made("button", { type: "button", textContent: "Forget it" });
    stop.title = `Remove what has come of ${file.name}`;
    stop.addEventListener("click", () => {
      remembered.forget(file);
      row.remove();
      asked("DELETE", headersOf(file));
    });
    row.heaters = remembered.key(file);
    row.append(made("span", { textContent: file.name }), made("progress", { max: 1, value: file.share }),
      made("span", { textContent: "Not all of it has come. Choose the file again: it goes on where it stopped." }), stop);
    list.append(row);
  }
  input.addEventListener("change", () => { sendAll([...input.files]); input.value = ""; });
  box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("over"); });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    sendAll([...event.dataTransfer.files]);
  });
}
"""
_HTML = """<label class="box"><input type="file" multiple accept="video/*,.mkv,.avi,.mxf,.ts">
<strong>Drop video files here</strong><span>or choose them</span></label><ul></ul>"""
_CSS = """
.box { display: grid; justify-items: center; align-content: center; gap: 2px; min-height: 130px; padding: 12px; border-radius: 8px;
  cursor: pointer; border: 2px dashed color-mix(in srgb, var(--st-text-color) 35%, transparent);
  color: var(--st-text-color); font: 14px var(--st-font); }
.box.over, .box:focus-within { border-color: var(--st-primary-color); }
.box input { position: absolute; width: 1px; height: 1px; opacity: 0; }
ul { list-style: none; margin: 8px 0 0; padding: 0; font: 13px var(--st-font); color: var(--st-text-color); }
li { display: grid; grid-template-columns: 1fr 100px 1.4fr auto; gap: 10px; align-items: center; min-height: 28px; }
li > span { overflow-wrap: anywhere; }
progress { width: 100%; accent-color: var(--st-primary-color); }
li button { padding: 1px 10px; border-radius: 6px; border: 1px solid color-mix(in srgb, var(--st-text-color) 25%, transparent);
  background: none; color: inherit; font: inherit; cursor: pointer; }
li.failed { color: #d33; }
li.cancelled, li.left { opacity: .75; }
"""
_mount = st.components.v2.component("heaters_upload", html=_HTML, css=_CSS, js=_JS)


def upload_box(desk: ReviewDesk, session: Session, *, rights: str = "", chapters_as_cuts: bool = False) -> None:
    """Show the box; each file that arrives becomes a source video. rights: what may be done with them. chapters_as_cuts: their chapters
    begin clips.
    """
    said = {RIGHTS_HEADER: rights, CHAPTERS_HEADER: "1" if chapters_as_cuts else ""}
    names = {"name": NAME_HEADER, "size": SIZE_HEADER, "modified": MODIFIED_HEADER, "upload": UPLOAD_HEADER, "offset": OFFSET_HEADER}
    data = {"token": desk.links.session_token(session), "names": names, "said": said}
    _mount(data=data, key="upload", on_uploaded_change=lambda: None)
