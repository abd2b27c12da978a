// One voice in an outage. Streamlit opens a dialog over the page after a few seconds without its server; it takes the focus, so that keys go
// nowhere, and it covers a page that goes on working: decisions are kept in the browser and sent later. The dialog is closed as it opens, which
// Streamlit remembers until the connection is back, and a line that takes no focus says how things are.

(() => {
  if (window.heatersConnection) return; // Streamlit may run this again with a page
  window.heatersConnection = true;

  const AFTER_MS = 2500; // a restart of the server is often over before anybody has to read about it
  const WORDS = "No connection to the server. Decisions are kept; it is tried again by itself.";
  const line = Object.assign(document.createElement("div"), { className: "heaters-connection", hidden: true });
  line.setAttribute("role", "status");
  document.body.append(line);
  let timer = 0;

  const closeDialog = () => {
    for (const dialog of document.querySelectorAll('[data-testid="stDialog"]')) {
      if (dialog.querySelector('[slot="title"]')?.textContent !== "Connection error") continue;
      dialog.style.display = "none"; // no picture of it, and no time for it to fade
      dialog.querySelector('button[aria-label="Close"]')?.click();
    }
  };
  new MutationObserver(closeDialog).observe(document.body, { childList: true });
  closeDialog();

  const app = document.querySelector(".stApp");
  const say = () => {
    const away = app.dataset.testConnectionState !== "CONNECTED";
    clearTimeout(timer);
    if (!away) {
      line.hidden = true;
      line.textContent = "";
      return;
    }
    timer = setTimeout(() => {
      line.hidden = false;
      line.textContent = WORDS;
    }, AFTER_MS);
  };
  new MutationObserver(say).observe(app, { attributes: true, attributeFilter: ["data-test-connection-state"] });
  say();
})();
