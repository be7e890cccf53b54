// Keys, clicks, lassos, and names for the controls that ipywidgets leaves without one.
//
// Keys typed anywhere inside a course widget (but not in a text field, a list or a slider) go to Python, and are
// caught before JupyterLab sees them: for it, "1" turns the cell into a heading and "d d" deletes it.
// Messages: {key} · {tile or step, how: "only" | "toggle" | "range"} · {at} · {lasso: [[x, y], ...]} with
// positions as shares of the picture's width and height, and the steps of an arrow among the pictures.

// The letter or digit that was meant: as typed, in lower case (Caps Lock); where the layout has no Latin letters, or
// digits need Shift as on French keyboards, the one printed on that key of a US keyboard.
export function meant(event) {
  if (event.key.length > 1 || /^[a-z0-9]$/i.test(event.key)) {
    return event.key.length > 1 ? event.key : event.key.toLowerCase();
  }
  const printed = /^(?:Key|Digit|Numpad)([A-Z0-9])$/.exec(event.code ?? "");
  return printed && !event.shiftKey ? printed[1].toLowerCase() : event.key.toLowerCase();
}

function share(picture, event) {
  const box = picture.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

export default {
  render({ model, el }) {
    el.textContent = model.get("help");
    let root = null, follow = false, timer = null, lasso = null;
    const mine = target => target.closest?.(".course-widget") === root;
    const tiles = () => [...root.querySelectorAll(".course-tile")].filter(tile => tile.offsetParent);
    const columns = () => tiles().filter(tile => tile.offsetTop === tiles()[0].offsetTop).length;
    const name = () => {
      for (const slider of root.querySelectorAll(".widget-slider")) {
        const label = slider.querySelector(".widget-label")?.textContent ?? "";
        const handles = slider.querySelectorAll(".noUi-handle");
        handles.forEach((handle, i) => handle.setAttribute("aria-label",
          handles.length > 1 ? label + [" from", " to"][i] : label));
        slider.querySelector(".widget-readout")?.setAttribute("aria-label", label + " as a number");
        slider.querySelector(".widget-readout")?.setAttribute("role", "textbox");
      }
      root.querySelectorAll(".course-status").forEach(said => said.setAttribute("aria-live", "polite"));
      root.querySelectorAll(".course-page").forEach(page => {
        page.setAttribute("role", "group");
        page.setAttribute("aria-label", "Pictures of this page");
      });
      root.querySelectorAll(".course-map img").forEach(map => {
        map.draggable = false;
        map.style.cursor = "crosshair";
        map.style.touchAction = "none";
      });
    };
    const onKey = event => {
      if (!root || !mine(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest("input, select, textarea, [contenteditable=true], [role=slider]")) return;
      const key = meant(event), ours = model.get("wanted").includes(key);
      if (ours) {
        event.preventDefault();
        const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[key];
        follow = step !== undefined;
        model.send(follow ? { step, how: event.shiftKey ? "range" : "only" } : { key });
      }
      if (ours || (event.key.length === 1 && event.key !== " ")) event.stopImmediatePropagation();
    };
    const onClick = event => {
      if (!mine(event.target)) return;
      const tile = event.target.closest(".course-tile"), curve = event.target.closest(".course-curve img");
      const how = event.ctrlKey || event.metaKey ? "toggle" : event.shiftKey ? "range" : "only";
      if (tile && (how !== "only" || !event.target.closest("button"))) {
        event.stopPropagation();  // a name's button would select only its own picture
        model.send({ tile: tiles().indexOf(tile), how });
      }
      if (curve) model.send({ at: share(curve, event)[0] });
    };
    const noTextSelection = event => {  // Shift and a click would mark the words between the pictures
      if (event.shiftKey && event.target.closest(".course-tile")) event.preventDefault();
    };
    const onDown = event => {
      const map = event.target.closest(".course-map img");
      if (!map || !mine(map)) return;
      event.preventDefault();
      const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const line = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
      line.setAttribute("style", "fill:rgba(0,114,178,0.2);stroke:#0072B2;stroke-width:2");
      drawing.append(line);
      const corner = map.getBoundingClientRect();
      drawing.setAttribute("style", `position:fixed;pointer-events:none;overflow:visible;z-index:9;` +
        `left:${corner.left}px;top:${corner.top}px;width:${corner.width}px;height:${corner.height}px`);
      document.body.append(drawing);
      lasso = { map, drawing, line, corner, points: [share(map, event)] };
    };
    const onMove = event => {
      if (!lasso) return;
      lasso.points.push(share(lasso.map, event));
      lasso.line.setAttribute("points",
        lasso.points.map(([x, y]) => `${x * lasso.corner.width},${y * lasso.corner.height}`).join(" "));
    };
    const onUp = () => {
      if (!lasso) return;
      lasso.drawing.remove();
      model.send({ lasso: lasso.points });
      lasso = null;
    };
    model.on("change:selected", () => {
      if (follow) tiles()[model.get("selected")]?.querySelector("button")?.focus();
    });
    const observer = new MutationObserver(name);
    const attach = () => {
      root = el.closest(".course-widget");
      if (!root) { timer = setTimeout(attach, 100); return; }
      name();
      observer.observe(root, { childList: true, subtree: true });
      root.addEventListener("click", onClick, true);
      root.addEventListener("mousedown", noTextSelection);
      root.addEventListener("pointerdown", onDown);
      window.addEventListener("pointermove", onMove);
      window.addEventListener("pointerup", onUp);
      window.addEventListener("keydown", onKey, true);
    };
    attach();
    return () => {
      clearTimeout(timer);
      observer.disconnect();
      root?.removeEventListener("click", onClick, true);
      root?.removeEventListener("mousedown", noTextSelection);
      root?.removeEventListener("pointerdown", onDown);
      window.removeEventListener("pointermove", onMove);
      window.removeEventListener("pointerup", onUp);
      window.removeEventListener("keydown", onKey, true);
    };
  },
};
