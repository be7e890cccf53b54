"""The state of a review: what is shown, what is marked, and that nothing is ever lost. No widget, no kernel."""

import hashlib
import math
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from helpers.analysis.audit import Duplicate, LabelError
from helpers.analysis.predictions import Predictions
from helpers.data.items import Item, label_by_table
from helpers.review.marks import KINDS, Mark, read_marks, write_marks
from helpers.review.session import SORTS, Review, Row, ranked, rows_from_items, rows_from_predictions

VOCAB = ("cat", "dog")


def make_rows(n=30, seed=0):
    """Rows with and without labels and predictions, in three parts, some of them alike."""
    rng = torch.Generator().manual_seed(seed)
    draws = torch.rand(n, generator=rng).mul(10).round().div(10).tolist()  # tenths: ties on purpose
    rows = []
    for i, p in enumerate(draws):
        label = [None, "cat", "dog"][i % 3]
        top = () if i % 7 == 0 else tuple(sorted([("cat", p), ("dog", 1 - p)], key=lambda entry: -entry[1]))
        loss = -math.log(max(dict(top)[label], 1e-6)) if top and label else None
        part = ("train", "valid", "test")[i % 3]
        rows.append(Row(f"{part}/{i:03}.png", Path(f"{i}.png"), label, part, top, loss))
    return rows


def make_predictions(log_probs, labels, part="valid"):
    items = tuple(Item(f"{i}.png", Path(f"{i}.png"), label) for i, label in enumerate(labels))
    targets = torch.tensor([-1 if label is None else VOCAB.index(label) for label in labels])
    return Predictions(items, torch.as_tensor(log_probs).log_softmax(1), targets, VOCAB, part)


# --- rows -------------------------------------------------------------------------------------------------


def test_rows_say_what_the_predictions_say():
    rng = torch.Generator().manual_seed(1)
    labels = [("cat", "dog", None)[i % 3] for i in range(40)]
    preds = make_predictions(torch.randn(40, 2, generator=rng), labels)
    rows = rows_from_predictions(preds)
    assert [row.predicted for row in rows] == [VOCAB[k] for k in preds.predicted]
    top2 = preds.probs.topk(2, dim=1).values
    torch.testing.assert_close(torch.tensor([row.probability for row in rows]), top2[:, 0])
    torch.testing.assert_close(torch.tensor([row.margin for row in rows]), top2[:, 0] - top2[:, 1])
    for row, loss, correct in zip(rows, preds.losses.tolist(), preds.correct.tolist(), strict=True):
        assert row.loss == (None if math.isnan(loss) else loss)
        assert row.correct == (None if row.label is None else correct)
    assert {row.part for row in rows} == {"valid"}


def test_equal_probabilities_count_as_the_first_class_as_in_the_record():
    preds = make_predictions(torch.zeros(3, 2), ["cat", "dog", None])
    rows = rows_from_predictions(preds, n_top=1)
    assert [row.predicted for row in rows] == ["cat", "cat", "cat"]
    assert [row.correct for row in rows] == [True, False, None]
    assert [row.top for row in rows_from_predictions(preds)][0] == (("cat", 0.5), ("dog", 0.5))


def test_the_part_of_the_split_replaces_the_part_of_the_record():
    preds = make_predictions(torch.zeros(2, 2), ["cat", "dog"], part="custom")
    assert [row.part for row in rows_from_predictions(preds, {"1.png": "train"})] == ["custom", "train"]


def test_ranked_lists_open_in_their_own_order_with_captions():
    items = [Item(name, Path(name), "cat") for name in "abcd"]
    rows = rows_from_items(items)
    plain = ranked(rows, [("c", "first"), ("a", "second"), ("c", "again")])
    assert [(row.name, row.caption) for row in plain] == [("c", "first"), ("a", "second"), ("c", "again")]
    pairs = ranked(rows, [Duplicate(items[3], items[1], "exact", 1.0, ("train", "valid"))])
    assert [row.name for row in pairs] == ["d", "b"]
    assert pairs[0].caption == "pair 1: exact duplicate, one trains and the other judges"
    errors = ranked(rows, [LabelError(items[2], "cat", "dog", 0.034, 2)])
    assert errors[0].caption == "perhaps dog; probability of its label 0.03"
    with pytest.raises(KeyError, match="names 1 picture that are not here, e.g. 'x'"):
        ranked(rows, [("x", "")])


