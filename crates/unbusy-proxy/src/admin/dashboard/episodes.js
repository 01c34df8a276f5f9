// The list of episodes, the newest first, page by page.

import { count, culprit, duration, moment, whose } from "./format.js";
import { byId, element, show, write } from "./page.js";

const PAGE = 25;

export class Episodes {
  #model;
  #chosen;
  /// The number of the first one on the page; null: the newest there is.
  #top = null;
  #drawn = "";
  #body = byId("episodes").tBodies[0];

  /// `chosen(episode)` is called when one is to be shown in the timeline.
  constructor(model, chosen) {
    this.#model = model;
    this.#chosen = chosen;
    byId("newest").addEventListener("click", () => this.#turn(0));
    byId("newer").addEventListener("click", () => this.#turn(this.#first() - PAGE));
    byId("older").addEventListener("click", () => this.#turn(this.#first() + PAGE));
  }

  forget() {
    this.#top = null;
  }

  /// Turns to the page with this one.
  reveal(episode) {
    const { episodes } = this.#model;
    const at = episodes.length - 1 - episodes.findIndex(({ number }) => number === episode.number);
    if (at < episodes.length) this.#turn(at - (at % PAGE), episode);
  }

  draw(marked) {
    const { episodes } = this.#model;
    const first = this.#first();
    const page = episodes.slice(Math.max(episodes.length - first - PAGE, 0), episodes.length - first).reverse();
    const isLast = first + PAGE >= episodes.length;
    show("none", !episodes.length && this.#model.state !== null);
    show("episodes", episodes.length > 0);
    write("page", episodes.length ? `${count(first + 1)} to ${count(first + page.length)} of ${count(episodes.length)}` : "");
    byId("newest").disabled = byId("newer").disabled = first === 0;
    byId("older").disabled = isLast;
    this.#fill(page, marked);
  }

  /// Rows are made anew only if there are others, so that nobody loses the one that he is about to use.
  #fill(page, marked) {
    const key = `${this.#model.state?.started_ms} ${page[0]?.number} ${page.length} ${marked?.number}`;
    if (key === this.#drawn) return;
    this.#drawn = key;
    const focused = this.#body.contains(document.activeElement) ? document.activeElement.dataset.number : null;
    this.#body.replaceChildren(...page.map((episode) => this.#row(episode, episode.number === marked?.number)));
    if (focused) this.#body.querySelector(`[data-number="${focused}"]`)?.focus({ preventScroll: true });
  }

  #row(episode, isMarked) {
    const { number, began_ms, lasted_ms, cause, connections, commands, given_up } = episode;
    const button = element("button", { type: "button", className: "link", title: "Show in the timeline" }, moment(began_ms));
    button.dataset.number = number;
    button.addEventListener("click", () => this.#chosen(episode));
    const { known, text } = culprit(episode);
    const client = whose(episode);
    const row = element("tr", {},
      cell(button),
      cell(duration(lasted_ms), "number"),
      cell(cause),
      cell(text, known ? "code cut" : "quiet"),
      cell(client ?? "–", client === null ? "quiet" : ""),
      amount(connections, "connections"),
      amount(commands, "commands"),
      amount(given_up, "given up", given_up ? "bad" : ""));
    row.setAttribute("role", "row");
    if (isMarked) row.setAttribute("aria-current", "true");
    return row;
  }

  /// How many newer ones there are than those of this page.
  #first() {
    if (this.#top === null) return 0;
    const { episodes } = this.#model;
    const at = episodes.findIndex(({ number }) => number === this.#top);
    return at < 0 ? Math.max(episodes.length - PAGE, 0) : episodes.length - 1 - at;
  }

  #turn(first, marked) {
    const { episodes } = this.#model;
    const at = Math.max(first, 0);
    this.#top = at === 0 ? null : episodes[episodes.length - 1 - at]?.number ?? null;
    this.draw(marked);
  }
}

function cell(content, className = "") {
  const made = element("td", { className }, content);
  made.setAttribute("role", "cell");
  if (typeof content === "string") made.title = content;
  return made;
}

/// The unit is shown where there is no room for the table's head.
function amount(number, unit, className = "") {
  const made = cell(count(number), `number ${className}`);
  made.dataset.unit = unit;
  return made;
}
