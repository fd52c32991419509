// What the browser tests read off a page.
const LOOKS = ["color", "backgroundColor", "backgroundImage", "fontSize", "fontWeight", "opacity", "textShadow", "visibility", "position", "display"];
const look = {
  // [how many formulas there are, those that were not typeset]
  mathematics() {
    const formulas = [...document.querySelectorAll(".math")];
    const failed = formulas.filter((f) => !f.querySelector("mjx-container") || f.querySelector("mjx-merror"));
    const raw = look.texts().filter((text) => /\\\(|\\\[|\$\$|\\begin\{/.test(text));
    return [formulas.length, [...failed.map((f) => f.textContent.trim()), ...raw]];
  },

  // the text of the page without code and what MathJax has made
  texts() {
    const skip = "pre, code, script, style, textarea, mjx-container";
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      if (!walker.currentNode.parentElement.closest(skip)) found.push(walker.currentNode.textContent);
    }
    return found;
  },

  images() {
    const decoration = "[role=presentation], [aria-hidden=true], .logo__image";
    return [...document.images]
      .filter((image) => !image.closest(decoration))
      .map((image) => ({ alt: image.alt, src: image.src.slice(0, 120), loaded: image.naturalWidth > 0 }));
  },

  explorerBytes() {
    return [...document.querySelectorAll("figure.explore")].reduce((sum, e) => sum + e.outerHTML.length, 0);
  },

  // the accessible name of a control
  label(control) {
    const by = control.getAttribute("aria-labelledby");
    const named = by ? by.split(/\s+/).map((id) => document.getElementById(id)?.textContent).join(" ") : "";
    const labels = [...(control.labels ?? [])].map((label) => label.textContent).join(" ");
    const text = control.tagName === "SUMMARY" ? control.textContent : "";
    return (named || control.getAttribute("aria-label") || labels || text).trim();
  },

  isFolded(handle) {
    return handle.tagName === "SUMMARY" ? !handle.parentElement.open : handle.getAttribute("aria-expanded") !== "true";
  },

  // what reaches past the right edge of the screen outside of a box that scrolls by itself
  tooWide() {
    const hidden = ".visually-hidden, mjx-assistive-mml, dialog, .bd-sidebar-secondary, script, style";
    return [...document.querySelectorAll("main *")]
      .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(hidden) && !look.scrolls(e))
      .map((e) => e.outerHTML.slice(0, 160));
  },

  // Of the words of a listing that look alike, all but the leftmost get a mark: their contrast is the
  // same, for colour, ground and font decide it, and axe needs a millisecond for each of 4,000 words.
  markAlike() {
    document.querySelectorAll("[data-alike]").forEach((word) => word.removeAttribute("data-alike"));
    for (const listing of document.querySelectorAll("pre")) {
      const shown = new Map();
      const words = [...listing.querySelectorAll("span[class]")].filter((w) => w.attributes.length === 1 && !w.children.length);
      for (const word of words.sort((a, b) => a.getBoundingClientRect().left - b.getBoundingClientRect().left)) {
        const style = getComputedStyle(word);
        const kind = LOOKS.map((name) => style[name]).join("|");
        if (shown.has(kind)) word.setAttribute("data-alike", "");
        shown.set(kind, word);
      }
    }
  },

  scrolls(element) {
    for (let box = element; box && box !== document.body; box = box.parentElement) {
      const inside = box.getBoundingClientRect().right <= innerWidth + 1;
      if (inside && /auto|scroll/.test(getComputedStyle(box).overflowX)) return true;
    }
    return false;
  },
};
