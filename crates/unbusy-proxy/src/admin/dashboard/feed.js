// What the proxy tells, for as long as it can be reached, and again when it can be reached again.

/// The proxy says something every ten seconds, if only that it is there.
const SILENCE_MS = 25_000;
const RETRY_MS = 1000;

/// Calls the listener's `begin` with the whole state whenever a connection is there, then `state` and `episodes` with what
/// changes, and `lost` with a reason when it breaks. Never ends.
export async function follow(listener) {
  for (;;) {
    const reason = await listen(listener).catch((error) => error.message);
    listener.lost(reason);
    await new Promise((done) => setTimeout(done, RETRY_MS));
  }
}

async function listen(listener) {
  const abort = new AbortController();
  let watch;
  const heard = () => {
    clearTimeout(watch);
    watch = setTimeout(() => abort.abort(new Error("it says nothing any more")), SILENCE_MS);
  };
  heard();
  try {
    // Events come first: what happens until the state is there waits in them.
    const events = await get("api/events", abort.signal);
    const state = await get("api/state", abort.signal);
    listener.begin(await state.json());
    await read(events.body, abort.signal, heard, listener);
  } finally {
    clearTimeout(watch);
    abort.abort();
  }
  return "it closed the connection";
}

async function get(path, signal) {
  const response = await fetch(path, { signal, cache: "no-store" }).catch(() => fail(signal, "it cannot be reached"));
  if (!response.ok) throw new Error(`it says: ${(await response.text()).trim()}`);
  return response;
}

/// The browser's own words for it say less.
function fail(signal, reason) {
  throw signal.reason ?? new Error(reason);
}

/// Server-sent events, of which these have one line of data. The browser's own reader hides the comments in between, which tell
/// that the connection lives, and what was answered if it was refused.
async function read(body, signal, heard, listener) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read().catch(() => fail(signal, "the connection broke"));
    if (done) return;
    heard();
    const events = (text + value).split("\n\n");
    text = events.pop();
    events.forEach((event) => tell(event, listener));
  }
}

function tell(event, listener) {
  const fields = new Map(event.split("\n").map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
  }));
  const name = fields.get("event");
  if (name === "state" || name === "episodes") listener[name](JSON.parse(fields.get("data")));
}
