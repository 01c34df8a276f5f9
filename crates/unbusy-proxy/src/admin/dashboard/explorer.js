// The timeline with all that belongs to it: its buttons, what is shown of an episode that is chosen, and what is in sight.

import { count, culprit, duration, moment } from "./format.js";
import { watch } from "./gestures.js";
import { byId, write } from "./page.js";
import { Timeline } from "./timeline.js";
import { View } from "./view.js";

export class Explorer {
  #model;
  #changed;
  #box = byId("timeline");
  #timeline = new Timeline(this.#box.firstElementChild);
  #view = new View();
  /// When the one began that the mouse points at, and the one that was chosen; the latter may still go on.
  #hovered = null;
  #chosen = null;

  /// `changed(episode)` is called when something is to be drawn anew; with an episode, when one was chosen.
  constructor(model, changed) {
    this.#model = model;
    this.#changed = changed;
    watch(this.#box, this.#actions());
    byId("zoom-in").addEventListener("click", () => this.#zoom(0.5, this.#anchor()));
    byId("zoom-out").addEventListener("click", () => this.#zoom(2, this.#anchor()));
    for (const button of this.#spans()) {
      button.addEventListener("click", () => this.#follow(spanOf(button)));
    }
  }

  /// Another proxy's numbers begin anew.
  forget() {
    this.#chosen = this.#hovered = null;
    this.#view.follow("all");
  }

  get chosen() {
    return this.#find(this.#chosen);
  }

  /// Chooses one from elsewhere.
  show(episode) {
    this.#chosen = episode.began_ms;
    const { began_ms: from, lasted_ms } = episode;
    this.#view.showAround({ from, to: from + lasted_ms }, 5);
    this.#changed();
  }

  draw() {
    const all = this.#all();
    const now = this.#model.now();
    const begin = all.length ? all[0].began_ms : now;
    const whole = { from: Math.min(begin, this.#model.state?.started_ms ?? now), to: now };
    // Before the first of those that are remembered there may have been others.
    if (all.length && all[0].number > 1) whole.from = begin;
    this.#view.setWhole(whole.from - (whole.to - whole.from) * 0.01, whole.to);
    const { range } = this.#view;
    const marked = this.#find(this.#hovered) ?? this.chosen;
    const visible = this.#timeline.draw(all, range, marked);
    write("timeline-range", inSight(range, visible));
    write("timeline-chosen", marked ? describe(marked) : "");
    for (const button of this.#spans()) {
      button.setAttribute("aria-pressed", String(this.#view.follows === spanOf(button)));
    }
  }

  #find(began) {
    return began === null ? undefined : this.#all().find(({ began_ms }) => began_ms === began);
  }

  #all() {
    const current = this.#model.current();
    return current ? [...this.#model.episodes, current] : this.#model.episodes;
  }

  #spans() {
    return byId("spans").children;
  }

  /// Where the buttons zoom: at now if the clock is followed, else in the middle.
  #anchor() {
    return this.#view.follows === null ? 0.5 : 1;
  }

  #actions() {
    return {
      move: (part) => this.#then(() => this.#view.move(part)),
      zoom: (factor, part) => this.#zoom(factor, part),
      step: (direction) => this.#step(direction),
      showAll: () => this.#follow("all"),
      toNow: () => this.#follow(this.#span()),
      choose: (x) => this.#choose(this.#timeline.episodeAt(x)),
      hover: (x) => this.#then(() => { this.#hovered = x === null ? null : this.#beganAt(x); }),
      part: (x) => this.#timeline.partAt(x),
      width: () => this.#box.clientWidth,
    };
  }

  #beganAt(x) {
    return this.#timeline.episodeAt(x)?.began_ms ?? null;
  }

  #then(act) {
    act();
    this.#changed();
  }

  #span() {
    const { from, to } = this.#view.range;
    return to - from;
  }

  #follow(span) {
    this.#then(() => this.#view.follow(span));
  }

  #zoom(factor, part) {
    this.#then(() => this.#view.zoom(factor, part));
  }

  #choose(episode) {
    this.#chosen = episode?.began_ms ?? null;
    this.#changed(episode);
  }

  /// To the next episode; without one chosen, from the end of what is in sight.
  #step(direction) {
    const all = this.#all();
    const from = this.#chosen ?? this.#view.range.to;
    const next = direction > 0
      ? all.find(({ began_ms }) => began_ms > from)
      : all.findLast(({ began_ms }) => began_ms < from);
    if (!next) return;
    this.#view.reveal(next.began_ms);
    this.#choose(next);
  }
}

function spanOf(button) {
  const { span } = button.dataset;
  return span === "all" ? span : Number(span);
}

function inSight({ from, to }, visible) {
  const busy = visible.reduce((sum, { lasted_ms }) => sum + lasted_ms, 0);
  const what = visible.length === 1 ? "1 episode" : `${count(visible.length)} episodes`;
  return `${moment(from)} to ${moment(to)}: ${what}${visible.length ? `, ${duration(busy)} busy` : ""}`;
}

/// It is read out when it changes, so it does not count along with an episode that goes on.
function describe(episode) {
  const { number, began_ms, lasted_ms, cause, connections, commands, given_up } = episode;
  const what = [moment(began_ms), `${cause}: ${culprit(episode).text}`];
  if (number === null) return [...what, "still going on"].join(" · ");
  what.push(`busy for ${duration(lasted_ms)}`, `${count(connections)} connections and ${count(commands)} commands waited`);
  if (given_up) what.push(`${count(given_up)} given up`);
  return what.join(" · ");
}
