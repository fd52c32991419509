// Small repairs of what the theme and Sphinx write, for readers with a keyboard or a screen reader.

// A collapsed block's button says what it opens, not just that it opens something.
function nameToggles() {
  for (const button of document.querySelectorAll("button.toggle-button")) {
    const title = button.closest(".admonition-title");
    if (title) button.setAttribute("aria-label", title.textContent.trim().replace(/\s+/g, " "));
    button.setAttribute("aria-controls", button.dataset.target);
  }
}

// The name of a button has to hold the words that are seen on it; the theme's labels leave some out.
function nameButtons() {
  document.querySelectorAll(".search-button-field").forEach((button) => button.removeAttribute("aria-label"));
  document.querySelectorAll(".theme-switch").forEach((icon) => icon.removeAttribute("title"));
}

// The bibliography calls itself a list and has no list items.
function unlistCitations() {
  document.querySelectorAll(".citation-list[role=list]").forEach((list) => list.removeAttribute("role"));
}

// The arrow that unfolds a part of the contents is a picture alone.
function nameContents() {
  document.querySelectorAll("nav summary").forEach((arrow) => arrow.setAttribute("aria-label", "Show the pages below"));
}

// "interactive" comes before the deferred script that turns icons into drawings and their titles into text.
document.addEventListener("readystatechange", () => {
  if (document.readyState !== "interactive") return;
  nameButtons();
  unlistCitations();
  nameContents();
});
document.addEventListener("DOMContentLoaded", nameToggles);

// A check's card links to a heading by the name it has in JupyterLab; here its name is a slug.
function linkSections() {
  for (const link of document.querySelectorAll(".lab-check a")) {
    const [page, heading] = link.getAttribute("href").split("#");
    const slug = heading.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^[-0-9]+|-+$/g, "");
    link.setAttribute("href", page.replace(/\.ipynb$/, ".html") + "#" + slug);
  }
}
document.addEventListener("DOMContentLoaded", linkSections);

// A formula in a line that is wider than its column scrolls by itself.
function boxWideFormulas() {
  for (const formula of document.querySelectorAll("span.math mjx-container")) {
    formula.classList.remove("wide");
    const column = formula.closest("p, li, td, dd, section, div");
    formula.classList.toggle("wide", formula.getBoundingClientRect().width > column.clientWidth);
  }
}

window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  boxWideFormulas();
  window.addEventListener("resize", boxWideFormulas);
});
