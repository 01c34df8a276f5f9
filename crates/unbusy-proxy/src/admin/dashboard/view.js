// Which time the timeline shows: a piece of all there is, which moves on with the clock unless it was moved away from it.

const LEAST_MS = 1000;

export class View {
  /// All there is; from the first thing that is known until now.
  #whole = { from: 0, to: LEAST_MS };
  /// What is shown if the clock is not followed.
  #fixed = { from: 0, to: LEAST_MS };
  /// How much time before now is shown, or "all"; null if the clock is not followed.
  follows = "all";

  /// The clock goes on.
  setWhole(from, to) {
    this.#whole = { from: Math.min(from, to - LEAST_MS), to };
  }

  get range() {
    const { from, to } = this.#whole;
    if (this.follows === null) return this.#fixed;
    return this.follows === "all" ? { from, to } : { from: to - this.follows, to };
  }

  follow(span) {
    this.follows = span;
  }

  /// By a part of what is shown; later if it is positive.
  move(part) {
    const { from, to } = this.range;
    this.#fix(from + part * (to - from), to - from);
  }

  /// Shows so much of what is shown; what lies at that part of it (0: left, 1: right) stays where it is.
  zoom(factor, at) {
    const { from, to } = this.range;
    const span = Math.min(Math.max((to - from) * factor, LEAST_MS), Math.max(this.#span(), LEAST_MS));
    const isAtNow = this.follows !== null && at >= 1;
    this.#fix(from + at * (to - from - span), span);
    if (isAtNow) this.follows = span;
  }

  /// Moves until this moment is in sight, if it is not.
  reveal(moment) {
    const { from, to } = this.range;
    if (moment < from || moment > to) this.#fix(moment - (to - from) / 2, to - from);
  }

  /// Shows this much, around the middle of it.
  showAround({ from, to }, margin) {
    const span = Math.max(to - from, LEAST_MS) * (1 + 2 * margin);
    this.#fix((from + to - span) / 2, span);
  }

  #span() {
    return this.#whole.to - this.#whole.from;
  }

  /// The clock is followed again by whoever comes to its end.
  #fix(from, span) {
    const { to: now } = this.#whole;
    if (from + span >= now && from > this.#whole.from) {
      this.follows = span;
      return;
    }
    this.follows = null;
    const start = Math.max(Math.min(from, now - span), Math.min(this.#whole.from, now - span));
    this.#fixed = { from: start, to: start + span };
  }
}
