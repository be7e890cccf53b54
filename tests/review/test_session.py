"""The state of a review: what is shown, what is marked, and that nothing is ever lost. No widget, no kernel."""

from collections import Counter
from dataclasses import replace

import pytest
from filelock import FileLock

from data_setup.items import Item
from data_setup.own.labels import label_by_table
from helpers.review.mark_file import KINDS, Mark, read_marks, read_table, write_marks
from helpers.review.rows import NO_LABEL, SORTS, ranked, rows_from_items
from helpers.review.session import Review
from tests.review.made import CLASSES, hashes, make_files, make_rows

# --- looking ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", SORTS)
@pytest.mark.parametrize("reverse", [False, True])
def test_sorting_agrees_with_a_plain_sort_and_puts_missing_values_last(key, reverse):
    rows = make_rows()
    review = Review(rows, CLASSES)
    review.sort_by(key, reverse=reverse)
    shown = [rows[n] for n in review.order]
    assert Counter(shown) == Counter(rows)
    value_of = {"given": lambda row: None, "name": lambda row: row.name}.get(key, lambda row: getattr(row, key))
    if key == "given":
        assert shown == (rows[::-1] if reverse else rows)
        return
    values = [value_of(row) for row in shown]
    known = [value for value in values if value is not None]
    assert values == known + [None] * (len(values) - len(known))
    largest_first = (key in ("loss", "probability")) != reverse
    assert known == sorted(known, reverse=largest_first)
    for before, after in zip(shown, shown[1:], strict=False):
        if value_of(before) == value_of(after) and key != "name":  # equal ones stay in the order given
            assert rows.index(before) < rows.index(after)


FILTERS = {
    "label": (["cat", "dog", NO_LABEL], lambda row, value: (row.label or NO_LABEL) == value),
    "predicted": (["cat", "dog"], lambda row, value: row.predicted == value),
    "correct": ([True, False], lambda row, value: row.correct is value),
    "part": (["train", "valid", "test"], lambda row, value: row.part == value),
    "sure": ([(0.3, 1), (0, 0.6), (0.55, 0.9)], lambda row, value: row.top and value[0] <= row.top[0][1] <= value[1]),
    "names": ([frozenset({"valid/001.png", "x"})], lambda row, value: row.name in value),
    "text": (["1", "VALID/0"], lambda row, value: value.lower() in row.name),
}


@pytest.mark.parametrize("field", FILTERS)
def test_a_filter_shows_exactly_the_rows_it_says(field):
    rows = make_rows()
    review = Review(rows, CLASSES)
    values, wanted = FILTERS[field]
    for value in values:
        review.show(**{field: value})
        assert [rows[n] for n in review.order] == [row for row in rows if wanted(row, value)]
        assert review.order


def test_filters_add_up_and_can_be_taken_back():
    rows = make_rows()
    review = Review(rows, CLASSES)
    review.show(label="cat")
    review.show(correct=False)
    assert [rows[n] for n in review.order] == [r for r in rows if r.label == "cat" and r.correct is False]
    review.show(label=None, correct=None)
    assert len(review.order) == len(rows)


def test_a_new_filter_or_order_starts_at_the_first_page():
    review = Review(make_rows(), CLASSES, page_size=4)
    for act in (lambda: review.show(label="cat"), lambda: review.sort_by("loss")):
        review.go_to(2)
        assert review.page == 2
        act()
        assert review.page == 0


def test_the_page_stands_still_while_marks_are_made():
    review = Review(make_rows(), CLASSES, page_size=4)
    review.show(mark="none")
    review.go_to(1)
    before = review.page_rows()
    review.mark(before[0].name, "unsure")
    assert review.page_rows() == before
    review.show(mark="none")
    assert before[0] not in [review.view[n] for n in review.order]
    review.show(mark="any")
    assert [review.view[n] for n in review.order] == [before[0]]


@pytest.mark.parametrize(("n", "page_size", "pages"), [(0, 12, 1), (1, 12, 1), (12, 12, 1), (13, 12, 2), (30, 1, 30)])
def test_the_pages_together_are_all_rows_in_order(n, page_size, pages):
    review = Review(make_rows(n), CLASSES, page_size=page_size)
    assert review.pages == pages
    seen = []
    for page in range(pages):
        review.go_to(page)
        assert len(review.page_rows()) <= page_size
        seen += review.page_rows()
    assert seen == list(review.view)
    review.go_to(10**9)
    assert review.page == pages - 1
    review.go_to(-3)
    assert review.page == 0


