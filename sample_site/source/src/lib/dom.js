/**
 * Create an element. Children that are `null`, `undefined` or `false` are left out; strings become text, never markup.
 *
 * @param {string} tag
 * @param {Record<string, any>} [props] attributes; `on…` are listeners
 * @param {...(Node | string | number | null | undefined | false)} children
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A decorative icon from the sprite in index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** The round coloured badge of a kind of sighting. */
export function badge(kind) {
  return h("span", { class: `badge ${kind}` }, icon(kind));
}

let hiding = 0;

/** Say something at the bottom of the screen, with an optional way back. */
export function toast(text, undo) {
  const box = document.getElementById("toast");
  const hide = () => box.replaceChildren();
  clearTimeout(hiding);
  box.replaceChildren(
    h(
      "div",
      { class: "toast" },
      h("span", {}, text),
      undo ? h("button", { type: "button", onclick: () => (undo(), hide()) }, "Undo") : null,
    ),
  );
  hiding = setTimeout(hide, 6000);
}
