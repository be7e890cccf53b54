"""HTML from templates: what is filled in is escaped, and a picture is made once for each version of its file."""

from PIL import Image

from data_setup.base import html
from data_setup.base.html import fill, join, page, shortened, thumbnail
from data_setup.base.text import printable


def test_a_changed_file_gets_a_new_thumbnail_and_an_unchanged_one_is_made_once(tmp_path):
    path = tmp_path / "one.png"
    Image.new("RGB", (40, 30), "blue").save(path)
    html._thumbnail.cache_clear()
    first = thumbnail(path, 16)
    assert thumbnail(path, 16) is first
    assert html._thumbnail.cache_info().misses == 1
    Image.new("RGB", (300, 100), "red").save(path)
    assert thumbnail(path, 16) != first


def test_filled_in_html_stays_and_everything_else_is_escaped():
    inner = fill("<b>{word}</b>", word="<&>\"'")
    assert fill("<p>{inner}{number}</p>", inner=inner, number=3) == f"<p>{inner}3</p>"
    assert inner == "<b>&lt;&amp;&gt;&#34;&#39;</b>"
    assert join([inner, "<i>"]) == f"{inner}&lt;i&gt;"
    assert printable("a\x00b\udcff\u202ec\u2067") == "a\ufffdb\ufffd\ufffdc\ufffd"
    kept = "8\u202fPM\xa0می\u200cخواهم 👩\u200d🔬"  # a macOS screenshot, Persian, a woman scientist
    assert printable(kept) == kept
    assert shortened("abcdefghij", 7) == "abc…hij" and shortened("short", 7) == "short"


def test_a_page_escapes_what_it_is_given_and_keeps_what_a_template_made(tmp_path):
    """Catches a Jinja file that shows a class name as HTML, or HTML as text."""
    (tmp_path / "page.html").write_text("{{ name }}|{{ made }}|{{ sign }}")
    made = fill("<b>{word}</b>", word="<i>")
    shown = page(tmp_path / "page.html", sign="&").render(name="<u>\u202e", made=made)
    assert shown == "&lt;u&gt;\ufffd|<b>&lt;i&gt;</b>|&amp;"
