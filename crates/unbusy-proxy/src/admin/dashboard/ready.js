// Whether clients can be served: the proxy itself hears of a server that is gone only from them.

const EVERY_MS = 5000;

/// Tells the model why not, or null, again and again, while somebody looks.
export function watchReadiness(model, changed) {
  const ask = async () => {
    if (document.hidden || !model.state || model.lost) return;
    const reason = await fetchReason().catch(() => null);
    if (reason === model.unready) return;
    model.unready = reason;
    changed();
  };
  setInterval(ask, EVERY_MS);
  return ask;
}

async function fetchReason() {
  const response = await fetch("readyz", { cache: "no-store" });
  return response.status === 503 ? (await response.text()).trim().replace(/^not ready: /, "") : null;
}
