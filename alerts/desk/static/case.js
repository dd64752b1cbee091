// Cases that do not wait for the network: an action is sent behind the page, which its
// answer replaces; what is pressed meanwhile waits for that. The next case is fetched
// while this one is read and shown at once when it is asked for, and what takes it goes
// on behind. What the history did not say in time is fetched, and takes its place.
// Without this all of it is forms and links.
"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  let turn = Promise.resolve(); // ends when all that was sent has its answer
  let seen = 0; // pages shown: an answer is not to replace a page behind its own
  const ahead = { path: "", page: null }; // the next case, there or on its way
  let undo = null; // what can be taken back of a case that was left

  const read = async (answer) => {
    const r = await answer;
    const doc = new DOMParser().parseFromString(await r.text(), "text/html");
    const good = r.ok && doc.querySelector(".acts #note"); // a case, and not a second look at one
    return { good, wrong: !r.ok, main: doc.querySelector("main"), title: doc.title, url: r.url };
  };
  // fill puts what the history says into a case that came without.
  const fill = async (main) => {
    const link = main.querySelector("a[data-later]");
    if (!link) return;
    delete link.dataset.later;
    const page = await read(fetch(link.getAttribute("href"))).catch(() => null);
    const past = page?.main?.querySelector("#past");
    if (!past) return; // the link leads to what is wrong
    const old = main.querySelector("#past");
    const at = old.contains(document.activeElement) && document.activeElement.getAttribute("href");
    old.replaceWith(past);
    if (at) past.querySelector(`a[href="${CSS.escape(at)}"]`)?.focus({ preventScroll: true });
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
  // leave keeps what can be taken back of a case, but to have taken it: that is to put
  // it back.
  const leave = (main) => {
    const button = main.querySelector("[data-ms]");
    if (!button || main.querySelector('[value="released"]')) return;
    const words = `${main.querySelector(".verdict .state").textContent}, ${main.querySelector(".fact").firstChild.textContent.trim()}`;
    undo = { form: main.querySelector(".acts"), words, until: performance.now() + Number(button.dataset.ms) };
    offer();
  };
  const offer = () => {
    const left = undo ? undo.until - performance.now() : 0;
    if (left <= 0) return;
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.key = "u";
    button.textContent = `Undo ${undo.words} `;
    button.append(Object.assign(document.createElement("kbd"), { textContent: "u" }));
    button.addEventListener("click", () => {
      const { form } = undo;
      undo = null;
      send(form, { kind: "undone", previous: form.elements.previous.value }, true);
    });
    $(".acts [data-key=u]")?.remove();
    $(".acts .next").before(button);
    setTimeout(() => button.remove(), left);
  };
  // begin looks at a page that has just been shown.
  const begin = () => {
    const own = $("[data-ms]");
    if (own) setTimeout(() => own.remove(), Number(own.dataset.ms));
    if (undo && undo.form.action === $(".acts").action) undo = null;
    offer();
    fill($("main"));
    const path = $("[data-next]")?.dataset.next;
    // Whoever only looks at a case does not need the next one.
    if (!path || path === ahead.path || $('.acts [value="claimed"]')) return;
    ahead.path = path;
    ahead.page = read(fetch(path)).then((page) => page.good && (fill(page.main), page)).catch(() => null);
  };
  const verdicts = { closed_fraud: "fraud", closed_genuine: "genuine" };
  // send sends an action after those before it, and shows what came of it; where one has
  // gone on meanwhile, only if back is set.
  const send = async (form, body, back) => {
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
    if (page?.good && (back || seen === at)) show(page, note);
    else if (page?.good && !page.url.includes("?told=")) leave(page.main);
    // What did not count, or may not, is said even to those who have gone on; so is
    // what went wrong, on the page that says so.
    else if (page?.wrong) {
      seen++;
      document.title = page.title;
      $("main").replaceWith(document.adoptNode(page.main));
    } else location.assign(page?.url ?? form.action.replace(/\/act$/, ""));
  };
  const next = async (form, button) => {
    const page = button.dataset.next === ahead.path && (await ahead.page);
    ahead.path = "";
    if (!page) {
      await turn;
      form.action = button.formAction;
      return form.submit();
    }
    leave($("main"));
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
  // A digit chooses the reason that goes with a verdict.
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName) || $("dialog[open]")) return;
    if (/^[0-9]$/.test(e.key) && $("#reason")?.options[e.key]) $("#reason").selectedIndex = Number(e.key);
  });
  addEventListener("popstate", () => location.reload());
  if ($(".acts")) begin();
  else fill($("main")); // whoever only reads
})();