# --- looking ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", SORTS)
@pytest.mark.parametrize("reverse", [False, True])
def test_sorting_agrees_with_a_plain_sort_and_puts_missing_values_last(key, reverse):
    rows = make_rows()
    review = Review(rows, VOCAB)
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
    "label": (["cat", "dog"], lambda row, value: row.label == value),
    "predicted": (["cat", "dog"], lambda row, value: row.predicted == value),
    "correct": ([True, False], lambda row, value: row.correct is value),
    "part": (["train", "valid", "test"], lambda row, value: row.part == value),
    "at_least": ([0.3, 0.7], lambda row, value: row.top and row.top[0][1] >= value),
    "at_most": ([0.6, 0.9], lambda row, value: row.top and row.top[0][1] <= value),
    "name_has": (["1", "VALID/0"], lambda row, value: value.lower() in row.name),
}


@pytest.mark.parametrize("field", FILTERS)
def test_a_filter_shows_exactly_the_rows_it_says(field):
    rows = make_rows()
    review = Review(rows, VOCAB)
    values, wanted = FILTERS[field]
    for value in values:
        review.show(**{field: value})
        assert [rows[n] for n in review.order] == [row for row in rows if wanted(row, value)]
        assert review.order


def test_filters_add_up_and_can_be_taken_back():
    rows = make_rows()
    review = Review(rows, VOCAB)
    review.show(label="cat")
    review.show(correct=False)
    assert [rows[n] for n in review.order] == [r for r in rows if r.label == "cat" and r.correct is False]
    review.show(label=None, correct=None)
    assert len(review.order) == len(rows)


def test_a_new_filter_or_order_starts_at_the_first_page():
    review = Review(make_rows(), VOCAB, page_size=4)
    for act in (lambda: review.show(label="cat"), lambda: review.sort_by("loss")):
        review.go_to(2)
        assert review.page == 2
        act()
        assert review.page == 0


def test_the_page_stands_still_while_marks_are_made():
    review = Review(make_rows(), VOCAB, page_size=4)
    review.show(marked=False)
    review.go_to(1)
    before = review.page_rows()
    review.mark(before[0].name, "unsure")
    assert review.page_rows() == before
    review.show(marked=False)
    assert before[0] not in [review.rows[n] for n in review.order]
    review.show(marked=True)
    assert [review.rows[n] for n in review.order] == [before[0]]


@pytest.mark.parametrize(("n", "page_size", "pages"), [(0, 12, 1), (1, 12, 1), (12, 12, 1), (13, 12, 2), (30, 1, 30)])
def test_the_pages_together_are_all_rows_in_order(n, page_size, pages):
    review = Review(make_rows(n), VOCAB, page_size=page_size)
    assert review.pages == pages
    seen = []
    for page in range(pages):
        review.go_to(page)
        assert len(review.page_rows()) <= page_size
        seen += review.page_rows()
    assert seen == list(review.rows)
    review.go_to(10**9)
    assert review.page == pages - 1
    review.go_to(-3)
    assert review.page == 0


def test_turning_pages_neither_filters_nor_sorts_again():
    review = Review(make_rows(), VOCAB)
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
        call(Review(make_rows(), VOCAB))
    assert sentence in str(caught.value)


# --- marking ----------------------------------------------------------------------------------------------


