// Keys, and word of what is new. All of it works without this, by links and forms.
"use strict";
(() => {
  const typing = (e) => /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName);
  const rows = [...document.querySelectorAll(".list tbody tr")];
  let at = -1;
  const go = (to) => {
    if (rows.length === 0) return;
    if (at >= 0) rows[at].classList.remove("here");
    at = Math.max(0, Math.min(rows.length - 1, to));
    rows[at].classList.add("here");
    rows[at].querySelector("a").focus({ preventScroll: true });
    rows[at].scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "Escape" && typing(e)) { e.target.blur(); return; }
    if (typing(e)) return;
    if (e.key === "j") return go(at + 1);
    if (e.key === "k") return go(at - 1);
    const button = document.querySelector(`[data-key="${CSS.escape(e.key)}"]`);
    if (!button) return;
    e.preventDefault();
    if (button.tagName === "INPUT") button.focus(); else button.click();
  });
  // The list never moves under the reader: what came waits behind a line.
  const news = document.querySelector(".news");
  if (news && window.EventSource) {
    let fresh = 0;
    const from = new EventSource("/events");
    from.addEventListener("arrived", (e) => {
      fresh += Number(e.data) || 1;
      news.hidden = false;
      news.querySelector("a").textContent = `${fresh} new`;
    });
    addEventListener("pagehide", () => from.close());
  }
})();
