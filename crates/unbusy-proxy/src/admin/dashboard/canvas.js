// What the drawings have in common: sharp pixels, the style's colours, and axes.

import { tick } from "./format.js";

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
  604_800, 1_209_600, 2_592_000].map((seconds) => seconds * 1000);
const TICK_WIDTH = 84;

/// A canvas of the size that its style gives it, cleared, with the style's colours and font.
export function prepare(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const style = getComputedStyle(canvas);
  pen.font = `12px ${style.fontFamily}`;
  const color = (name) => style.getPropertyValue(`--${name}`);
  return { pen, width, height, color };
}

/// Moments at which an axis from one moment to another, so many pixels wide, is marked: round ones by the local clock.
export function ticks(from, to, width) {
  const least = ((to - from) * TICK_WIDTH) / width;
  const step = STEPS.find((each) => each >= least) ?? Math.ceil(least / STEPS.at(-1)) * STEPS.at(-1);
  const zone = new Date(from).getTimezoneOffset() * 60_000;
  const moments = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to; at += step) moments.push(at);
  return { step, moments };
}

/// The axis below the drawing.
export function drawTimes({ pen, color }, { from, to, left, width, bottom }) {
  const { step, moments } = ticks(from, to, width);
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const at of moments) {
    const x = left + ((at - from) / (to - from)) * width;
    pen.fillStyle = color("line");
    pen.fillRect(Math.round(x), bottom, 1, 4);
    const text = tick(at, step);
    const half = pen.measureText(text).width / 2;
    pen.fillStyle = color("quiet");
    if (x - half >= 0 && x + half <= left + width) pen.fillText(text, x, bottom + 6);
  }
}
