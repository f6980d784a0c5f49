// Shows new entries of the book as they come. Everything else on the page works
// without this.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const list = $("acts");
  if (!list || list.dataset.earlier) return; // older entries stand still
  const root = document.documentElement;
  const state = $("state"), crash = $("crash-result"), dock = $("dock");
  let cursor = list.dataset.cursor, seq = Number(list.dataset.seq), source, asked = false;

  const fragment = (html) => {
    const t = document.createElement("template");
    t.innerHTML = html;
    return t.content;
  };
  const link = (name) => { root.dataset.live = name; };

  // Lets what is already there glide to its new place.
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const makeRoom = (height) => {
    if (still.matches) return;
    for (const li of [...list.children].slice(1, 8)) {
      li.animate([{ transform: `translateY(${-height}px)` }, { transform: "none" }], { duration: 400, easing: "cubic-bezier(.2, .8, .3, 1)" });
    }
  };

  const entry = (e) => {
    cursor = e.lastEventId;
    const act = fragment(e.data).firstElementChild;
    const item = act.querySelector("[data-seq]");
    if (Number(item.dataset.seq) <= seq) return;
    seq = Number(item.dataset.seq);
    const first = list.firstElementChild;
    // What opened by itself closes by itself, so that the newest stands out.
    for (const d of list.querySelectorAll("details[data-auto]")) d.open = false;
    if (first && first.dataset.act === act.dataset.act) {
      item.classList.add("arrives");
      first.querySelector(".entries").append(item);
      const n = first.querySelectorAll("[data-seq]").length;
      first.querySelector(".count").textContent = n + " entries, one commit";
    } else {
      act.classList.add("arrives");
      list.prepend(act);
      makeRoom(act.offsetHeight);
      $("empty")?.remove();
    }
    while (list.children.length > 100) list.lastElementChild.remove();
  };

  const connect = () => {
    source = new EventSource("/live?after=" + encodeURIComponent(cursor));
    source.onopen = () => link("on");
    source.onerror = () => {
      link("off");
      if (asked) crash.replaceChildren(fragment("<p class=\"step\"><b>Killed.</b> The connection is gone. The parent starts the server again…</p>"));
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 500);
    };
    source.addEventListener("entry", entry);
    source.addEventListener("state", (e) => {
      state.replaceChildren(fragment(e.data));
      if (dock) dock.textContent = state.querySelector(".verdict")?.textContent ?? "";
    });
    source.addEventListener("crash", (e) => {
      asked = false;
      crash.replaceChildren(fragment(e.data));
      if (button.disabled) crash.scrollIntoView({ block: "nearest" });
      if (!crash.querySelector("[data-over]")) return;
      button.disabled = false;
    });
    source.addEventListener("replaced", () => location.reload());
  };

  const form = $("crash-form"), button = form.querySelector("button");
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    asked = true;
    button.disabled = true;
    crash.replaceChildren(fragment("<p class=\"step\">Somebody opens their magic link…</p>"));
    try {
      await fetch(form.action, { method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(new FormData(form)) });
    } catch { /* the server may be gone before it answers */ }
  });

  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
  connect();
})();