def test_turning_pages_neither_filters_nor_sorts_again():
    review = Review(make_rows(), CLASSES)
    review.sort_by("loss")
    order = review.order
    review.go_to(1)
    assert review.order is order


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda review: review.show(lable="cat"), TypeError, "no keyword 'lable'; did you mean 'label'?"),
        (lambda review: review.sort_by("lost"), ValueError, "cannot sort by 'lost'; did you mean 'loss'?"),
        (
            lambda review: review.relabel("train/000.png", "cta"),
            ValueError,
            "'cta' is not a class; did you mean 'cat'?",
        ),
        (lambda review: review.mark("train/000.png", "delete"), ValueError, "cannot mark as 'delete'"),
        (lambda review: review.mark("train/00.png", "right"), KeyError, "; did you mean 'train/00"),
        (lambda review: review.clear("nothing"), KeyError, "no picture here is called 'nothing'"),
        (lambda review: Review((), page_size=0), ValueError, "at least 1; got 0"),
    ],
)
def test_errors_say_what_was_meant(call, error, sentence):
    with pytest.raises(error) as caught:
        call(Review(make_rows(), CLASSES))
    assert sentence in str(caught.value)


# --- marking ----------------------------------------------------------------------------------------------


def test_marks_survive_filters_pages_and_restarts(tmp_path):
    file = tmp_path / "marks.csv"
    review = Review(make_rows(), CLASSES, save_to=file)
    review.relabel("valid/001.png", "dog")
    review.mark("test/002.png", "remove")
    review.show(part="train")
    review.sort_by("name", reverse=True)
    review.go_to(1)
    expected = {"valid/001.png": Mark("relabel", "cat", "dog"), "test/002.png": Mark("remove", "dog")}
    assert review.marks == expected
    assert Review(make_rows(), CLASSES, save_to=file).marks == expected
    assert file.read_text() == (
        '"name","old_label","mark","new_label","note"\n'
        '"test/002.png","dog","remove","",""\n"valid/001.png","cat","relabel","dog",""\n'
    )


def test_the_same_marks_make_the_same_file_in_any_order(tmp_path):
    names = [row.name for row in make_rows()][:6]
    for folder, order in (("a", names), ("b", names[::-1])):
        review = Review(make_rows(), CLASSES, save_to=tmp_path / folder / "marks.csv")
        for name in order:
            review.mark(name, "unsure")
    assert (tmp_path / "a/marks.csv").read_bytes() == (tmp_path / "b/marks.csv").read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".marks.csv.lock", "marks.csv"]


def test_the_label_it_has_already_counts_as_right():
    review = Review(make_rows(), CLASSES)
    review.relabel("valid/001.png", "cat")
    assert review.mark_of("valid/001.png") == Mark("right", "cat")


def test_undo_and_redo_walk_through_every_mark(tmp_path):
    file = tmp_path / "marks.csv"
    review = Review(make_rows(), CLASSES, save_to=file)
    states = [review.marks]
    for act in (
        lambda: review.mark("valid/001.png", "unsure"),
        lambda: review.relabel("valid/001.png", "dog"),
        lambda: review.clear("valid/001.png"),
        lambda: review.mark("test/002.png", "right"),
    ):
        act()
        states.append(review.marks)
    review.mark("test/002.png", "right")  # the mark it has already: nothing to undo
    for state in reversed(states[:-1]):
        assert len(review.undo()[0]) == 1
        assert review.marks == state == read_marks(file)
    assert review.undo() == ((), ())
    for state in states[1:]:
        assert len(review.redo()[0]) == 1
        assert review.marks == state == read_marks(file)
    assert review.redo() == ((), ())
    review.undo()
    review.mark("train/000.png", "unsure")
    assert review.redo() == ((), ())  # a new mark ends what could be redone


def test_marks_about_files_that_are_gone_are_kept_and_reported(tmp_path):
    file = tmp_path / "marks.csv"
    Review(make_rows(), CLASSES, save_to=file).mark("valid/001.png", "remove")
    fewer = [row for row in make_rows() if row.name != "valid/001.png"]
    review = Review(fewer, CLASSES, save_to=file)
    assert "1 mark kept for pictures that are not here: valid/001.png." in review.report()
    review.mark("test/002.png", "unsure")
    assert set(read_marks(file)) == {"valid/001.png", "test/002.png"}


