"""Two people, one file of marks, and everything that can happen to it: no mark is ever lost."""

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from data_setup.own.labels import label_by_table
from helpers.review.mark_file import KINDS, Mark, read_marks, read_table
from helpers.review.rows import SORTS, Row
from helpers.review.session import Review
from tests.review.made import CLASSES, hashes, make_files

N = 9
PARTS = ("train", "valid", "train")
people = st.integers(0, 1)
some_places = st.sets(st.integers(0, N - 1), min_size=1, max_size=3)


class Person:
    """What we expect one of the two to know: marks as last seen, those not saved yet, and steps to take back."""

    def __init__(self, marks):
        self.marks, self.unsaved, self.done, self.undone = dict(marks), {}, [], []


class AnyReview(RuleBasedStateMachine):
    """Whatever two people do in any order, the marks are those of plain dictionaries, and no picture changes."""

    @initialize()
    def start(self):
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        (root / "pictures").mkdir()
        self.pictures, self.file = root / "pictures", root / "marks.csv"
        self.items = make_files(self.pictures, N)
        self.before = hashes(self.pictures)
        self.on_disk = None  # marks in the file; None: there is no file
        self.good = None  # its content, while something else stands in it
        self.here = self.items
        self.restart_all()

    # --- the world around -------------------------------------------------------------------------------

    def restart_all(self):
        self.people, self.reviews = [None, None], [None, None]
        for who in (0, 1):
            self.restart(who)

    def restart(self, who):
        rows = [Row(item.name, item.path, item.label, PARTS[int(item.path.stem) % 3]) for item in self.here]
        self.reviews[who] = Review(rows, CLASSES, save_to=self.file, page_size=2)
        self.people[who] = Person(self.on_disk or {})

    @precondition(lambda self: self.good is None)
    @rule(who=people)
    def a_person_starts_again(self, who):
        if not self.people[who].unsaved and (self.on_disk is not None or not self.people[who].marks):
            self.restart(who)

    @precondition(lambda self: self.good is None and not any(person.unsaved for person in self.people))
    @rule(gone=st.sets(st.integers(0, N - 1), max_size=4), swapped=st.sets(st.integers(0, N - 1), max_size=3))
    def pictures_come_and_go_and_change_labels(self, gone, swapped):
        if self.on_disk is None:
            return
        other = {"cat": "dog", "dog": "cat"}
        self.items = tuple(
            replace(item, label=other[item.label]) if place in swapped else item
            for place, item in enumerate(self.items)
        )
        self.here = tuple(item for place, item in enumerate(self.items) if place not in gone)
        self.restart_all()

    @precondition(lambda self: self.on_disk is not None and self.good is None)
    @rule()
    def the_file_vanishes(self):
        self.file.unlink()
        self.on_disk = None

    @precondition(lambda self: self.on_disk is not None and self.good is None)
    @rule()
    def an_editor_spoils_the_file(self):
        self.good = self.file.read_bytes()
        self.file.write_text("name;label\n")

    @precondition(lambda self: self.good is not None)
    @rule()
    def the_file_is_put_right(self):
        self.file.write_bytes(self.good)
        self.good = None

    # --- what a person does -----------------------------------------------------------------------------

    def names(self, places):
        return [self.here[place % len(self.here)].name for place in sorted(places)]

    def seen_by(self, who):
        """The person, who sees at once what the other one wrote."""
        person = self.people[who]
        if self.good is None and self.on_disk is not None:
            person.marks = changed(self.on_disk, person.unsaved)
        return person

    def label_of(self, name):
        return next(item.label for item in self.here if item.name == name)

    def change(self, who, names, new_mark):
        """The model of one write: start from the file as it is now, add what is not saved yet, then the change."""
        person = self.people[who]
        known = person.marks if self.on_disk is None or self.good is not None else self.on_disk
        marks = changed({**known}, person.unsaved)
        step = {name: (marks.get(name), new_mark(name, marks.get(name))) for name in dict.fromkeys(names)}
        step = {name: pair for name, pair in step.items() if pair[0] != pair[1]}
        new = {name: after for name, (_, after) in step.items()}
        person.marks = changed(marks, new)
        if self.good is None:
            self.on_disk, person.unsaved = dict(person.marks), {}
        else:
            person.unsaved.update(new)
        return step

    def mark_some(self, who, names, new_mark):
        if step := self.change(who, names, new_mark):
            self.people[who].done.append(step)
            self.people[who].undone = []

    @rule(who=people, places=some_places, label=st.sampled_from(CLASSES))
    def relabel(self, who, places, label):
        def new_mark(name, now):
            old, note = self.label_of(name), now.note if now else ""
            return Mark("right", old, None, note) if old == label else Mark("relabel", old, label, note)

        self.reviews[who].relabel(self.names(places), label)
        self.mark_some(who, self.names(places), new_mark)

    @rule(who=people, places=some_places, kind=st.sampled_from(KINDS[1:4]))
    def mark(self, who, places, kind):
        self.reviews[who].mark(self.names(places), kind)
        names = self.names(places)
        self.mark_some(who, names, lambda name, now: Mark(kind, self.label_of(name), None, now.note if now else ""))

    @rule(who=people, places=some_places, text=st.sampled_from(["", "why?", "ask Ada"]))
    def note(self, who, places, text):
        def new_mark(name, now):
            if not text and (now is None or now.kind == "note"):
                return None
            return replace(now or Mark("note", self.label_of(name)), note=text)

        self.reviews[who].note(self.names(places), text)
        self.mark_some(who, self.names(places), new_mark)

    @rule(who=people, places=some_places)
    def clear(self, who, places):
        self.reviews[who].clear(self.names(places))
        self.mark_some(who, self.names(places), lambda name, now: None)

    def take_back(self, who, call, source, target):
        names, left = call()
        if not source:
            assert (names, left) == ((), ())
            return
        step = source.pop()
        reverse = self.change(who, step, lambda name, now: step[name][0] if now == step[name][1] else now)
        assert set(names) == set(reverse) and set(left) == set(step) - set(reverse)
        if reverse:
            target.append(reverse)

    @rule(who=people)
    def undo(self, who):
        self.take_back(who, self.reviews[who].undo, self.people[who].done, self.people[who].undone)

    @rule(who=people)
    def redo(self, who):
        self.take_back(who, self.reviews[who].redo, self.people[who].undone, self.people[who].done)

    @rule(
        who=people,
        label=st.none() | st.sampled_from(CLASSES),
        mark=st.sampled_from([None, "any", "none", *KINDS]),
        key=st.sampled_from(list(SORTS)),
        page=st.integers(-2, 9),
    )
    def look(self, who, label, mark, key, page):
        review, marks = self.reviews[who], self.seen_by(who).marks
        review.show(label=label, mark=mark)
        review.sort_by(key)
        kinds = {item.name: marks[item.name].kind if item.name in marks else "none" for item in self.here}
        wanted = {None: {*KINDS, "none"}, "any": set(KINDS)}.get(mark, {mark})
        expected = {item.name for item in self.here if label in (None, item.label) and kinds[item.name] in wanted}
        assert {review.view[n].name for n in review.order} == expected
        review.go_to(page)
        assert 0 <= review.page < review.pages

    @rule(who=people, held_out=st.booleans())
    def export(self, who, held_out):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = self.reviews[who].export(Path(self.folder.name) / "labels.csv", held_out=held_out)
            left = self.reviews[who].apply(self.here, held_out=held_out)
        if len(read_table(table)) > 1:
            assert label_by_table(table, folder=self.pictures) == left

    # --- what is always so ------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost(self):
        if self.good is None:
            assert (read_marks(self.file) if self.file.exists() else None) == self.on_disk
        else:
            assert self.file.read_text() == "name;label\n"  # a file that is not ours is never written over
        for who, review in enumerate(self.reviews):
            person = self.seen_by(who)
            assert review.marks == person.marks
            assert bool(review.file.problem) >= bool(person.unsaved)  # whoever has unsaved marks was told so
        assert hashes(self.pictures) == self.before

    @invariant()
    def marks_are_carried_out_or_refused(self):
        for who, held_out in ((0, False), (1, True)):
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                applied = {item.name: item.label for item in self.reviews[who].apply(self.here, held_out=held_out)}
            refused = 0
            for item in self.here:
                mark = self.seen_by(who).marks.get(item.name)
                if mark is None or mark.kind not in ("relabel", "remove"):
                    assert applied[item.name] == item.label
                    continue
                stale = item.label not in ({mark.old_label, mark.new_label} - {None})
                may_not = stale or (PARTS[int(item.path.stem) % 3] == "valid" and not held_out)
                refused += may_not
                outcome = None if mark.kind == "remove" else mark.new_label
                assert applied.get(item.name) == (item.label if may_not else outcome)
            assert len(warned) == bool(refused)

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()


def changed(marks, changes):
    """A copy of `marks` with these set, or taken away where the change is None."""
    return {name: mark for name, mark in {**marks, **changes}.items() if mark is not None}


AnyReview.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyReview = AnyReview.TestCase
