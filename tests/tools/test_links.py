"""Links that lead nowhere."""

import shutil

import pytest

from tools import links


@pytest.mark.parametrize(
    ("words", "target", "said"),
    [
        ("the first lesson", "notebooks/01_lesson.ipynb", None),
        ("its exercise", "notebooks/01_lesson.ipynb#Exercise", None),
        ("the licence", "LICENSE", None),
        ("on the web", "https://nowhere.invalid", None),
        ("a part of this page", "#top-of-it", None),
        ("a part as only JupyterLab names it", "#Top-of-it", "README.md has no heading 'Top-of-it'"),
        ("gone", "notebooks/99.ipynb", "no such file"),
        ("no such part", "notebooks/01_lesson.ipynb#Nowhere", "01_lesson.ipynb has no heading 'Nowhere'"),
        ("here", "LICENSE", "the words 'here' do not say where the link leads"),
    ],
)
def test_what_is_wrong_with_a_link(lessons, tmp_path, words, target, said):
    shutil.move(lessons, tmp_path / "notebooks")
    (tmp_path / "LICENSE").touch()
    page = tmp_path / "README.md"
    page.write_text(f"# Top of it\n[{words}]({target}) and `[not a](link)`\n")
    [(picture, found, where)] = links.links(page)
    assert (picture, found, where) == (False, words, target)
    assert links.problem(page, picture, found, where) == said
    assert links.main(["--root", str(tmp_path)]) == (1 if said else 0)


def test_a_picture_needs_words(tmp_path):
    (tmp_path / "a.png").touch()
    assert links.problem(tmp_path / "README.md", True, "", "a.png") == "the picture has no alternative text"
