// The few things that every part does with elements.

export const byId = (id) => document.getElementById(id);

/** Makes an element with attributes and children (elements or text). */
export function element(name, attributes = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** One of the symbols at the top of index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "use"));
  svg.firstChild.setAttribute("href", `#i-${name}`);
  return svg;
}

/** Whether an input method gets the key. Safari tells it of the key that ends a composition by the code alone. */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

/** Says something to a screen reader and shows nothing. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** Makes `target`'s children those of `html` (safe markup from the server), touching only what differs. */
export function patch(target, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  patchChildren(target, template.content);
}

function patchChildren(target, source) {
  const fresh = [...source.childNodes];
  const old = [...target.childNodes];
  fresh.forEach((node, index) => {
    const present = old[index];
    if (!present) target.append(node);
    else if (!present.isEqualNode(node)) patchNode(present, node);
  });
  for (const surplus of old.slice(fresh.length)) surplus.remove();
}

function patchNode(present, node) {
  if (present.nodeType === Node.TEXT_NODE && node.nodeType === Node.TEXT_NODE) present.data = node.data;
  else if (present.cloneNode(false).isEqualNode(node.cloneNode(false))) patchChildren(present, node);
  else present.replaceWith(node);
}

export const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
