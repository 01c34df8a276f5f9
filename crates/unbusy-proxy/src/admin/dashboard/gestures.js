// What mouse, fingers and keys mean to the timeline.

const WHEEL_PIXELS = 400;
const STEP = 0.2;
const ZOOM = 0.6;

const KEYS = {
  "ArrowLeft": (actions) => actions.move(-STEP),
  "ArrowRight": (actions) => actions.move(STEP),
  "Shift+ArrowLeft": (actions) => actions.step(-1),
  "Shift+ArrowRight": (actions) => actions.step(1),
  "+": (actions) => actions.zoom(ZOOM, 0.5),
  "=": (actions) => actions.zoom(ZOOM, 0.5),
  "-": (actions) => actions.zoom(1 / ZOOM, 0.5),
  "Home": (actions) => actions.showAll(),
  "End": (actions) => actions.toNow(),
};

/// The element shows something that the actions move: `move(part)`, `zoom(factor, part)`, `step(direction)`, `showAll()`,
/// `toNow()`, `choose(x)`, `hover(x)`; `part(x)` tells what is at a pixel, `width()` how many there are.
export function watch(element, actions) {
  element.addEventListener("keydown", (event) => press(event, actions));
  element.addEventListener("wheel", (event) => turn(event, element, actions), { passive: false });
  element.addEventListener("dblclick", (event) => actions.zoom(ZOOM * ZOOM, actions.part(event.offsetX)));
  watchPointers(element, actions);
}

function press(event, actions) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  // Some keyboards need the shift key for the signs.
  const shift = event.shiftKey && event.key.length > 1 ? "Shift+" : "";
  const action = KEYS[shift + event.key];
  if (!action) return;
  event.preventDefault();
  action(actions);
}

/// The wheel is the page's own until the timeline has the focus; a pinch on a touch pad counts as the wheel with Ctrl.
function turn(event, element, actions) {
  const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
  if (!sideways && !event.ctrlKey && document.activeElement !== element) return;
  event.preventDefault();
  const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
  if (sideways) actions.move((event.deltaX * pixels) / actions.width());
  else actions.zoom(2 ** ((event.deltaY * pixels) / WHEEL_PIXELS), actions.part(event.offsetX));
}

/// One pointer drags, or chooses if it stays where it is; two pinch.
function watchPointers(element, actions) {
  const pointers = new Map();
  let moved = 0;

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    if (!pointers.size) moved = 0;
    pointers.set(event.pointerId, event.offsetX);
  });
  element.addEventListener("pointermove", (event) => {
    const before = [...pointers.values()];
    if (!pointers.has(event.pointerId)) {
      actions.hover(event.offsetX);
      return;
    }
    moved += Math.abs(event.offsetX - pointers.get(event.pointerId));
    pointers.set(event.pointerId, event.offsetX);
    drag(before, [...pointers.values()], actions);
  });
  const end = (event) => {
    const wasAlone = pointers.delete(event.pointerId) && !pointers.size;
    if (event.type === "pointerup" && wasAlone && moved < 5) actions.choose(event.offsetX);
  };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
  element.addEventListener("pointerleave", () => actions.hover(null));
}

function drag(before, after, actions) {
  if (after.length === 1) actions.move((before[0] - after[0]) / actions.width());
  if (after.length !== 2) return;
  const [middle, apart] = [(xs) => (xs[0] + xs[1]) / 2, (xs) => Math.max(Math.abs(xs[0] - xs[1]), 10)];
  actions.move((middle(before) - middle(after)) / actions.width());
  actions.zoom(apart(before) / apart(after), actions.part(middle(after)));
}
