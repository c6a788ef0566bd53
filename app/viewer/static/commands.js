// Everything that can be asked for by a key or by its name; the keyboard, the help and the palette all read this list.

import { FILL } from "./looking.js";
import { TOOLS } from "./tools.js";
import { t } from "./i18n.js";
import { FORMATS } from "./panels/export.js";

/** @typedef {{id: string, title: string, run: () => unknown, key?: string, shown?: string, needsSession?: boolean}} Command */

/** @returns {Command[]} `key` is a KeyboardEvent's, `shown` how it is written */
export function commandsOf(app, shell, actions) {
  const view = () => app.lastView ?? shell.visibleView();
  const command = (id, run, key, shown) => ({ id, title: t(`command.${id}`), run, key, shown: shown ?? key?.toUpperCase(), needsSession: true });
  return [
    ...TOOLS.map(({ id, key }) => ({ id: `tool-${id}`, title: t(`tool.${id}`), run: () => app.setTool(id), key, shown: key.toUpperCase(), needsSession: true })),
    command("grow", () => app.grow(), " ", "Space"),
    command("accept", () => { if (!app.flat2d && app.selectedLabel()) app.accept(view()); }, "a"),
    command("review-next", () => app.nextToReview(1), "."),
    command("review-last", () => app.nextToReview(-1), ","),
    command("slice-back", () => app.scroll(view(), -1), "["),
    command("slice-forth", () => app.scroll(view(), 1), "]"),
    command("range-first", () => app.setRange("first", view()), "{"),
    command("range-last", () => app.setRange("last", view()), "}"),
    command("masks", () => app.showMasks(!app.masks), "m"),
    command("outlines", () => { app.set("fill", app.settings.fill ? 0 : FILL); app.redraw(); }, "o"),
    command("inscription", () => { app.set("inscription", !app.settings.inscription); app.redrawMarks(); }, "i"),
    command("crosshair", () => { app.set("crosshair", !app.settings.crosshair); app.redrawMarks(); }),
    command("jump", () => app.goToLabel(app.session.selected), "j"),
    command("body", () => shell.toggleBody(), "v"),
    command("fit", () => shell.fit(), "0"),
    command("play", () => app.frames.count > 1 && (app.frames.playing ? app.frames.go(app.shownFrame) : app.frames.play(5)), "k"),
    command("undo", () => app.undo(), undefined, "Ctrl+Z"),
    command("redo", () => app.redo(), undefined, "Ctrl+Y"),
    ...["grid", "split", "one"].map((id) => ({ id: `layout-${id}`, title: t(`layout.${id}`), run: () => shell.setLayout(id), needsSession: true })),
    ...["segment", "review", "measure", "automatic", "export"].map((id) => ({ id: `tab-${id}`, title: t("command.tab", { name: t(`tab.${id}`) }), run: () => shell.tabs.show(id), needsSession: true })),
    ...shell.windowBar.presets.map(({ id }, i) => ({ id: `window-${id}`, title: t("command.window", { name: t(`window.${id}`) }), run: () => shell.windowBar.choose(i), needsSession: true })),
    ...FORMATS.map((format) => ({ id: `export-${format}`, title: t("command.export", { name: `${t(`format.${format}`)} ${t(`format.${format}.note`)}` }), run: () => actions.download(format), needsSession: true })),
    command("next-case", () => actions.nextCase()),
    command("done", async () => { await actions.describe({ state: "done" }); await actions.nextCase(); }),
    command("masks-add", () => shell.root.querySelector("[data-key=add-masks]").click()),
    command("screenshot", () => actions.screenshot()),
    { id: "home", title: t("home"), run: () => actions.home() },
    { id: "theme", title: t("theme"), run: () => actions.toggleTheme() },
    { id: "help", title: t("help"), run: () => shell.help(), key: "?", shown: "?" },
  ];
}
