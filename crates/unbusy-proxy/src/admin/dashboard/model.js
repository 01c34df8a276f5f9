// What is known of the proxy.

export class Model {
  /// The last state, or null.
  state = null;
  /// Those that are over, the oldest first.
  episodes = [];
  /// Null, or since when nothing was heard of the proxy and why.
  lost = null;
  /// Null, or why clients cannot be served.
  unready = null;
  /// Null, or when the proxy was started anew while this page was open.
  restarted = null;
  #heard = Date.now();
  #ahead = 0;

  begin(state) {
    if (this.state && this.state.started_ms !== state.started_ms) this.restarted = state.started_ms;
    this.lost = null;
    this.episodes = state.episodes;
    this.update(state);
  }

  update(state) {
    this.state = state;
    this.#heard = Date.now();
    this.#ahead = state.now_ms - this.#heard;
  }

  add(episodes) {
    const last = this.episodes.at(-1)?.number ?? 0;
    this.episodes.push(...episodes.filter(({ number }) => number > last));
  }

  lose(reason) {
    this.lost ??= { since: this.now(), reason };
  }

  /// The time by the proxy's clock; while the connection is lost it stands still.
  now() {
    return this.lost ? this.lost.since : Date.now() + this.#ahead;
  }

  /// The episode that goes on, in the form of the others, or null.
  current() {
    const busy = this.state?.busy;
    return busy ? { ...busy, number: null } : null;
  }
}
