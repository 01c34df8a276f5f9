// What the proxy tells goes into the model, and what has changed is drawn.

import { Episodes } from "./episodes.js";
import { Explorer } from "./explorer.js";
import { follow } from "./feed.js";
import { Losses } from "./losses.js";
import { Model } from "./model.js";
import { showNow } from "./now.js";
import { byId } from "./page.js";
import { watchReadiness } from "./ready.js";
import { Scripts } from "./scripts.js";
import { showTotals } from "./totals.js";
import { Waiters } from "./waiters.js";

/// The clock goes on when nothing happens.
const TICK_MS = 1000;

const model = new Model();
const waiters = new Waiters();
const episodes = new Episodes(model, (episode) => explorer.show(episode));
const losses = new Losses(model);
const scripts = new Scripts(model, drawSoon);
const explorer = new Explorer(model, (chosen) => {
  if (chosen?.number) episodes.reveal(chosen);
  drawSoon();
});

const askReadiness = watchReadiness(model, drawSoon);

let isAwaited = false;

/// Once for all that happens until the screen is next shown, and not at all while nobody sees it.
function drawSoon() {
  if (isAwaited) return;
  isAwaited = true;
  requestAnimationFrame(() => {
    isAwaited = false;
    draw();
  });
}

function draw() {
  showNow(model);
  showTotals(model);
  waiters.draw(model.now());
  explorer.draw();
  episodes.draw(explorer.chosen);
  losses.draw();
  scripts.draw();
}

follow({
  begin(state) {
    const before = model.state?.started_ms;
    model.begin(state);
    if (before !== undefined && before !== state.started_ms) [explorer, episodes, losses].forEach((part) => part.forget());
    waiters.add(state);
    losses.ask(drawSoon);
    scripts.ask(drawSoon);
    askReadiness();
    drawSoon();
  },
  state(state) {
    model.update(state);
    waiters.add(state);
    losses.ask(drawSoon);
    drawSoon();
  },
  episodes(episodes) {
    model.add(episodes);
    drawSoon();
  },
  lost(reason) {
    if (!model.lost) waiters.interrupt(model.now());
    model.lose(reason);
    drawSoon();
  },
});

byId("restarted-seen").addEventListener("click", () => {
  model.restarted = null;
  drawSoon();
});
addEventListener("resize", drawSoon);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
setInterval(drawSoon, TICK_MS);