def test_marks_survive_filters_pages_and_restarts(tmp_path):
    file = tmp_path / "marks.csv"
    review = Review(make_rows(), VOCAB, save_to=file)
    review.relabel("valid/001.png", "dog")
    review.mark("test/002.png", "remove")
    review.show(part="train")
    review.sort_by("name", reverse=True)
    review.go_to(1)
    expected = {"valid/001.png": Mark("relabel", "cat", "dog"), "test/002.png": Mark("remove", "dog")}
    assert review.marks == expected
    assert Review(make_rows(), VOCAB, save_to=file).marks == expected
    assert file.read_text() == (
        '"name","old_label","mark","new_label"\n"test/002.png","dog","remove",""\n"valid/001.png","cat","relabel","dog"\n'
    )


def test_the_same_marks_make_the_same_file_in_any_order(tmp_path):
    names = [row.name for row in make_rows()][:6]
    for folder, order in (("a", names), ("b", names[::-1])):
        review = Review(make_rows(), VOCAB, save_to=tmp_path / folder / "marks.csv")
        for name in order:
            review.mark(name, "unsure")
    assert (tmp_path / "a/marks.csv").read_bytes() == (tmp_path / "b/marks.csv").read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["marks.csv"]  # no temporary file is left


def test_the_label_it_has_already_counts_as_right():
    review = Review(make_rows(), VOCAB)
    review.relabel("valid/001.png", "cat")
    assert review.mark_of("valid/001.png") == Mark("right", "cat")


def test_undo_and_redo_walk_through_every_mark(tmp_path):
    file = tmp_path / "marks.csv"
    review = Review(make_rows(), VOCAB, save_to=file)
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
        assert review.undo()
        assert review.marks == state == read_marks(file)
    assert review.undo() == "" and not review.can_undo
    for state in states[1:]:
        assert review.redo()
        assert review.marks == state == read_marks(file)
    assert review.redo() == ""
    review.undo()
    review.mark("train/000.png", "unsure")
    assert not review.can_redo


def test_marks_about_files_that_are_gone_are_kept_and_reported(tmp_path):
    file = tmp_path / "marks.csv"
    Review(make_rows(), VOCAB, save_to=file).mark("valid/001.png", "remove")
    fewer = [row for row in make_rows() if row.name != "valid/001.png"]
    review = Review(fewer, VOCAB, save_to=file)
    assert review.elsewhere() == ("valid/001.png",)
    assert "1 mark kept for pictures that are not here: valid/001.png." in review.report()
    review.mark("test/002.png", "unsure")
    assert set(read_marks(file)) == {"valid/001.png", "test/002.png"}


def test_a_mark_made_when_the_label_was_another_is_reported(tmp_path):
    file = tmp_path / "marks.csv"
    write_marks(file, {"valid/001.png": Mark("right", "dog"), "valid/004.png": Mark("relabel", "dog", "cat")})
    report = Review(make_rows(), VOCAB, save_to=file).report()  # both are cats now; the second was carried out
    assert "1 mark made when the label was another: valid/001.png." in report
    assert Review((), VOCAB).report() == "No marks."


def test_two_reviews_share_a_file_and_neither_loses_the_others_marks(tmp_path):
    file = tmp_path / "marks.csv"
    first, second = (Review(make_rows(), VOCAB, save_to=file) for _ in range(2))
    first.mark("train/000.png", "unsure")
    second.mark("valid/001.png", "remove")
    first.mark("test/002.png", "right")
    assert set(first.marks) == set(read_marks(file)) == {"train/000.png", "valid/001.png", "test/002.png"}
    second.undo()
    assert set(read_marks(file)) == {"train/000.png", "test/002.png"}


def test_what_cannot_be_saved_stays_in_memory_and_is_saved_later(tmp_path):
    blocked = tmp_path / "folder"
    blocked.write_text("a file where the folder should be")
    review = Review(make_rows(), VOCAB, save_to=blocked / "marks.csv")
    review.mark("train/000.png", "unsure")
    assert "NOT saved" in review.problem and "folder" in review.problem
    assert set(review.marks) == {"train/000.png"}
    blocked.unlink()
    review.mark("valid/001.png", "remove")
    assert review.problem == ""
    assert set(read_marks(blocked / "marks.csv")) == {"train/000.png", "valid/001.png"}


