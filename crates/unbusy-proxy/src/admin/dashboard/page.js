// Access to the page. What comes from elsewhere gets into it as text only.

export const byId = (id) => document.getElementById(id);

/// Nothing is touched that stays as it is, so that it can be selected, and is not read out again.
export function write(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

export function show(id, visible) {
  byId(id).hidden = !visible;
}

export function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
