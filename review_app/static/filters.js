// Popovers and filters by keyboard: the focus goes into a popover that opens and back to its button when it closes, Escape closes it, and
// "/" leads to the text filter of the page.

(() => {
  if (window.heatersFilters) return; // Streamlit may run this again with a page

  const FIELDS = ["review-text", "clips-text", "videos-text", "history-clip", "search-words", "partitions-find"];
  const FOCUSABLE = "input, textarea, button, a[href], [tabindex='0']";
  const popover = () => document.querySelector('[data-testid="stPopoverBody"]');
  const field = () => document.querySelector(FIELDS.map((key) => `.st-key-${key} input`).join());
  // With a tooltip Streamlit draws a button twice and hides one of the two.
  const button = () => [...document.querySelectorAll(".st-key-filters button")].find((one) => one.checkVisibility());
  let shown = null;
  let opener = null;
  let toField = false;
  let greeted = null;

  /** Into a popover as soon as Streamlit has drawn what is in it. */
  const enter = (body, tries = 40) => {
    if (shown !== body || (body.contains(document.activeElement) && !toField)) return;
    const inside = toField ? field() : body.querySelector(FOCUSABLE);
    inside?.focus();
    if (inside && document.activeElement === inside) toField = false;
    else if (tries) setTimeout(() => enter(body, tries - 1), 50);
    else toField = false;
  };

  new MutationObserver(() => {
    const name = document.querySelector(".st-key-door input"); // where a name is chosen one can type at once
    if (name && name !== greeted) (greeted = name).focus();
    const body = popover();
    if (body === shown) return;
    const closed = shown && !body;
    shown = body;
    if (closed && (document.activeElement === document.body || !document.activeElement)) opener?.focus();
    if (!body) return;
    opener = document.querySelector('[data-testid="stPopover"] button[aria-expanded="true"]') ?? opener;
    enter(body);
  }).observe(document.body, { childList: true, subtree: true });

  /** To the text filter, in the popover where it lies there. */
  window.heatersFilters = () => {
    const here = field();
    if (here) return here.focus();
    toField = true;
    opener = button();
    opener?.click();
    return undefined;
  };

  const isTyping = (event) => {
    const target = event.composedPath()[0];
    return target.isContentEditable || ["input", "textarea", "select"].includes(target.localName);
  };

  window.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shown) {
      const [body, by] = [shown, opener];
      // A menu in it closes first, and Streamlit may close the popover by itself.
      if (document.querySelector('[role="listbox"]')) return;
      setTimeout(() => {
        if (popover() === body) by?.click();
        by?.focus();
      }, 100);
    }
    // On the review page the player has the key, as all others: one table of keys.
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isTyping(event) || button()) return;
    if (!field()) return;
    event.preventDefault();
    window.heatersFilters();
  });
})();
