// All keys and what the mouse does.

import { h } from "./dom.js";
import { t } from "./i18n.js";

const MOUSE = ["wheel", "ctrl-wheel", "shift-wheel", "shift-move", "ctrl-click", "right-drag", "middle-drag"];
const MORE = ["Ctrl+K", "Enter", "PageUp", "1 – 9", "Delete", "Escape", "+  −"];

export function showHelp(root, commands) {
  const dialog = h("dialog", { class: "ps-dialog", "aria-label": t("help") });
  const named = (row) => (t(`keyname.${row}`) === `keyname.${row}` ? row : t(`keyname.${row}`));
  const line = (key, text) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)];
  const rows = [...commands.filter(({ shown }) => shown).map(({ shown, title }) => line(shown, title)), ...MORE.map((row) => line(row, t(`key.${row}`))), ...MOUSE.map((row) => line(named(row), t(`key.${row}`)))];
  dialog.append(h("h2", {}, t("help")), h("dl", { class: "ps-keys" }, rows), h("p", { class: "ps-faint" }, t("research")),
    h("button", { type: "button", class: "ps-button ps-primary", onclick: () => dialog.close() }, t("close")));
  dialog.addEventListener("close", () => dialog.remove());
  root.append(dialog);
  dialog.showModal();
}
