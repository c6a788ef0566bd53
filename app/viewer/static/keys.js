// The keyboard: tools, slices, labels, history; crosshair and prompts in a pane without a mouse.

import { commandsOf } from "./commands.js";

export class Keys {
  constructor(app, shell) {
    this.app = app;
    this.shell = shell;
    document.addEventListener("keydown", (event) => this.press(event));
  }

  press(event) {
    const { app } = this;
    const typing = event.target.closest?.("input:not([type=range]):not([type=checkbox]):not([type=color]), textarea, select, dialog");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && !event.target.closest?.("dialog")) { event.preventDefault(); this.shell.palette(); return; }
    if (!app.session || typing || event.defaultPrevented) return;
    const view = event.target.dataset?.view in this.shell.panes ? event.target.dataset.view : null;
    if (this.withControl(event) || (view && this.inPane(event, view)) || this.plain(event, view)) event.preventDefault();
  }

  withControl(event) {
    if (!(event.ctrlKey || event.metaKey)) return false;
    const key = event.key.toLowerCase();
    if (key === "z") { if (event.shiftKey) this.app.redo(); else this.app.undo(); return true; }
    if (key === "y") { this.app.redo(); return true; }
    return false;
  }

  plain(event, view) {
    const { app, shell } = this;
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    if (view && view !== "3d") app.lastView = view;
    if (event.key === " " && event.target.matches("button, summary")) return false;
    const command = commandsOf(app, shell, shell.actions).find(({ key }) => key === event.key.toLowerCase());
    if (command) { command.run(); return true; }
    switch (event.key) {
      case "Escape":
        if (app.picking) app.pick(null);
        else if (app.stroke) { app.stroke = null; app.redrawMarks(); } else if (app.job ?? app.beside) app.cancelJob();
        app.choosePrompt(null);
        return true;
      case "Delete": case "Backspace":
        if (app.chosenPrompt === null) return false;
        app.deletePrompt(app.chosenPrompt);
        return true;
      default:
        if (!/^[1-9]$/.test(event.key)) return false;
        app.select(Number(event.key));
        return true;
    }
  }

  /** Arrow keys move the crosshair as it looks; Enter puts a point, a box's corner, a lasso's corner. */
  inPane(event, view) {
    if (view === "3d") return false;
    const { app } = this;
    app.lastView = view;
    const step = event.shiftKey ? 10 : 1;
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (move) { this.nudge(view, move, step); return true; }
    if (event.key === "PageUp" || event.key === "PageDown") { app.scroll(view, event.key === "PageUp" ? -step : step); return true; }
    if ((event.key === "+" || event.key === "-") && (app.tool === "paint" || app.tool === "erase")) {
      app.setBrush(app.brushMm * (event.key === "+" ? 1.15 : 0.87));
      return true;
    }
    if (event.key === "+" || event.key === "-") {
      const [,, width, height] = app.planes.panes.get(view).rect;
      app.planes.zoomAt(view, width / 2, height / 2, event.key === "+" ? 1.2 : 1 / 1.2);
      app.redraw([view]);
      return true;
    }
    if (event.key !== "Enter") return false;
    this.put(view, event.shiftKey);
    return true;
  }

  nudge(view, [dx, dy], step) {
    const { planes } = this.app;
    const pane = planes.panes.get(view);
    const vector = dx ? pane.right : pane.down;
    const axis = vector.reduce((best, v, i) => (Math.abs(v) > Math.abs(vector[best]) ? i : best), 0);
    const { axis: native, flip } = planes.frame.axes[axis];
    const sign = Math.sign(vector[axis]) * (dx + dy) * (flip ? -1 : 1);
    const voxel = [...planes.crosshair];
    voxel[native] += sign * step;
    this.app.moveCrosshair(voxel);
    if (this.app.stroke?.keyed) { this.app.stroke.voxels[this.app.stroke.voxels.length - 1] = [...planes.crosshair]; this.app.redrawMarks(); }
  }

  put(view, shift) {
    const { app } = this;
    const at = [...app.planes.crosshair];
    if (["box", "lasso", "scribble", "paint", "erase"].includes(app.tool)) {
      if (app.stroke?.keyed && app.stroke.view === view) {
        const enough = app.stroke.kind !== "lasso" || shift;
        if (!enough) { app.stroke.voxels.push(at); return; }
        const drawn = app.stroke;
        app.stroke = null;
        if (drawn.kind === "paint" || drawn.kind === "erase") app.paint(drawn);
        else app.addStroke(drawn);
        return;
      }
      app.stroke = { view, kind: app.tool, positive: !shift, erase: app.tool === "erase", voxels: [at, [...at]], keyed: true };
      app.redrawMarks();
      return;
    }
    if (["window", "move", "look", "ruler", "angle", "ellipse"].includes(app.tool)) return;
    app.click(view, at, !(shift || app.tool === "negative"));
  }
}
