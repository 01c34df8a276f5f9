// The scripts that cost most, also those that never make the server busy; the text of each on a click.

import { count, duration, moment } from "./format.js";
import { byId, element, show } from "./page.js";

const SHOWN = 20;
const EVERY_MS = 5000;

export class Scripts {
  #model;
  /// The last answer, or null.
  #told = null;
  /// What is on the page, by the scripts' names, so that what was opened stays open.
  #entries = new Map();

  /// `changed()` is called when there may be something to draw.
  constructor(model, changed) {
    this.#model = model;
    setInterval(() => this.ask(changed), EVERY_MS);
  }

  /// While somebody looks and the proxy is there.
  async ask(changed) {
    if (document.hidden || !this.#model.state || this.#model.lost) return;
    this.#told = (await fetchScripts().catch(() => null)) ?? this.#told;
    changed();
  }

  draw() {
    if (!this.#told) return;
    const scripts = this.#told.scripts.slice(0, SHOWN);
    show("no-scripts", scripts.length === 0);
    const entries = scripts.map((script) => this.#entries.get(script.script) ?? new Entry());
    this.#entries = new Map(scripts.map((script, at) => [script.script, entries[at]]));
    entries.forEach((entry, at) => entry.tell(scripts[at]));
    const list = byId("scripts");
    const wanted = entries.map((entry) => entry.element);
    // Moving an element takes the focus from it.
    if (wanted.length !== list.children.length || wanted.some((child, at) => child !== list.children[at])) {
      list.replaceChildren(...wanted);
    }
  }
}

class Entry {
  #name = element("span", { className: "code cut" });
  #sums = element("span", { className: "quiet" });
  #text = element("pre", { className: "code" });
  element = element("details", { className: "script" }, element("summary", {}, this.#name, this.#sums), this.#text);

  tell({ script, runs, blocked_ms, longest_ms, last_ms, text }) {
    const sums = runs
      ? `${duration(blocked_ms)} in ${count(runs)} ${runs === 1 ? "run" : "runs"}, ${longest_ms < 1 ? "under 1 ms" : duration(longest_ms)} at most; last at ${moment(last_ms)}`
      : "runs for the first time";
    put(this.#name, script);
    put(this.#sums, sums);
    put(this.#text, text ?? "Its text has not come through this proxy.");
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

async function fetchScripts() {
  const response = await fetch("api/scripts", { cache: "no-store" });
  return response.ok ? response.json() : null;
}
