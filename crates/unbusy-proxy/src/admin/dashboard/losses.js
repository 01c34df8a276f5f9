// The last commands that were given up: whose, and how long they had waited.

import { count, duration, moment, whose } from "./format.js";
import { byId, element, show } from "./page.js";

const SHOWN = 20;

export class Losses {
  #model;
  /// How many had been given up when they were asked for.
  #asked = -1;
  #told = null;

  constructor(model) {
    this.#model = model;
  }

  /// When there are new ones.
  async ask(changed) {
    const { state, lost } = this.#model;
    if (document.hidden || !state || lost || state.counters.given_up === this.#asked) return;
    this.#asked = state.counters.given_up;
    this.#told = await fetchLosses().catch(() => null);
    if (!this.#told) this.#asked = -1;
    changed();
  }

  forget() {
    this.#asked = -1;
  }

  draw() {
    const losses = this.#told?.given_up ?? [];
    show("losses-card", losses.length > 0);
    byId("losses").replaceChildren(...losses.slice(0, SHOWN).map(entry));
  }
}

function entry(loss) {
  const { at_ms, command, commands, waited_ms } = loss;
  const more = commands > 1 ? ` and ${count(commands - 1)} more` : "";
  const waited = waited_ms === null ? "behind another" : `after ${duration(waited_ms)}`;
  return element("li", {},
    element("span", { className: "quiet" }, `${moment(at_ms)} `),
    element("span", { className: "code" }, command),
    `${more} of ${whose(loss)}, ${waited}`);
}

async function fetchLosses() {
  const response = await fetch("api/given-up", { cache: "no-store" });
  return response.ok ? response.json() : null;
}
