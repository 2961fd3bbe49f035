// Which view is shown, and whom it asks.

import { address, element } from "./elements.js";
import { VIEWS } from "./views.js";

const token = document.querySelector('meta[name="console-token"]').content;
const main = document.getElementById("main");
const status = document.getElementById("status");

/** The number of the view that is being made: an answer to an older one comes too late. */
let current = 0;

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The console does not answer: has mqadmin ended?");
  }
  const facts = await response.json().catch(() => ({ error: `The console answers ${response.status} without JSON.` }));
  if (!response.ok) throw new Error(facts.error ?? `The console answers ${response.status}.`);
  return facts;
}

function ask(path, query = {}) {
  return answer(`/api/${path}?${new URLSearchParams(query)}`);
}

function tell(path, facts) {
  const headers = { "content-type": "application/json", "x-console-token": token };
  return answer(`/api/${path}`, { method: "POST", headers, body: JSON.stringify(facts) });
}

function go(view, query) {
  const there = address(view, query);
  if (there === location.hash) show();
  else location.hash = there;
}

async function show() {
  // The link that skips the menu is no view.
  if (location.hash === "#main") return;
  const [, name = "", pairs = ""] = /^#\/([^?]*)\??(.*)$/.exec(location.hash) ?? [];
  const view = Object.hasOwn(VIEWS, name) ? VIEWS[name] : VIEWS.brokers;
  const query = Object.fromEntries(new URLSearchParams(pairs));
  for (const it of document.querySelectorAll("nav a")) {
    if (it.getAttribute("href") === `#/${view.entry}`) it.setAttribute("aria-current", "page");
    else it.removeAttribute("aria-current");
  }
  const mine = ++current;
  status.textContent = "Asking the cluster …";
  let shown;
  try {
    shown = await view.show({ ask, tell, go, query, mayChange: token !== "" });
    if (mine === current) status.textContent = `As of ${new Date().toLocaleTimeString()}`;
  } catch (error) {
    shown = [element("p", { class: "trouble", role: "alert" }, error.message)];
    if (mine === current) status.textContent = "";
  }
  if (mine !== current) return;
  main.replaceChildren(...shown.flat(Infinity).filter((it) => it !== null && it !== undefined));
  document.title = `${main.querySelector("h1")?.textContent ?? "No answer"} · mqadmin console`;
}

window.addEventListener("hashchange", () => show().then(() => main.focus()));
document.getElementById("refresh").addEventListener("click", show);
show();
