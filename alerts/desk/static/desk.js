// Keys, and word of what is new. All of it works without this, by links and forms.
"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  const typing = (e) => /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName);

  // Keys.
  let at = -1;
  const go = (by) => {
    const rows = document.querySelectorAll(".list tbody tr");
    if (rows.length === 0) return;
    rows[at]?.classList.remove("here");
    at = Math.max(0, Math.min(rows.length - 1, at + by));
    rows[at].classList.add("here");
    rows[at].querySelector("a").focus({ preventScroll: true });
    rows[at].scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "Escape" && typing(e)) return e.target.blur();
    if (typing(e)) return;
    const dialog = $("dialog[open]");
    if (dialog) return e.key === "?" && dialog.close();
    if (e.key === "j") return go(1);
    if (e.key === "k") return go(-1);
    const to = $(`[data-key="${CSS.escape(e.key)}"]`);
    if (!to || e.repeat) return;
    e.preventDefault();
    if (typing({ target: to })) to.focus(); else to.click();
  });

  // What the keys are is shown over the page, which stays as it is.
  document.addEventListener("click", async (e) => {
    const link = e.target.closest?.('a[data-key="?"]');
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    let dialog = $("dialog");
    if (!dialog) {
      const answer = await fetch(link.href).catch(() => null);
      if (!answer?.ok) return location.assign(link.href);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      dialog = document.createElement("dialog");
      dialog.setAttribute("aria-label", "Keys");
      dialog.append(...page.querySelector("main").childNodes);
      const close = document.createElement("button");
      close.className = "quiet";
      close.textContent = "Close";
      close.addEventListener("click", () => dialog.close());
      dialog.append(close);
      document.body.append(dialog);
    }
    if (!dialog.open) dialog.showModal();
  });

  // The list never moves under the reader: what came waits behind a line.
  const news = $(".news a");
  if (news) {
    let fresh = 0;
    const from = new EventSource("/events");
    from.addEventListener("arrived", (e) => {
      fresh += Number(e.data) || 1;
      news.hidden = false;
      news.textContent = `${fresh} new`;
    });
    addEventListener("pagehide", () => from.close());
  }
})();
