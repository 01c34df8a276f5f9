// The drawing of all episodes over time.

import { drawTimes, prepare } from "./canvas.js";
import { duration } from "./format.js";

const AXIS = 24;
const LEFT = 52;
const RIGHT = 10;
const TOP = 14;
/// What a bar's height means goes by the logarithm, so that milliseconds and minutes are both seen.
const LEAST_MS = 5;
const SCALE = [10, 100, 1000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000];
/// So near must one point to a bar.
const REACH = 8;

export class Timeline {
  #canvas;
  #area = null;
  #episodes = [];

  constructor(canvas) {
    this.#canvas = canvas;
  }

  /// The episodes are in order and do not overlap.
  draw(episodes, range, marked) {
    this.#episodes = episodes;
    const sheet = prepare(this.#canvas);
    this.#area = { ...range, left: LEFT, width: sheet.width - LEFT - RIGHT, bottom: sheet.height - AXIS };
    const area = this.#area;
    const visible = within(episodes, range);
    const most = Math.max(10_000, ...visible.map(({ lasted_ms }) => lasted_ms));
    drawScale(sheet, area, most);
    drawTimes(sheet, area);
    for (const bar of bars(visible, area, most)) drawBar(sheet, area, bar);
    if (marked) drawMark(sheet, area, marked, most);
    return visible;
  }

  /// The part of the shown range at which this pixel is.
  partAt(x) {
    return (x - this.#area.left) / this.#area.width;
  }

  /// The one whose bar is nearest, or undefined.
  episodeAt(x) {
    const { from, to, width, left } = this.#area;
    const moment = from + this.partAt(x) * (to - from);
    const reach = (REACH / width) * (to - from);
    if (x < left) return undefined;
    const near = within(this.#episodes, { from: moment - reach, to: moment + reach });
    const distance = ({ began_ms, lasted_ms }) => Math.max(began_ms - moment, moment - began_ms - lasted_ms, 0);
    return near.sort((a, b) => distance(a) - distance(b) || b.lasted_ms - a.lasted_ms)[0];
  }
}

/// Those of which something lies in the range.
export function within(episodes, { from, to }) {
  const first = firstIndex(episodes, ({ began_ms, lasted_ms }) => began_ms + lasted_ms >= from);
  const end = firstIndex(episodes, ({ began_ms }) => began_ms > to);
  return episodes.slice(first, end);
}

/// The first for which the condition holds, as it does for all behind it.
function firstIndex(list, condition) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (condition(list[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}

/// What is drawn of them: of those that begin within the same pixel, the highest one.
function bars(episodes, area, most) {
  const found = [];
  for (const episode of episodes) {
    const bar = barOf(episode, area, most);
    const last = found.at(-1);
    if (!last || last.left !== bar.left) found.push(bar);
    else found[found.length - 1] = merged(last, bar);
  }
  return found;
}

const merged = (a, b) => ({
  ...(a.high >= b.high ? a : b),
  width: Math.max(a.width, b.width),
  givenUp: a.givenUp || b.givenUp,
  goesOn: a.goesOn || b.goesOn,
});

function barOf({ began_ms, lasted_ms, given_up, number }, { from, to, left, width, bottom }, most) {
  const x = (moment) => left + ((Math.min(Math.max(moment, from), to) - from) / (to - from)) * width;
  const begin = Math.floor(x(began_ms));
  return {
    left: begin,
    width: Math.max(2, Math.round(x(began_ms + lasted_ms)) - begin),
    high: height(lasted_ms, most, bottom),
    givenUp: given_up > 0,
    goesOn: number === null,
  };
}

function height(ms, most, bottom) {
  const part = Math.log(Math.max(ms, LEAST_MS * 1.3) / LEAST_MS) / Math.log(most / LEAST_MS);
  return Math.min(part, 1) * (bottom - TOP);
}

function drawScale({ pen, color }, { left, width, bottom }, most) {
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const ms of SCALE.filter((each) => each <= most)) {
    const y = Math.round(bottom - height(ms, most, bottom));
    pen.fillStyle = color("line");
    pen.fillRect(left, y, width, 1);
    pen.fillStyle = color("quiet");
    pen.fillText(duration(ms).replace(".0", ""), left - 8, y);
  }
  pen.fillStyle = color("strong-line");
  pen.fillRect(left, bottom, width, 1);
}

function drawBar({ pen, color }, { bottom }, { left, width, high, givenUp, goesOn }) {
  pen.fillStyle = color(goesOn ? "busy" : "accent");
  pen.fillRect(left, bottom - high, width, high);
  if (givenUp) drawCross(pen, color("busy"), left + width / 2, bottom - high - 7);
}

function drawCross(pen, style, x, y) {
  pen.strokeStyle = style;
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (const slope of [1, -1]) {
    pen.moveTo(x - 3, y - 3 * slope);
    pen.lineTo(x + 3, y + 3 * slope);
  }
  pen.stroke();
}

function drawMark({ pen, color }, area, episode, most) {
  const isInSight = within([episode], area).length > 0;
  if (!isInSight) return;
  const { left, width, high } = barOf(episode, area, most);
  const middle = left + width / 2;
  pen.fillStyle = color("ink");
  pen.fillRect(left, area.bottom - high, width, high);
  pen.beginPath();
  pen.moveTo(middle, area.bottom + 2);
  pen.lineTo(middle - 6, area.bottom + 10);
  pen.lineTo(middle + 6, area.bottom + 10);
  pen.fill();
}
