// The line at the bottom: what lies under the mouse, what runs and for how long, whether everything is saved.

import { h } from "./dom.js";
import { anatomy, t } from "./i18n.js";
import { isHounsfield } from "./windows.js";

export class StatusLine {
  constructor(app) {
    this.app = app;
    this.readout = h("span", { class: "ps-readout" });
    this.jobBar = h("div", { class: "ps-bar", role: "progressbar", "aria-label": t("progress"), "aria-valuemin": 0, "aria-valuemax": 100 }, this.jobFill = h("div", {}));
    this.jobText = h("span", { class: "ps-job-text" }); // of fixed width: Cancel must not move away under the hand
    this.jobBox = h("div", { class: "ps-job", hidden: true }, this.jobText, this.jobBar,
      h("button", { type: "button", class: "ps-button ps-quiet", onclick: () => app.cancelJob(), dataset: { key: "cancel" } }, t("cancel")));
    this.saved = h("span", { class: "ps-saved" });
    this.element = h("footer", { class: "ps-status" }, this.readout, this.jobBox, h("div", { class: "ps-spring" }), this.saved, h("strong", { class: "ps-research" }, t("research")));
    app.on("hover", () => this.showReadout());
    app.on("job", () => this.showJob());
    app.on("busy", (count) => this.say(count ? t("working") : app.session ? t("saved") : ""));
    app.on("session", (state) => { this.say(state ? t("saved") : ""); this.showJob(); });
  }

  say(text) { this.saved.textContent = text; }

  showReadout() {
    const { app } = this;
    const at = app.hovered;
    if (!at) { this.readout.textContent = ""; return; }
    const [x, y, z] = at.world;
    const label = app.session?.labels.find((l) => l.value === at.label)?.name;
    const unit = isHounsfield(app.session) ? " HU" : "";
    const value = Array.isArray(at.value) ? at.value.join(" ") : `${Math.round(at.value * 100) / 100}${unit}`;
    const place = app.planes.measured ? `${x.toFixed(1)}, ${y.toFixed(1)}, ${z.toFixed(1)} mm` : `${at.voxel[2]}, ${at.voxel[1]} px`;
    this.readout.textContent = `${place}   ${value}${label ? `   ${anatomy(label)}` : ""}`;
  }

  showJob() {
    const job = this.app.job ?? this.app.beside;
    this.jobBox.hidden = !job;
    if (!job) return;
    const share = job.total ? Math.round(100 * job.done / job.total) : 0;
    this.jobFill.style.width = `${Math.max(2, share)}%`;
    this.jobBar.setAttribute("aria-valuenow", String(share));
    const left = job.left_s ? t("job.left", { seconds: Math.max(1, Math.round(job.left_s)) }) : t("job.start");
    this.jobText.textContent = `${t(`job.${job.kind}`)}  ${left}`;
  }
}