def test_marks_on_several_pictures_are_one_step(tmp_path):
    review = Review(make_rows(), CLASSES, save_to=tmp_path / "marks.csv")
    review.relabel(["valid/001.png", "test/002.png"], "dog")  # a cat and a dog
    expected = {"valid/001.png": Mark("relabel", "cat", "dog"), "test/002.png": Mark("right", "dog")}
    assert review.marks == expected
    assert set(review.undo()[0]) == set(expected) and review.marks == {}
    assert set(review.redo()[0]) == set(expected) and review.marks == expected == read_marks(tmp_path / "marks.csv")


def test_a_note_stays_whatever_the_mark_and_can_stand_alone():
    review = Review(make_rows(), CLASSES)
    review.note("valid/001.png", "ask Ada")
    assert review.mark_of("valid/001.png") == Mark("note", "cat", note="ask Ada")
    review.relabel("valid/001.png", "dog")
    assert review.mark_of("valid/001.png") == Mark("relabel", "cat", "dog", "ask Ada")
    assert str(review.mark_of("valid/001.png")) == "new label dog: ask Ada"
    review.note("valid/001.png", "")
    assert review.mark_of("valid/001.png") == Mark("relabel", "cat", "dog")
    review.clear("valid/001.png")
    review.note("valid/001.png", "again")
    review.note("valid/001.png", "")
    assert review.marks == {}


def test_a_mark_against_an_older_label_is_reported_and_never_carried_out(tmp_path):
    items = make_files(tmp_path)
    file = tmp_path / "marks.csv"
    old = {
        "0.png": Mark("relabel", "cow", "dog"),
        "2.png": Mark("remove", "cow"),
        "4.png": Mark("relabel", "cow", "cat"),
    }
    write_marks(file, old)
    review = Review(rows_from_items(items), CLASSES, save_to=file)  # 0, 2 and 4 are cats now; 4 was carried out
    assert "2 marks made against an older label, not carried out: 0.png, 2.png." in review.report()
    with pytest.warns(UserWarning, match=r"2 marks not carried out \(made against an older label\): 0.png, 2.png"):
        assert review.apply(items) == items
    review.relabel("0.png", "dog")  # looked at again
    assert review.mark_of("0.png") == Mark("relabel", "cat", "dog")
    with pytest.warns(UserWarning, match="1 mark not carried out"):
        assert [item.label for item in review.apply(items)] == ["dog", "dog", "cat", "dog", "cat", "dog"]
    assert Review((), CLASSES).report() == "No marks."


def test_held_out_pictures_change_only_when_asked_for(data):
    review = Review(rows_from_items(data))
    held, train = data.items_of("valid")[0], data.items_of("train")[0]
    other = {"dark": "light", "light": "dark"}
    review.relabel(held.name, other[held.label])
    review.relabel(train.name, other[train.label])
    assert "1 change to held-out pictures, carried out only with held_out=True." in review.report()
    with pytest.warns(UserWarning, match="held-out pictures change only with held_out=True"):
        label_of = {item.name: item.label for item in review.apply(data.items)}
    assert label_of[held.name] == held.label and label_of[train.name] == other[train.label]
    label_of = {item.name: item.label for item in review.apply(data.items, held_out=True)}
    assert label_of[held.name] == other[held.label]


def test_items_alone_are_held_out_by_their_folder_or_it_is_said_that_nobody_knows(tmp_path):
    """Catches validation labels that are "corrected" without a word, because the browser was given items only."""
    items = [Item(f"{part}/1.png", tmp_path / "1.png", "cat") for part in ("train", "val", "test")]
    review = Review(rows_from_items(items), CLASSES)
    review.relabel([item.name for item in items], "dog")
    assert "2 changes to held-out pictures" in review.report() and "not known" not in review.report()
    with pytest.warns(UserWarning, match="held-out pictures change only"):
        assert [item.label for item in review.apply(items)] == ["dog", "cat", "cat"]
    elsewhere = Review(rows_from_items([Item("1.png", tmp_path / "1.png", "cat")]), CLASSES)
    elsewhere.mark("1.png", "right")
    assert "not known" not in elsewhere.report()
    elsewhere.mark("1.png", "remove")
    assert "Which pictures are held out is not known here" in elsewhere.report()


