"use strict";
// What pages do beyond links and forms. Everything works without it, but for live progress.

function remember(theme) {
  const gone = theme === "" ? "; max-age=0" : "; max-age=31536000";
  document.cookie = `rewriter_theme=${theme}; path=/console; samesite=lax${gone}`;
  if (theme === "") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
}

function toggleTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const other = (document.documentElement.dataset.theme || system) === "dark" ? "light" : "dark";
  remember(other === system ? "" : other);
}

async function copy(button) {
  const text = button.parentElement.querySelector("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS there is no clipboard: mark the text, so that one key copies it.
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    return;
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

// A job's progress: pieces of the page as the server makes them, until it has ended.
function follow(region) {
  const source = new EventSource(region.dataset.follow);
  source.addEventListener("progress", (event) => {
    const list = region.querySelector(".live-list");
    const top = list === null ? 0 : list.scrollTop;
    region.innerHTML = JSON.parse(event.data).html;
    const now = region.querySelector(".live-list");
    if (now !== null) now.scrollTop = top;
    const title = document.querySelector("h1");
    if (title !== null && title.textContent === "Waiting for a worker" && region.querySelector(".now") !== null) location.reload();
  });
  source.addEventListener("ended", () => {
    source.close();
    location.replace(location.pathname);
  });
}

// The review queue by keyboard.
function queue(form) {
  const rows = Array.from(form.querySelectorAll("[data-row]"));
  let here = -1;
  const tick = (row) => row.querySelector("input[type=checkbox]");
  const go = (place) => {
    if (rows.length === 0) return;
    if (here >= 0) rows[here].classList.remove("here");
    here = Math.max(0, Math.min(rows.length - 1, place));
    rows[here].classList.add("here");
    rows[here].querySelector("a").focus({ preventScroll: true });
    rows[here].scrollIntoView({ block: "nearest" });
  };
  const decide = (decision) => {
    const button = form.querySelector(`button[value=${decision}]`);
    if (button === null || here < 0) return;
    if (rows.every((row) => !tick(row).checked)) tick(rows[here]).checked = true;
    form.requestSubmit(button);
  };
  const keys = {
    j: () => go(here + 1),
    k: () => go(here - 1),
    x: () => { if (here >= 0 && tick(rows[here])) tick(rows[here]).checked = !tick(rows[here]).checked; },
    a: () => decide("approved"),
    r: () => decide("rejected"),
    "?": () => document.getElementById("keys").showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const writing = event.target.matches("input:not([type=checkbox]), textarea, select") || document.querySelector("dialog[open]");
    if (writing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  const all = form.querySelector("[data-tick-all]");
  if (all !== null) all.addEventListener("change", () => rows.forEach((row) => { tick(row).checked = all.checked; }));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button === null) return;
  if ("themeToggle" in button.dataset) toggleTheme();
  if ("copy" in button.dataset) copy(button);
  if (button.dataset.dialog) document.getElementById(button.dataset.dialog).showModal();
});
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
document.addEventListener("change", (event) => {
  if ("submit" in event.target.dataset) event.target.form.requestSubmit();
});
document.querySelectorAll("[data-follow]").forEach(follow);
document.querySelectorAll("form[data-queue]").forEach(queue);
