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
    if (e.key === "y") return copy();
    const to = $(`[data-key="${CSS.escape(e.key)}"]`);
    if (!to || e.repeat) return;
    e.preventDefault();
    if (typing({ target: to })) to.focus(); else to.click();
  });

  // copy puts the id of the alert into the clipboard: that of the page, or of the line.
  const copy = async () => {
    const id = $("[data-copy]")?.dataset.copy ?? $(".list tr.here .row")?.pathname.split("/").pop();
    if (!id) return;
    try {
      await navigator.clipboard.writeText(id);
    } catch { // there is none without TLS
      const focus = document.activeElement;
      const field = Object.assign(document.createElement("textarea"), { value: id, className: "unseen" });
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
      focus.focus({ preventScroll: true });
    }
    say(`Copied ${id}`);
  };
  document.addEventListener("click", (e) => e.target.closest?.("[data-copy]") && copy());
  let said;
  const say = (text) => {
    const at = $("#said");
    at.textContent = ""; // so that the same is said again
    setTimeout(() => (at.textContent = text));
    clearTimeout(said);
    said = setTimeout(() => (at.textContent = ""), 5000);
  };

  // Times go on while a page stands open, as words.go writes them: each second, or each
  // minute for whoever wants nothing to move. They have their room and move nothing else.
  const ahead = Number($("main").dataset.now) - Date.now(); // the desk's clock
  const units = [["s", 1], ["min", 60], ["h", 3600], ["days", 86400], ["years", 365 * 86400]];
  const span = (s) => {
    const [name, of] = units[[60, 3600, 172800, 730 * 86400, Infinity].findIndex((end) => s < end)];
    return `${Math.floor(s / of)} ${name}`;
  };
  const words = {
    since: (s) => span(Math.max(0, s)),
    ago: (s) => (s < 0 ? `in ${span(-s)}` : s < 60 ? "just now" : `${span(s)} ago`),
    until: (s) => (s > 0 ? `${span(s)} late` : `${span(-s)} left`),
  };
  const tick = () => {
    for (const at of document.querySelectorAll("[data-since], [data-ago], [data-until]")) {
      const kind = Object.keys(words).find((k) => k in at.dataset);
      const s = (Date.now() + ahead - Date.parse(at.closest("[title]").title)) / 1000;
      const text = words[kind](s);
      if (at.textContent !== text) at.textContent = text;
      if (kind === "until") at.classList.toggle("late", s > 0);
    }
    setTimeout(tick, matchMedia("(prefers-reduced-motion: reduce)").matches ? 60_000 : 1000);
  };
  setTimeout(tick, 1000);

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
