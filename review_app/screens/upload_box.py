"""A box to drop files into: they go straight to our own route, with progress, and never through Streamlit's memory."""

from __future__ import annotations

import streamlit as st

from review_app.server.uploads import CHAPTERS_HEADER, NAME_HEADER, RIGHTS_HEADER
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk

_JS = """
const unfinished = new Set(); // rows of files that wait or are being sent
addEventListener("beforeunload", (event) => unfinished.size && event.preventDefault());
// A file dropped beside the box would take the place of the page.
const holdsFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => holdsFiles(event) && event.preventDefault());

export default function ({ data, parentElement, setTriggerValue }) {
  const box = parentElement.querySelector(".box"), input = box.querySelector("input"), list = parentElement.querySelector("ul");
  box.heaters = { data, done: (id) => setTriggerValue("uploaded", id) };
  if (box.ready) return;
  box.ready = true;
  const made = (name, properties = {}) => Object.assign(document.createElement(name), properties);
  const rowOf = (file) => {
    const row = made("li"), said = made("span", { textContent: "waits" }), bar = made("progress", { max: 1, value: 0 });
    const stop = made("button", { type: "button", textContent: "Cancel", title: `Do not send ${file.name}` });
    const request = new XMLHttpRequest();
    const over = (kind, words) => {
      row.className = kind;
      said.textContent = words;
      stop.remove();
      unfinished.delete(row);
    };
    stop.addEventListener("click", () => {
      over("cancelled", "cancelled");
      request.abort();
    });
    row.append(made("span", { textContent: file.name }), bar, said, stop);
    list.append(row);
    unfinished.add(row);
    return { file, row, bar, said, request, over };
  };
  const send = ({ file, row, bar, said, request, over }) => {
    request.open("POST", "/api/uploads");
    request.setRequestHeader("X-Heaters-Token", box.heaters.data.token);
    for (const [header, text] of Object.entries({ ...box.heaters.data.said, [box.heaters.data.name_header]: file.name }))
      request.setRequestHeader(header, encodeURIComponent(text));
    request.upload.addEventListener("progress", (event) => {
      bar.value = event.loaded / event.total;
      said.textContent = `${Math.round(100 * bar.value)} %`;
    });
    request.upload.addEventListener("load", () => row.querySelector("button")?.remove()); // too late to be cancelled
    return new Promise((settled) => {
      request.addEventListener("loadend", () => {
        settled();
        if (!unfinished.has(row)) return;
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { answer = {}; }
        if (request.status !== 201) return over("failed", answer.error ?? "No connection to the server: send it again.");
        over("ok", `submitted as source video ${answer.id}`);
        box.heaters.done(answer.id);
      });
      request.send(file);
    });
  };
  const sendAll = async (files) => {
    for (const upload of files.map(rowOf)) if (unfinished.has(upload.row)) await send(upload);
  };
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
li.cancelled { opacity: .6; }
"""
_mount = st.components.v2.component("heaters_upload", html=_HTML, css=_CSS, js=_JS)


def upload_box(desk: ReviewDesk, session: Session, *, rights: str = "", chapters_as_cuts: bool = False) -> None:
    """Show the box; each file that arrives becomes a source video. rights: what may be done with them. chapters_as_cuts: their chapters
    begin clips.
    """
    said = {RIGHTS_HEADER: rights, CHAPTERS_HEADER: "1" if chapters_as_cuts else ""}
    data = {"token": desk.links.session_token(session), "name_header": NAME_HEADER, "said": said}
    _mount(data=data, key="upload", on_uploaded_change=lambda: None)
