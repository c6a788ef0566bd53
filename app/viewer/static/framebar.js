// The line below the picture of a 4D image: frame, playing and its speed, masks to the next frame.

import { h, icon, iconButton } from "./dom.js";
import { t } from "./i18n.js";

const SPEEDS = [2, 5, 10, 20]; // frames a second

export class FrameBar {
  constructor(app) {
    this.app = app;
    this.slider = h("input", { type: "range", min: 0, step: 1, "aria-label": t("frame"), oninput: () => this.say(), onchange: () => app.frames.go(Number(this.slider.value)) });
    this.text = h("span", { class: "ps-frame-text" });
    this.playButton = iconButton("play", t("frame.play"), () => this.toggle(), { dataset: { key: "play" } });
    this.speed = h("select", { class: "ps-select", "aria-label": t("frame.speed"), onchange: () => app.frames.playing && app.frames.play(Number(this.speed.value)) },
      SPEEDS.map((speed) => h("option", { value: speed, selected: speed === 5 }, t("frame.per_second", { speed }))));
    this.carry = h("button", { type: "button", class: "ps-button", dataset: { key: "carry" }, onclick: () => app.frames.carry() }, t("frame.carry"));
    this.element = h("div", { class: "ps-frames", hidden: true }, icon("frames"), this.playButton, this.speed, this.slider, this.text, this.carry);
    for (const event of ["frame", "session", "labels"]) app.on(event, () => this.draw());
  }

  toggle() {
    const { frames, shownFrame } = this.app;
    if (frames.playing) frames.go(shownFrame);
    else frames.play(Number(this.speed.value));
  }

  say() {
    const at = Number(this.slider.value), { count, known } = this.app.frames;
    this.text.textContent = t(known.has(at) ? "frame.with_masks" : "frame.of", { frame: at + 1, count });
  }

  draw() {
    const { session, frames, shownFrame } = this.app;
    this.element.hidden = frames.count < 2;
    if (!session || frames.count < 2) return;
    this.slider.max = String(frames.count - 1);
    this.slider.value = String(shownFrame);
    this.playButton.replaceChildren(icon(frames.playing ? "pause" : "play"));
    this.playButton.title = t(frames.playing ? "frame.stop" : "frame.play");
    this.carry.disabled = frames.playing || frames.own + 1 >= frames.count || !session.labels.some((label) => label.voxels);
    this.say();
  }
}
