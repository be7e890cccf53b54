"""One case of the ledger: what came of a fault, and whether the user's files are what they were."""

import hashlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OUTCOMES = ("right", "clear", "unhelpful", "silent", "lost")
MOST_LINES = 6  # of an error that somebody reads to the end


def tree(folder: Path) -> dict[str, str]:
    """What lies below a folder: relative name -> sha256 of the bytes; links by where they lead."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


class Case:
    """Collects the outcome: "silent" until `right` or `clear` has seen better."""

    def __init__(self):
        self.outcome = "silent"
        self._before: dict[Path, dict[str, str]] = {}

    def watch(self, folder: Path) -> Path:
        """From now on every file below `folder` must stay as it is."""
        self._before[folder] = tree(folder)
        return folder

    @contextmanager
    def right(self) -> Iterator[None]:
        """What the block asserts holds: the fault changes nothing that matters."""
        try:
            yield
        except AssertionError:
            self.outcome = "silent"
            raise
        except BaseException:
            self.outcome = "unhelpful"
            raise
        self.outcome = "right"

    @contextmanager
    def clear(self, *names: object, remedy: str) -> Iterator[None]:
        """The block ends in an error of at most six lines that has every one of `names`, and the remedy."""
        try:
            yield
        except Exception as error:
            self.outcome = "unhelpful"
            self.check_words(error, *names, remedy=remedy)
            self.outcome = "clear"
            return
        self.outcome = "silent"
        raise AssertionError(f"no error, though {', '.join(map(str, names))} is at fault")

    def check_words(self, error: Exception, *names: object, remedy: str) -> None:
        """Raise AssertionError unless the error is one for a person: whose, what to do, and short."""
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        missing = [word for word in (*map(str, names), remedy) if word not in text]
        lines = text.splitlines()
        kit = ("helpers", "data_setup")
        raised_by = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        assert not missing, f"{missing} is not in: {text}"
        assert len(lines) <= MOST_LINES, f"{len(lines)} lines: {text}"
        assert any(folder in raised_by.parts for folder in kit), f"{raised_by} had the last word: {text}"

    def check_printed(self, status: int, printed: str, *names: object, remedy: str) -> None:
        """Raise AssertionError unless a command failed with words for a person; the outcome is "clear" then."""
        missing = [word for word in (*map(str, names), remedy) if word not in printed]
        self.outcome = "unhelpful" if status else "silent"
        assert status, f"it ended as if nothing were wrong, and printed: {printed}"
        assert not missing, f"{missing} is not in: {printed}"
        assert len(printed.splitlines()) <= MOST_LINES and "Traceback" not in printed, printed
        self.outcome = "clear"

    def finish(self) -> None:
        """Raise AssertionError when a watched folder is not as it was."""
        for folder, before in self._before.items():
            after = tree(folder)
            changed = sorted(name for name in before | after if before.get(name) != after.get(name))
            if changed:
                self.outcome = "lost"
                raise AssertionError(f"changed below {folder}: {', '.join(changed[:5])}")
