"""axe-core in the page of a browser test: what keeps people with a screen reader, a keyboard or weak eyes from using it."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page


def found_by_axe(page: Page) -> list[str]:
    """What axe-core has against the page as it stands, shadow roots too: one line for each rule and element.

    A tooltip belongs to its button, which it describes, so it needs no landmark: the rule `region` is for what people read by itself.
    """
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE_SCRIPT)
    found: list[dict[str, Any]] = page.evaluate("axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations)")
    return [
        f"{rule['id']}: {node['html']} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
        if not (rule["id"] == "region" and page.evaluate(_HOLDS_TOOLTIPS_ALONE, node["target"][-1]))
    ]


_HOLDS_TOOLTIPS_ALONE = """(selector) => {
    const layers = [...(document.querySelector(selector)?.querySelectorAll("[data-testid], [role]") ?? [])];
    return layers.length > 0 && layers.every((one) => one.closest("[role=tooltip]") || one.querySelector("[role=tooltip]"));
}"""


def undescribed_buttons(page: Page) -> list[str]:
    """Visible buttons, in shadow roots too, that do not say what they do: neither by a title nor by a tooltip of Streamlit's.

    What Streamlit itself puts around the page and into its fields is left out.
    """
    found: list[str] = page.evaluate(
        """() => {
            const all = (root) => [...root.querySelectorAll("*")].flatMap((one) => [one, ...(one.shadowRoot ? all(one.shadowRoot) : [])]);
            const streamlits = "[data-testid=stHeader], [data-testid=stToolbar], [data-testid=stMultiSelect], [data-testid=stSelectbox], "
                + "[data-testid=stElementToolbar], [data-testid=stSidebar], [data-testid=stToast]";
            const described = (one) => one.title?.trim() || one.ariaDescription?.trim() || one.getAttribute("aria-describedby")
                || one.closest("[data-testid=stTooltipHoverTarget]");
            return all(document)
                .filter((one) => one.matches("button, [role=button], input[type=submit], input[type=button]"))
                .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest(streamlits) && !described(one))
                .map((one) => one.outerHTML.replace(/<svg.*?<[/]svg>/gs, "").slice(0, 200));
        }"""
    )
    return [f"a button that does not say what it does: {one}" for one in found]
