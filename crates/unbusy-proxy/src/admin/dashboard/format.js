// How numbers, durations and moments are written.

const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];
const whole = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const year = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export const count = (n) => whole.format(n);

/// With its two largest units: "340 ms", "4.2 s", "3 min 20 s", "2 d 4 h".
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  const at = UNITS.findIndex(([, size]) => ms >= size);
  const [name, size] = UNITS[at];
  const [lesser, part] = UNITS[at + 1];
  const rest = Math.floor((ms % size) / part);
  return `${Math.floor(ms / size)} ${name}` + (rest ? ` ${rest} ${lesser}` : "");
}

export const timeOfDay = (ms) => clock.format(ms);

/// Without the day if that is today.
export function moment(ms, now = Date.now()) {
  return isSameDay(ms, now) ? clock.format(ms) : `${date(ms, now)}, ${clock.format(ms)}`;
}

export function date(ms, now = Date.now()) {
  return new Date(ms).getFullYear() === new Date(now).getFullYear() ? day.format(ms) : year.format(ms);
}

/// What stands at a tick of an axis whose ticks are so far apart.
export function tick(ms, step) {
  const atMidnight = new Date(ms).getHours() === 0 && new Date(ms).getMinutes() === 0;
  if (step >= 86_400_000 || (atMidnight && step >= 60_000)) return date(ms);
  return step < 60_000 ? clock.format(ms) : minute.format(ms);
}

const isSameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();

/// Who is to blame: what to call it, and its name.
export function culprit(episode) {
  if (episode.script !== null) return { known: true, text: episode.script };
  return { known: false, text: episode.cause === "loading" ? "none" : "not through this proxy" };
}

/// Whose script it was: the client's address, and what else is known of it.
export function whose({ client, client_name, user }) {
  const more = [client_name, user && `user ${user}`].filter(Boolean);
  return more.length ? `${client} (${more.join(", ")})` : client;
}
