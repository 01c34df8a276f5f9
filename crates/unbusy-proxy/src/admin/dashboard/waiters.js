// The chart of those who wait, since this page was opened, for the last minutes.

import { drawTimes, prepare } from "./canvas.js";
import { count, timeOfDay } from "./format.js";
import { byId } from "./page.js";

const SPAN_MS = 300_000;
const AXIS = 24;
const LEFT = 34;

export class Waiters {
  /// From this moment on so many waited, until the next.
  #samples = [];
  #canvas = byId("waiters");

  add(state) {
    const { now_ms: at, held_connections: waiting, state: condition } = state;
    const last = this.#samples.at(-1);
    if (last && last.waiting === waiting && last.condition === condition) return;
    this.#samples.push({ at, waiting, condition });
    // The first one still counts where the chart begins.
    while (this.#samples.length > 1 && this.#samples[1].at < at - SPAN_MS) this.#samples.shift();
  }

  /// Nothing is known of the time from now until the next state.
  interrupt(at) {
    if (this.#samples.length) this.#samples.push({ at, waiting: 0, condition: "unknown" });
  }

  draw(now) {
    const sheet = prepare(this.#canvas);
    const area = { from: now - SPAN_MS, to: now, left: LEFT, width: sheet.width - LEFT, bottom: sheet.height - AXIS };
    const most = Math.max(4, ...this.#samples.map(({ waiting }) => waiting));
    this.#drawScale(sheet, area, most);
    drawTimes(sheet, area);
    this.#drawBegin(sheet, area);
    this.#samples.forEach((sample, index) => {
      drawSample(sheet, area, most, sample, this.#samples[index + 1]?.at ?? now);
    });
    this.#canvas.setAttribute("aria-label", `Waiting connections over the last five minutes, at most ${count(most)}`);
  }

  #drawBegin({ pen, color }, { from, left, width, bottom }) {
    const begin = this.#samples[0]?.at ?? from;
    const text = begin > from ? `watched since ${timeOfDay(begin)}` : "";
    if (pen.measureText(text).width > ((begin - from) / SPAN_MS) * width - 16) return;
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.fillStyle = color("quiet");
    pen.fillText(text, left + 8, bottom / 2);
  }

  #drawScale({ pen, color }, { left, width, bottom }, most) {
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const value of [0, most]) {
      const y = Math.round(bottom - height(value, most, bottom));
      pen.fillStyle = color("line");
      pen.fillRect(left, y, width, 1);
      pen.fillStyle = color("quiet");
      pen.fillText(count(value), left - 8, Math.max(y, 7));
    }
  }
}

const height = (waiting, most, bottom) => (waiting / most) * (bottom - 8);

function drawSample({ pen, color }, area, most, { at, waiting, condition }, until) {
  const x = (moment) => area.left + (Math.max(moment - area.from, 0) / SPAN_MS) * area.width;
  const [left, right] = [x(at), x(until)];
  if (right <= area.left) return;
  if (condition === "busy" || condition === "stalled") {
    pen.fillStyle = color(`${condition}-wash`);
    pen.fillRect(left, 8, right - left, area.bottom - 8);
  }
  const high = height(waiting, most, area.bottom);
  pen.fillStyle = color("accent");
  pen.fillRect(left, area.bottom - high, Math.max(right - left, waiting ? 1 : 0), high);
}
