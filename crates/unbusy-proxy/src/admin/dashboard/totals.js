// What happened since the proxy was started.

import { count, duration, moment } from "./format.js";
import { byId, write } from "./page.js";

const COUNTS = { "given-up": "given_up", holes: "holes", ambiguous: "ambiguous" };

export function showTotals(model) {
  if (!model.state) return;
  const { counters, started_ms } = model.state;
  const age = model.now() - started_ms;
  write("started", `${moment(started_ms)}, ${duration(age)} ago`);
  write("episodes-total", count(counters.episodes));
  write("busy-total", duration(counters.busy_ms));
  write("busy-share", share(counters.busy_ms / age));
  for (const [id, name] of Object.entries(COUNTS)) {
    write(id, count(counters[name]));
    byId(id).classList.toggle("bad", counters[name] > 0);
  }
}

function share(part) {
  if (!part) return "";
  return part < 0.001 ? "less than 0.1% of the time" : `${(100 * Math.min(part, 1)).toFixed(1)}% of the time`;
}
