// Corrections of the whole mask by hand, and of one of its parts by a click.

import { flipOrder } from "../geometry.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";

export function editButtons(app) {
  const mm = h("input", { type: "number", class: "ps-input ps-number", min: 0.5, max: 50, step: 0.5, value: 2, "aria-label": t("edit.mm") });
  const unit = h("span", {}, "mm");
  app.on("session", (state) => { if (state) unit.textContent = state.measured ? "mm" : "px"; });
  const by = () => Math.max(0.1, Number(mm.value) || 2);
  const plane = () => app.planes.frame.plane(app.lastView ?? "axial");
  const button = (key, act) => h("button", { type: "button", class: "ps-button", title: t(`edit.${key}.title`), dataset: { key: `edit-${key}` }, onclick: act }, t(`edit.${key}`));
  const edit = (key, made) => button(key, () => app.edit(made()));
  const island = (key, keep) => button(key, () => app.pick({ hint: t("edit.pick"), picked: (voxel) => app.edit({ kind: "island", at: flipOrder(voxel), keep }) }));
  return h("div", {}, h("h2", { class: "ps-head" }, t("edit"), h("span", { class: "ps-amount" }, mm, unit)),
    h("div", { class: "ps-thirds" },
      edit("fill", () => ({ kind: "fill holes", plane: plane() })), edit("islands", () => ({ kind: "remove islands" })), edit("interpolate", () => ({ kind: "interpolate", plane: plane() })),
      edit("smooth", () => ({ kind: "smooth", sigma_mm: by() })), edit("grow", () => ({ kind: "grow", by_mm: by() })), edit("shrink", () => ({ kind: "grow", by_mm: -by() })),
      edit("others", () => ({ kind: "keep slices", plane: plane(), first: app.sliceIn(plane()), last: app.sliceIn(plane()) })), island("island", false), island("alone", true)));
}