def test_export_and_apply_are_about_the_whole_data_set_whatever_is_in_view(tmp_path):
    items = make_files(tmp_path, 20)
    rows = rows_from_items(items)
    review = Review(rows, view=ranked(rows, [("3.png", ""), ("5.png", "")]))
    review.relabel("3.png", "cat")
    review.mark("5.png", "remove")
    review.show(label="cat")
    table = read_table(review.export(tmp_path / "labels.csv"))
    assert len(table) == 1 + 19 and [row.name for row in review.page_rows()] == []
    assert len(label_by_table(tmp_path / "labels.csv", folder=tmp_path)) == 19


def test_undo_leaves_what_somebody_else_has_marked_since(tmp_path):
    file = tmp_path / "marks.csv"
    first, second = (Review(make_rows(), CLASSES, save_to=file) for _ in range(2))
    first.mark(["train/000.png", "valid/001.png"], "unsure")
    second.mark("train/000.png", "remove")
    assert first.undo() == (("valid/001.png",), ("train/000.png",))
    assert read_marks(file) == {"train/000.png": Mark("remove", None)}
    assert second.undo() == (("train/000.png",), ())
    assert read_marks(file) == {"train/000.png": Mark("unsure", None)}  # as it was before the second one's mark


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("any", {"relabel", "right", "unsure", "remove", "note"}),
        ("none", {None}),
        ("unsure", {"unsure"}),
        (None, "all"),
    ],
)
def test_pictures_are_filtered_by_any_mark_and_by_none(value, passes):
    review = Review(make_rows(), CLASSES)
    review.relabel("valid/001.png", "dog")
    review.mark("test/002.png", "right")
    review.mark("train/003.png", "unsure")
    review.mark("valid/004.png", "remove")
    review.note("test/005.png", "?")
    review.show(mark=value)
    kinds = {mark.kind if (mark := review.mark_of(review.view[n].name)) else None for n in review.order}
    assert kinds == ({*KINDS, None} if passes == "all" else passes)


def test_a_file_that_another_program_has_locked_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.review.mark_file.LOCK_SECONDS", 0.05)
    file = tmp_path / "marks.csv"
    review = Review(make_rows(), CLASSES, save_to=file)
    with FileLock(tmp_path / ".marks.csv.lock"):
        review.mark("train/000.png", "unsure")
        assert "NOT saved" in review.file.problem and not file.exists()
    review.mark("valid/001.png", "remove")
    assert review.file.problem == "" and set(read_marks(file)) == {"train/000.png", "valid/001.png"}


def test_words_of_a_note_find_its_pictures():
    review = Review(make_rows(), CLASSES)
    review.note(["valid/001.png", "test/002.png"], "Blurred, ask Ada")
    review.show(text="blurred")
    assert [review.view[n].name for n in review.order] == ["valid/001.png", "test/002.png"]


def test_marks_made_meanwhile_in_another_review_are_carried_out_and_shown(tmp_path):
    items = make_files(tmp_path)
    first, second = (Review(rows_from_items(items), save_to=tmp_path / "marks.csv") for _ in range(2))
    first.mark("0.png", "remove")
    assert second.apply(items) == items[1:]
    assert len(read_table(second.export(tmp_path / "labels.csv"))) == len(items)  # a header, and one picture less
    first.mark("1.png", "unsure")
    second.show(mark="unsure")
    assert [second.view[n].name for n in second.order] == ["1.png"] and "2 marks" in second.report()


def test_two_reviews_share_a_file_and_neither_loses_the_others_marks(tmp_path):
    file = tmp_path / "marks.csv"
    first, second = (Review(make_rows(), CLASSES, save_to=file) for _ in range(2))
    first.mark("train/000.png", "unsure")
    second.mark("valid/001.png", "remove")
    first.mark("test/002.png", "right")
    assert set(first.marks) == set(read_marks(file)) == {"train/000.png", "valid/001.png", "test/002.png"}
    second.undo()
    assert set(read_marks(file)) == {"train/000.png", "test/002.png"}


def test_the_rest_of_a_page_is_what_nobody_has_marked(tmp_path):
    """Catches a removal made in another browser that a page marked as correct here takes back without a word."""
    first, second = (Review(make_rows(), CLASSES, save_to=tmp_path / "marks.csv") for _ in range(2))
    second.mark("valid/001.png", "remove")
    assert first.mark_rest(["train/000.png", "valid/001.png"]) == 1
    kinds = {name: mark.kind for name, mark in first.marks.items()}
    assert kinds == {"train/000.png": "right", "valid/001.png": "remove"}
    first.undo()
    assert [mark.kind for mark in first.marks.values()] == ["remove"] and first.mark_rest(["valid/001.png"]) == 0


