// Elements: creates DOM nodes. Strings become text, never markup, so that untrusted titles are harmless.

const SVG = "http://www.w3.org/2000/svg";

/** Returns an element: `el("button.quiet", {type: "button", onclick}, "Text", child)`; null children are omitted. */
export function el(description, properties = {}, ...children) {
  const [tag, ...classes] = description.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Returns one of the page's symbols as an image that is hidden from screen readers. */
export function icon(name) {
  const picture = svg("svg", { "aria-hidden": "true" });
  picture.append(svg("use", { href: `#i-${name}` }));
  return picture;
}

/** Returns an SVG element. */
export function svg(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** Returns the element with an id. */
export const at = (id) => document.getElementById(id);

/** Sets text only if it changed, so that screen readers announce a change once. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Copies text, also on plain http, where browsers offer no clipboard API. */
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = el("textarea.hidden", { readonly: true });
    field.value = text;
    at("main").append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
}
