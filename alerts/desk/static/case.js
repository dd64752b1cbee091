// Cases that do not wait for the network: an action is sent behind the page, which its
// answer replaces; what is pressed meanwhile waits for that. The next case is fetched
// while this one is read and shown at once when it is asked for, and what takes it goes
// on behind. Without this all of it is forms.
"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  let turn = Promise.resolve(); // ends when all that was sent has its answer
  let seen = 0; // pages shown: an answer is not to replace a page behind its own
  const ahead = { path: "", page: null }; // the next case, there or on its way

  const read = async (answer) => {
    const r = await answer;
    const doc = new DOMParser().parseFromString(await r.text(), "text/html");
    if (!r.ok || !doc.querySelector(".acts")) throw new Error(`${r.url}: ${r.status}`);
    return { main: doc.querySelector("main"), title: doc.title, url: r.url };
  };
  const show = (page, sent) => {
    const same = new URL(page.url).pathname === location.pathname;
    const note = $("#note").value;
    const typing = same && document.activeElement === $("#note");
    const main = document.adoptNode(page.main);
    seen++;
    $("main").replaceWith(main);
    document.title = page.title;
    history[same ? "replaceState" : "pushState"](null, "", page.url);
    if (!same) scrollTo(0, 0);
    if (same && note !== sent) $("#note").value = note; // written since it was sent
    main.tabIndex = -1;
    (typing ? $("#note") : main).focus({ preventScroll: true });
    begin();
  };
  // begin looks at a page that has just been shown.
  const begin = () => {
    const undo = $("[data-ms]");
    if (undo) setTimeout(() => undo.remove(), Number(undo.dataset.ms));
    const path = $("[data-next]")?.dataset.next;
    // Whoever only looks at a case does not need the next one.
    if (!path || path === ahead.path || $('.acts [value="claimed"]')) return;
    ahead.path = path;
    ahead.page = read(fetch(path)).catch(() => null);
  };
  const verdicts = { closed_fraud: "fraud", closed_genuine: "genuine" };
  // send sends an action after those before it, and shows what came of it.
  const send = async (form, body) => {
    form.ariaBusy = "true";
    const at = seen;
    const note = form.elements.note.value;
    const verdict = verdicts[new URLSearchParams(body).get("kind")];
    const state = $(".verdict .state");
    if (verdict) {
      state.className = `state ${verdict}`;
      state.textContent = `${verdict}, being sent`;
    }
    const answer = turn.then(() => read(fetch(form.action, { method: "POST", body: new URLSearchParams(body) })));
    turn = answer.catch(() => {});
    const page = await answer.catch(() => null);
    if (page && seen === at) show(page, note);
    // What did not count, or may not, is said even to those who have gone on.
    else if (!page || page.url.includes("?told=")) location.assign(page?.url ?? form.action.replace(/\/act$/, ""));
  };
  const next = async (form, button) => {
    const page = button.dataset.next === ahead.path && (await ahead.page);
    ahead.path = "";
    if (!page) {
      await turn;
      form.action = button.formAction;
      return form.submit();
    }
    show(page);
    const taken = $(".acts");
    if ($('.acts [value="claimed"]')) await send(taken, { kind: "claimed", previous: taken.elements.previous.value });
  };
  document.addEventListener("submit", async (e) => {
    const form = e.target;
    const button = e.submitter;
    if (!form.matches(".acts") || !button) return;
    e.preventDefault();
    if (button.dataset.key === "n") return next(form, button);
    if (form.ariaBusy !== "true") return send(form, new FormData(form, button));
    const at = seen;
    await turn;
    setTimeout(() => seen === at + 1 && $(`.acts [value="${button.value}"]`)?.click()); // behind show
  });
  addEventListener("popstate", () => location.reload());
  if ($(".acts")) begin();
})();
