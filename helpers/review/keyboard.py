"""Keys, and names for the controls that ipywidgets leaves without: a layer that may be missing.

Everything works with Tab, Enter and the mouse; where anywidget is installed, keys typed anywhere inside a
browser (but not in a text field, a list or a slider) come to Python, too. They are caught before JupyterLab
sees them, for which "1" turns the cell into a heading and "d d" deletes it.
"""

import traitlets

try:
    import anywidget
except ImportError:  # the browsers then have no keys beyond Tab and Enter
    anywidget = None

SCRIPT = """
export default {
  render({ model, el }) {
    el.textContent = model.get("help");
    let root = null, follow = false, timer = null;
    const tiles = () => [...root.querySelectorAll(".course-tile")].filter(t => t.offsetParent);
    const columns = () => tiles().filter(t => t.offsetTop === tiles()[0].offsetTop).length;
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
      root.querySelector(".course-page")?.setAttribute("role", "group");
      root.querySelector(".course-page")?.setAttribute("aria-label", "Pictures of this page");
    };
    const onKey = event => {
      if (!root?.contains(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest("input, select, textarea, [contenteditable=true], [role=slider]")) return;
      const ours = model.get("wanted").includes(event.key);
      if (ours) {
        event.preventDefault();
        follow = event.key.startsWith("Arrow");
        model.send({ key: event.key, columns: columns() });
      }
      if (ours || (event.key.length === 1 && event.key !== " ")) event.stopImmediatePropagation();
    };
    const onClick = event => {
      const tile = event.target.closest(".course-tile");
      if (tile && !event.target.closest("button")) model.send({ tile: tiles().indexOf(tile) });
      const curve = event.target.closest(".course-curve img");
      if (curve) model.send({ at: event.offsetX / curve.clientWidth });
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
      root.addEventListener("click", onClick);
      window.addEventListener("keydown", onKey, true);
    };
    attach();
    return () => {
      clearTimeout(timer);
      observer.disconnect();
      root?.removeEventListener("click", onClick);
      window.removeEventListener("keydown", onKey, true);
    };
  },
};
"""

if anywidget:

    class Keys(anywidget.AnyWidget):
        """Sends {"key": ..., "columns": ...} or {"tile": ...} for what is typed or clicked around it."""

        _esm = SCRIPT
        wanted = traitlets.List(traitlets.Unicode()).tag(sync=True)
        help = traitlets.Unicode().tag(sync=True)
        selected = traitlets.Int(0).tag(sync=True)  # the tile that has the focus next


def listen(keys=(), *, help="", on_message=lambda message: None):
    """A `Keys` widget that calls `on_message` with each message, or None without anywidget."""
    if anywidget is None:
        return None
    layer = Keys(wanted=list(keys), help=help)
    layer.on_msg(lambda _, message, buffers: on_message(message))
    return layer
