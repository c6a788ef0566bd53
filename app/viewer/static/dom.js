// Elements, icons and focus: the little that the panels need of a framework.

const SVG_NS = "http://www.w3.org/2000/svg";

/** Make an element: h("button", {class: "x", onclick: f}, "text", child, ...). Null and false children are left out. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style" && typeof value === "object") Object.assign(element.style, value);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else if (key in element && !key.startsWith("aria") && key !== "list") element[key === "class" ? "className" : key] = value;
    else element.setAttribute(key === "class" ? "class" : key, value === true ? "" : value);
  }
  return fill(element, ...children);
}

/** Append children to an element; null and false are left out, arrays are flattened. */
export function fill(element, ...children) {
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

// 24 x 24 outlines, drawn for this program.
const ICONS = {
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  point: "M12 3v5M12 16v5M3 12h5M16 12h5M12 12h.01",
  negative: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM8 12h8",
  positive: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM8 12h8M12 8v8",
  box: "M4 6h16v12H4zM2 4h4v4H2zM18 16h4v4h-4z",
  scribble: "M3 17c3-8 5-8 6-3s3 5 5-1 4-7 7-6",
  lasso: "M12 5c5 0 9 2 9 5s-4 5-9 5-9-2-9-5 4-5 9-5ZM7 14c-2 1-2 4 0 4s2 2 1 3",
  paint: "M14 4l6 6-9 9H5v-6zM12 6l6 6",
  erase: "M8 20h12M4 14L14 4l6 6-10 10H8z",
  window: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM12 3v18M12 7h6M12 11h8M12 15h7",
  move: "M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3",
  undo: "M9 7L4 12l5 5M4 12h11a5 5 0 0 1 0 10h-3",
  redo: "M15 7l5 5-5 5M20 12H9a5 5 0 0 0 0 10h3",
  eye: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7-10-7-10-7ZM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6Z",
  eyeOff: "M3 3l18 18M10 5.2A10 10 0 0 1 12 5c6 0 10 7 10 7a17 17 0 0 1-3 3.6M6 7c-2.6 2-4 5-4 5s4 7 10 7a9 9 0 0 0 4-1",
  lock: "M6 11h12v9H6zM8 11V8a4 4 0 0 1 8 0v3",
  unlock: "M6 11h12v9H6zM8 11V8a4 4 0 0 1 7.5-2",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  close: "M6 6l12 12M18 6L6 18",
  check: "M4 12l5 5L20 6",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v6M14 11v6",
  open: "M3 7h6l2 2h10v10H3z",
  upload: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4",
  download: "M12 4v12M7 11l5 5 5-5M4 16v4h16v-4",
  camera: "M4 8h4l2-3h4l2 3h4v11H4zM12 10a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7Z",
  grid: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  one: "M4 4h16v16H4z",
  split: "M4 4h10v16H4zM16 4h4v7h-4zM16 13h4v7h-4z",
  grow: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5L19 19M19 5l-1.5 1.5M6.5 17.5L5 19",
  moon: "M20 14A8 8 0 0 1 10 4a8 8 0 1 0 10 10Z",
  home: "M4 11l8-7 8 7M6 10v10h12V10",
  help: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.4-1 .8-1 1.7M12 17h.01",
  warning: "M12 4l9 16H3zM12 10v4M12 17h.01",
  body: "M12 3a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5ZM7 10h10M12 10v6M9 21l3-6 3 6",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  play: "M7 4l12 8-12 8z",
  pause: "M8 5v14M16 5v14",
  expand: "M14 4h6v6M10 20H4v-6M20 4l-7 7M4 20l7-7",
  next: "M6 5l8 7-8 7zM18 5v14",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14ZM16 16l5 5",
  ruler: "M3 16L16 3l5 5L8 21zM7 12l2 2M10 9l3 3M13 6l2 2",
  angle: "M20 19H4L16 5M10 19a7 7 0 0 0-2-5",
  ellipse: "M12 6c5 0 9 2.7 9 6s-4 6-9 6-9-2.7-9-6 4-6 9-6Z",
  target: "M12 5a7 7 0 1 0 0 14 7 7 0 0 0 0-14ZM12 2v5M12 17v5M2 12h5M17 12h5",
  frames: "M3 6h12v12H3zM17 8h4M17 12h4M17 16h4",
};

/** Make a decorative icon. */
export function icon(name, size = 18) {
  const svg = document.createElementNS(SVG_NS, "svg");
  const attributes = { viewBox: "0 0 24 24", width: size, height: size, fill: "none", stroke: "currentColor",
    "stroke-width": 1.7, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, String(value));
  const path = document.createElementNS(SVG_NS, "path");
  path.setAttribute("d", ICONS[name] ?? "");
  svg.append(path);
  return svg;
}

/** A button with an icon and a name for tooltips and screen readers. */
export function iconButton(name, label, onclick, props = {}) {
  return h("button", { type: "button", title: label, "aria-label": label, onclick, ...props,
    class: `ps-icon ${props.class ?? ""}` }, icon(name));
}

/** Replace a container's children; the element with the same data-key keeps the keyboard focus. */
export function replaceKeepingFocus(container, ...children) {
  const at = document.activeElement;
  const focused = at instanceof HTMLElement && container.contains(at) ? at.dataset.key : null;
  container.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (focused) container.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

/** True while someone types in a field inside the container: then it must not be rebuilt under the cursor. */
export function isTyping(container) {
  const at = document.activeElement;
  return at !== null && container.contains(at) && at.matches("input[type=text], input:not([type]), textarea, select");
}