def test_every_mark_made_while_the_file_was_broken_is_saved_later(tmp_path):
    file = tmp_path / "marks.csv"
    review = Review(make_rows(), VOCAB, save_to=file)
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
    review = Review(make_rows(), VOCAB, save_to=file)
    review.mark("train/000.png", "unsure")
    file.unlink()
    review.mark("valid/001.png", "remove")
    assert set(read_marks(file)) == {"train/000.png", "valid/001.png"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("name;label\na;b\n", "is not a file of marks: it should start with name,old_label,mark,new_label"),
        ("", "is not a file of marks"),
        ("name,old_label,mark,new_label\na,cat,removed,\n", "entry 1: ['a', 'cat', 'removed', ''] is not a mark"),
        ("name,old_label,mark,new_label\na,cat,relabel,\n", "entry 1"),
        ("name,old_label,mark,new_label\na,cat,right,\na,cat\n", "entry 2"),
        ('name,old_label,mark,new_label\n"a,cat,right,\n', "cannot be read as a table"),
    ],
)
def test_a_file_of_another_kind_is_refused_and_never_written_over(tmp_path, content, sentence):
    file = tmp_path / "marks.csv"
    file.write_text(content)
    with pytest.raises(ValueError) as caught:
        Review(make_rows(), VOCAB, save_to=file)
    assert sentence in str(caught.value) and str(file) in str(caught.value)
    file.unlink()
    review = Review(make_rows(), VOCAB, save_to=file)
    file.write_text(content)
    review.mark("train/000.png", "unsure")
    assert "NOT saved" in review.problem
    assert file.read_text() == content


def test_a_spreadsheet_may_have_saved_the_file(tmp_path):
    file = tmp_path / "marks.csv"
    file.write_bytes(b"\xef\xbb\xbfname,old_label,mark,new_label\r\na.png,cat,unsure,\r\n")
    assert read_marks(file) == {"a.png": Mark("unsure", "cat")}


names = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1) | st.sampled_from(
    ["a\rb", "a\nb", 'a"b', "a,b", "'", "=1+1", "\ufeff", "a\udcffb", " ", "<img src=x onerror=alert(1)>"]
)
labels = st.none() | names


@settings(deadline=None)
@given(st.dictionaries(names, st.tuples(st.sampled_from(KINDS), labels, names)))
def test_any_name_and_label_comes_back_from_the_file(entries):
    marks = {name: Mark(k, old, new if k == "relabel" else None) for name, (k, old, new) in entries.items()}
    with tempfile.TemporaryDirectory() as folder:
        write_marks(Path(folder, "marks.csv"), marks)
        assert read_marks(Path(folder, "marks.csv")) == marks


# --- using the marks --------------------------------------------------------------------------------------


def make_files(folder, n=6):
    for i in range(n):
        (folder / f"{i}.png").write_bytes(bytes([i]) * 10)
    return tuple(Item(f"{i}.png", folder / f"{i}.png", VOCAB[i % 2]) for i in range(n))


def hashes(folder):
    return Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir())


def test_apply_gives_new_items_and_touches_no_file(tmp_path):
    items = make_files(tmp_path)
    before = hashes(tmp_path)
    review = Review(rows_from_items(items))
    assert review.classes == VOCAB
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
    review = Review(rows_from_items(data.items))
    train, judges = data.split.train, data.split.valid
    review.mark(train[0], "remove")
    review.mark(judges[0], "remove")
    review.relabel(train[1], "light")
    corrected = data.with_items(review.apply(data.items))
    assert corrected.split.train == train[1:] and corrected.split.valid == judges[1:]
    assert corrected.items[corrected.index_of(train[1])].label == "light"
    learn.set_data(corrected)
    learn.fit_one_cycle(1, 1e-2)
    assert [item.name for item in learn.get_preds("valid").items] == list(judges[1:])


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
    (tmp_path / "notes.csv").write_text("my notes\n")
    with pytest.raises(FileExistsError, match="export to another name"):
        review.export(tmp_path / "notes.csv")
    assert (tmp_path / "notes.csv").read_text() == "my notes\n"


