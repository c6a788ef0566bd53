// What the brush may paint: its size, a ball or a disc, a range of intensities, one label's inside.

import { h } from "../dom.js";
import { anatomy, t } from "../i18n.js";

export function brushPanel(app) {
  const { brush } = app;
  const number = (key, attributes) => h("input", { type: "number", class: "ps-input ps-number", "aria-label": t(`brush.${key}`), dataset: { key: `brush-${key}` }, ...attributes });
  const size = number("size", { min: 0.5, max: 60, step: 0.5, onchange: () => app.setBrush(Number(size.value) || 1) });
  const unit = h("span", {});
  const ball = h("input", { type: "checkbox", dataset: { key: "brush-ball" }, onchange: () => { brush.ball = ball.checked; } });
  const ranged = h("input", { type: "checkbox", dataset: { key: "brush-range" }, onchange: () => take() });
  const low = number("low", { step: "any", onchange: () => take() }), high = number("high", { step: "any", onchange: () => take() });
  const within = h("select", { class: "ps-select", "aria-label": t("brush.within"), onchange: () => { brush.within = Number(within.value) || null; } });
  const take = () => app.setBrushRange(ranged.checked && low.value !== "" && high.value !== "" ? [Number(low.value), Number(high.value)].sort((a, b) => a - b) : null);
  const box = h("div", { class: "ps-options", hidden: true }, h("h3", {}, t("brush")),
    h("label", { class: "ps-menu-row" }, t("brush.size"), h("span", { class: "ps-amount" }, size, unit)),
    h("label", { class: "ps-check" }, ball, t("brush.ball")),
    h("label", { class: "ps-check" }, ranged, t("brush.range")), h("div", { class: "ps-amount" }, low, "…", high),
    h("label", { class: "ps-menu-row" }, t("brush.within"), within));
  const draw = () => {
    box.hidden = !(app.tool === "paint" || app.tool === "erase");
    size.value = String(Math.round(app.brushMm * 10) / 10);
    unit.textContent = app.planes.measured ? "mm" : "px";
    ranged.closest("label").hidden = low.parentElement.hidden = Boolean(app.session?.colour);
    within.replaceChildren(h("option", { value: "" }, t("brush.anywhere")), ...(app.session?.labels ?? []).filter((label) => label.value !== app.session.selected)
      .map((label) => h("option", { value: label.value, selected: label.value === brush.within }, anatomy(label.name))));
  };
  app.on("session", (state) => {
    if (!state) return;
    app.setBrushRange(null);
    Object.assign(brush, { ball: ball.checked = false, within: null });
    ranged.checked = false;
    low.value = String(Math.round(app.planes.window.low));
    high.value = String(Math.round(app.planes.window.high));
  });
  for (const event of ["tool", "labels", "session"]) app.on(event, draw);
  return box;
}
