// One question with one line as its answer.

import { h } from "./dom.js";
import { t } from "./i18n.js";

/**
 * @param {HTMLElement} root
 * @param {string} text the question
 * @returns {Promise<string>} "" where it was given up
 */
export function askFor(root, text) {
  return new Promise((resolve) => {
    const field = h("input", { type: "text", class: "ps-input", maxLength: 60, "aria-label": text });
    const dialog = h("dialog", { class: "ps-dialog", "aria-label": text });
    const done = (value) => { dialog.returnValue = value.trim(); dialog.close(); };
    field.addEventListener("keydown", (event) => { if (event.key === "Enter") done(field.value); });
    dialog.append(h("p", {}, text), field, h("div", { class: "ps-buttons" }, h("button", { type: "button", class: "ps-button ps-primary", dataset: { choice: "yes" }, onclick: () => done(field.value) }, t("keep")),
      h("button", { type: "button", class: "ps-button", onclick: () => done("") }, t("cancel"))));
    dialog.addEventListener("close", () => { resolve(dialog.returnValue); dialog.remove(); });
    root.append(dialog);
    dialog.showModal();
    field.focus();
  });
}