class AnyReview(RuleBasedStateMachine):
    """Whatever a person does in any order, the marks are those of a plain dictionary and no file changes."""

    @initialize()
    def start(self):
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        (root / "pictures").mkdir()
        self.pictures, self.file = root / "pictures", root / "marks.csv"
        self.items = make_files(self.pictures, 9)
        self.before = hashes(self.pictures)
        self.here = self.items
        self.expected, self.done, self.undone = {}, [], []
        self.restart()

    @rule()
    def restart(self):
        self.review = Review(rows_from_items(self.here), VOCAB, save_to=self.file, page_size=2)
        self.done, self.undone = [], []

    @rule(gone=st.sets(st.integers(0, 8), max_size=4))
    def files_come_and_go(self, gone):
        self.here = tuple(item for i, item in enumerate(self.items) if i not in gone)
        self.restart()

    def change(self, name, mark):
        if self.expected.get(name) != mark:
            self.done.append(dict(self.expected))
            self.undone = []
            self.expected = {**self.expected, name: mark} if mark else self.without(name)

    def without(self, name):
        return {other: mark for other, mark in self.expected.items() if other != name}

    @rule(place=st.integers(0, 8), label=st.sampled_from(VOCAB))
    def relabel(self, place, label):
        item = self.here[place % len(self.here)]
        self.review.relabel(item.name, label)
        self.change(item.name, Mark("right", label) if label == item.label else Mark("relabel", item.label, label))

    @rule(place=st.integers(0, 8), kind=st.sampled_from(KINDS[1:]))
    def mark(self, place, kind):
        item = self.here[place % len(self.here)]
        self.review.mark(item.name, kind)
        self.change(item.name, Mark(kind, item.label))

    @rule(place=st.integers(0, 8))
    def clear(self, place):
        item = self.here[place % len(self.here)]
        self.review.clear(item.name)
        self.change(item.name, None)

    @rule()
    def undo(self):
        assert bool(self.review.undo()) == bool(self.done)
        if self.done:
            self.undone.append(self.expected)
            self.expected = self.done.pop()

    @rule()
    def redo(self):
        assert bool(self.review.redo()) == bool(self.undone)
        if self.undone:
            self.done.append(self.expected)
            self.expected = self.undone.pop()

    @rule(label=st.none() | st.sampled_from(VOCAB), marked=st.none() | st.booleans(), key=st.sampled_from(list(SORTS)))
    def filter_and_sort(self, label, marked, key):
        self.review.show(label=label, marked=marked)
        self.review.sort_by(key)
        shown = {self.review.rows[n].name for n in self.review.order}
        assert shown == {
            item.name
            for item in self.here
            if label in (None, item.label) and marked in (None, item.name in self.expected)
        }

    @rule(page=st.integers(-2, 9))
    def turn(self, page):
        self.review.go_to(page)
        assert 0 <= self.review.page < self.review.pages

    @precondition(lambda self: len(self.items) > len(self.here))
    @rule()
    def marks_of_absent_files_are_reported(self):
        here = {item.name for item in self.here}
        assert self.review.elsewhere() == tuple(sorted(set(self.expected) - here))

    @rule()
    def export(self):
        table = self.review.export(Path(self.folder.name) / "labels.csv")
        if any(self.expected.get(item.name, Mark("right", "")).kind != "remove" for item in self.here):
            assert label_by_table(table, folder=self.pictures) == self.review.apply(self.here)

    @invariant()
    def nothing_is_lost(self):
        assert self.review.problem == ""
        assert self.review.marks == self.expected
        assert (read_marks(self.file) if self.file.exists() else {}) == self.expected
        assert hashes(self.pictures) == self.before
        applied = {item.name: item.label for item in self.review.apply(self.items)}
        for item in self.items:
            mark = self.expected.get(item.name)
            new = mark.new_label if mark and mark.kind == "relabel" else item.label
            assert applied.get(item.name) == (None if mark and mark.kind == "remove" else new)

    def teardown(self):
        self.folder.cleanup()


AnyReview.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyReview = AnyReview.TestCase
