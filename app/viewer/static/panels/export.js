// Everything that leaves the program: masks, DICOM objects, meshes, tables, pictures, the report, the prompt log.

import { h, icon } from "../dom.js";
import { t } from "../i18n.js";

/** @type {[string, string[]][]} */
const GROUPS = [
  ["export.masks", ["nii.gz", "nrrd", "seg.nrrd", "mha"]],
  ["export.dicom", ["dicom-seg", "rtstruct"]],
  ["export.more", ["stl", "csv", "prompts"]],
  ["export.report", ["report.html", "report.pdf"]],
];

export const FORMATS = GROUPS.flatMap(([, formats]) => formats);

export function exportPanel(app, actions) {
  const button = (format) => h("button", { type: "button", class: "ps-button ps-export", dataset: { format, key: `export-${format}` }, onclick: () => actions.download(format) },
    icon("download", 15), h("span", {}, t(`format.${format}`)), h("span", { class: "ps-faint" }, t(`format.${format}.note`)));
  const identity = h("input", { type: "checkbox", dataset: { key: "identity" }, onchange: () => { app.keepIdentity = identity.checked; } });
  app.on("session", () => { app.keepIdentity = identity.checked = false; });
  const keep = h("label", { class: "ps-check" }, identity, t("export.identity"));
  return [
    ...GROUPS.flatMap(([title, formats]) => [h("h2", { class: "ps-head" }, t(title)), h("div", { class: "ps-stack" }, ...formats.map(button), ...(title === "export.dicom" ? [keep] : []))]),
    h("h2", { class: "ps-head" }, t("export.picture")),
    h("button", { type: "button", class: "ps-button ps-export ps-full", dataset: { format: "png" }, onclick: () => actions.screenshot() }, icon("camera", 15), h("span", {}, t("screenshot")), h("span", { class: "ps-faint" }, "PNG")),
    h("p", { class: "ps-hint" }, t("research.export")),
  ];
}
