// What the server is like now, and who waits for it; and what is to be known of the connection to the proxy.

import { count, culprit, duration, moment, whose } from "./format.js";
import { byId, show, write } from "./page.js";

const WORDS = { open: "Open", stalled: "Silent", busy: "Busy", unready: "Unreachable" };

export function showNow(model) {
  const { state, lost } = model;
  showNotices(model);
  if (!state) return;
  // A proxy that is ending is not ready, but its server may be there.
  const isUnready = model.unready !== null && state.state === "open" && !state.draining;
  const word = WORDS[isUnready ? "unready" : state.state];
  document.body.dataset.state = lost || isUnready ? "lost" : state.state;
  document.title = `${lost ? "not connected" : word.toLowerCase()} · unbusy`;
  write("word", lost ? "Not connected" : word);
  const now = isUnready ? `New clients are refused: ${model.unready}.` : account(state);
  write("since", lost ? `It was ${word.toLowerCase()} when it was last heard of.` : now);
  showCulprit(state.busy);
  write("held-connections", count(state.held_connections));
  write("held-commands", count(state.held_commands));
  write("longest-wait", state.held_connections ? duration(state.longest_wait_ms) : "–");
  write("where", `${state.upstream} by way of ${state.listen.join(", ") || "no listener"}`);
  write("version", state.version);
}

function account({ state, busy, stalled_ms, threshold_ms }) {
  if (state === "busy") return `For ${duration(busy.lasted_ms)}, since ${moment(busy.began_ms)}.`;
  if (state === "open") return "Commands go straight through.";
  const silent = `For ${duration(stalled_ms)}. `;
  return silent + (threshold_ms ? `A script would make it say BUSY after ${duration(threshold_ms)}.` : "It never says BUSY.");
}

function showCulprit(busy) {
  show("culprit", busy !== null);
  if (!busy) return;
  const { known, text } = culprit(busy);
  write("cause", busy.cause);
  write("script-label", busy.cause === "function" ? "Function" : "Script");
  write("script", text);
  byId("script").classList.toggle("code", known);
  write("client", whose(busy) ?? "unknown");
}

function showNotices({ state, lost, restarted }) {
  show("lost", lost !== null);
  if (lost) write("lost", `Not connected to the proxy since ${moment(lost.since)}: ${lost.reason}. ${ofWhen(state, lost)}`);
  show("draining", state?.draining ?? false);
  show("restarted", restarted !== null);
  if (restarted) write("restarted-text", `The proxy was started anew at ${moment(restarted)}. All numbers begin there.`);
}

const ofWhen = (state, lost) => (state ? `What is shown here is of ${moment(lost.since)}.` : "Trying again every second.");