def test_what_cannot_be_saved_stays_in_memory_and_is_saved_later(tmp_path):
    blocked = tmp_path / "folder"
    blocked.write_text("a file where the folder should be")
    review = Review(make_rows(), CLASSES, save_to=blocked / "marks.csv")
    review.mark("train/000.png", "unsure")
    assert "NOT saved" in review.file.problem and "folder" in review.file.problem
    assert set(review.marks) == {"train/000.png"}
    blocked.unlink()
    review.mark("valid/001.png", "remove")
    assert review.file.problem == ""
    assert set(read_marks(blocked / "marks.csv")) == {"train/000.png", "valid/001.png"}


def test_every_mark_made_while_the_file_was_broken_is_saved_later(tmp_path):
    file = tmp_path / "marks.csv"
    review = Review(make_rows(), CLASSES, save_to=file)
    review.mark("train/000.png", "unsure")
    good = file.read_bytes()
    file.write_text("an editor was here")
    review.mark("valid/001.png", "remove")
    review.mark("test/002.png", "right")
    file.write_bytes(good)
    review.clear("train/000.png")
    assert set(review.marks) == set(read_marks(file)) == {"valid/001.png", "test/002.png"}


def test_a_deleted_file_is_written_again_whole(tmp_path):
    file = tmp_path / "marks.csv"
    review = Review(make_rows(), CLASSES, save_to=file)
    review.mark("train/000.png", "unsure")
    file.unlink()
    review.mark("valid/001.png", "remove")
    assert set(read_marks(file)) == {"train/000.png", "valid/001.png"}


# --- using the marks --------------------------------------------------------------------------------------


def test_apply_gives_new_items_and_touches_no_file(tmp_path):
    items = make_files(tmp_path)
    before = hashes(tmp_path)
    review = Review(rows_from_items(items))
    assert review.classes == CLASSES
    review.relabel("0.png", "dog")
    review.mark("1.png", "remove")
    review.mark("2.png", "unsure")
    applied = review.apply(items)
    assert [(item.name, item.label) for item in applied] == [
        ("0.png", "dog"), ("2.png", "cat"), ("3.png", "dog"), ("4.png", "cat"), ("5.png", "dog"),
    ]  # fmt: skip
    assert items[0].label == "cat" and hashes(tmp_path) == before
    assert review.apply(applied) == applied  # once is enough
    assert review.apply(items[3:]) == items[3:]  # marks about other pictures do not matter


def test_from_marks_to_a_data_set_that_trains_in_one_line(data, learn):
    """A picture to be removed leaves the split, too; and the learner goes on with the corrected labels."""
    review = Review(rows_from_items(data))
    train, valid = data.split.train, data.split.valid
    review.mark([train[0], valid[0]], "remove")
    review.relabel(train[1], "light")
    corrected = data.with_items(review.apply(data.items, held_out=True))
    assert corrected.split.train == train[1:] and corrected.split.valid == valid[1:]
    assert corrected.items[corrected.index_of(train[1])].label == "light"
    learn.set_data(corrected)
    learn.fit_one_cycle(1, 1e-2)
    assert [item.name for item in learn.get_preds("valid").items] == list(valid[1:])


def test_the_exported_table_can_be_read_as_labels(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    items = make_files(pictures)
    review = Review(rows_from_items(items))
    review.relabel("0.png", "dog")
    review.mark("1.png", "remove")
    table = review.export(tmp_path / "labels.csv")
    assert label_by_table(table, folder=pictures) == review.apply(items)
    review.undo()
    assert label_by_table(review.export(table), folder=pictures) == review.apply(items)  # our own may be replaced
    heavy = tuple(replace(item, weight=1 + number / 3) for number, item in enumerate(items))
    assert label_by_table(Review(rows_from_items(heavy)).export(table), folder=pictures) == heavy
    (tmp_path / "notes.csv").write_text("my notes\n")
    with pytest.raises(FileExistsError, match="export to another name"):
        review.export(tmp_path / "notes.csv")
    assert (tmp_path / "notes.csv").read_text() == "my notes\n"
