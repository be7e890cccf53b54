"""The canvas to paint on, in Chromium: a stroke of the mouse arrives as shares of its sides, and is drawn."""

import base64

import pytest

from helpers.lessons.draw_crack import Canvas
from tests.browser.driving import needs_chromium, open_chromium, watched_page

pytestmark = [pytest.mark.timeout(300), needs_chromium]

STUB = """async (address) => {
  const state = {picture: "", strokes: [], width: 6, help: "Paint here."};
  const listeners = {};
  window.state = state;
  window.saved = 0;
  window.change = (name, value) => { state[name] = value; for (const f of listeners["change:" + name] ?? []) f(); };
  const model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; },
    save_changes: () => { window.saved += 1; },
    on: (event, call) => { (listeners[event] ??= []).push(call); },
    off: (event, call) => { listeners[event] = listeners[event].filter((other) => other !== call); },
  };
  const widget = await import(address);
  window.leave = widget.default.render({model, el: document.body});
  window.listening = () => Object.values(listeners).flat().length;
}"""
DARK = """() => {
  const canvas = document.querySelector("canvas");
  const alphas = canvas.getContext("2d").getImageData(0, 0, 360, 360).data.filter((_, i) => i % 4 === 3);
  return alphas.filter((alpha) => alpha > 100).length;
}"""


def test_a_stroke_is_sent_once_and_drawn_and_cleared():
    address = f"data:text/javascript;base64,{base64.b64encode(str(Canvas._esm).encode()).decode()}"
    problems: list[str] = []
    with open_chromium() as chromium:
        page = watched_page(chromium, problems)
        page.evaluate(STUB, address)
        canvas = page.get_by_role("img", name="Paint here.")
        box = canvas.bounding_box()
        across = [(0.25, 0.5), (0.5, 0.5), (0.75, 0.5)]
        for index, (x, y) in enumerate(across):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if index == 0:
                page.mouse.down()
        page.mouse.up()
        page.mouse.move(box["x"] + 5, box["y"] + 5)  # the button is up: no paint
        (stroke,) = page.evaluate("state.strokes")
        assert stroke["width"] == 6 and page.evaluate("saved") == 1
        for found, expected in zip(stroke["points"], across, strict=True):
            assert found == pytest.approx(expected, abs=0.01)
        wide = 6 * 360 / 300
        assert page.evaluate(DARK) == pytest.approx(180 * wide + wide**2, rel=0.2)
        page.evaluate("change('strokes', [])")
        assert page.evaluate(DARK) == 0
        assert page.evaluate("listening()") == 2
        page.evaluate("leave()")
        assert page.evaluate("listening()") == 0
    assert problems == []
