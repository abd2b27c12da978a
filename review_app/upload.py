"""A box to drop files into: they go straight to our own route, with progress, and never through Streamlit's memory."""

from __future__ import annotations

import streamlit as st

from review_app.desk import ReviewDesk
from review_app.links import Session
from review_app.uploads import NAME_HEADER

_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const box = parentElement.querySelector(".box"), input = box.querySelector("input"), list = parentElement.querySelector("ul");
  box.heaters = { data, done: (id) => setTriggerValue("uploaded", id) };
  if (box.ready) return;
  box.ready = true;
  const send = (file) => {
    const row = document.createElement("li"), name = document.createElement("span"), bar = document.createElement("progress");
    const said = document.createElement("span");
    name.textContent = file.name;
    bar.max = 1;
    row.append(name, bar, said);
    list.append(row);
    const request = new XMLHttpRequest();
    request.open("POST", "/api/uploads");
    request.setRequestHeader("X-Heaters-Token", box.heaters.data.token);
    request.setRequestHeader(box.heaters.data.name_header, encodeURIComponent(file.name));
    request.upload.addEventListener("progress", (event) => {
      bar.value = event.loaded / event.total;
      said.textContent = `${Math.round(100 * bar.value)} %`;
    });
    return new Promise((settled) => {
      request.addEventListener("loadend", () => {
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { answer = {}; }
        const ok = request.status === 201;
        row.className = ok ? "ok" : "failed";
        said.textContent = ok ? `submitted as source video ${answer.id}` : answer.error ?? "No connection to the server: send it again.";
        if (ok) box.heaters.done(answer.id);
        settled();
      });
      request.send(file);
    });
  };
  const sendAll = async (files) => { for (const file of files) await send(file); };
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
li { display: grid; grid-template-columns: 1fr 120px 1.4fr; gap: 10px; align-items: center; }
progress { width: 100%; accent-color: var(--st-primary-color); }
li.failed { color: #d33; }
"""
_mount = st.components.v2.component("heaters_upload", html=_HTML, css=_CSS, js=_JS)


def upload_box(desk: ReviewDesk, session: Session) -> None:
    """Show the box; each file that arrives becomes a source video."""
    _mount(data={"token": desk.links.session_token(session), "name_header": NAME_HEADER}, key="upload", on_uploaded_change=lambda: None)
