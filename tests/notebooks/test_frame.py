"""The frame that every lesson has, whoever wrote it: what stands where, what an exercise brings with it, and what would
not hold on somebody else's machine. `test_stored` holds the form of cells and outputs, `test_quiz` the quizzes."""

import ast
import html
import itertools
import math
import re
import shlex

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.notebooks.rewriting import NOT_YET
from tests.notebooks.test_stored import MAX_CELL_LINES, label, stored, texts
from tools.learner_copies import is_solution
from tools.notebook_files import NOTEBOOKS, ROOT, code_cells, headings, minutes, normalise, tags

BEFORE = ["What you will be able to do", "Before you start"]
AFTER = ["Check yourself", "Key points", "If something went wrong", "Next"]
GRADES = [r"read", r"change|predict|compare|measure", r"build|write"]  # of the first, a middle and the last exercise
PAGE_LETTERS = 110  # in a line of prose as a browser shows it
CODE_LETTERS = 88  # in a line of code: more is cut off on the slides
IMPORT_LINES = 6
MAPS = ("helpers", "helpers.lessons", "data_setup")
EPOCH = re.compile(r"\s*\d+(\s+(-?\d+\.\d{4}|nan|inf))+\s+\d+\.\ds\s*")
GUESS = re.compile(r"\b(guess|predict|before you run)\b", flags=re.IGNORECASE)

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


def part(notebook, heading: str) -> list:
    """The cells below a heading of level 2; in a cell that holds several, only the text of its own."""
    found, inside = [], False
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            found += [cell] * inside
            continue
        own = []
        for line in cell.source.splitlines():
            if re.match(r"## ", line):
                inside = line[3:].strip() == heading
            elif inside:
                own.append(line)
        if "\n".join(own).strip():
            found.append(new_markdown_cell("\n".join(own).strip(), metadata=cell.metadata))
    return found


def prose(cells) -> str:
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def points(text: str) -> list[str]:
    """The items of its lists and the rows of its tables; in a text without any, its sentences."""
    items = re.findall(r"^[-*] .+$", text, flags=re.MULTILINE)
    items += re.findall(r"^\|(?!\s*:?-).+$", text, flags=re.MULTILINE)[1:]  # without the header row
    return items or re.findall(r"[^.!?]+[.!?](?=\s|$)", text)


def exercises(notebook) -> list[tuple[str, list]]:
    """(heading, cells) of each exercise, in order."""
    found: list[tuple[str, list]] = []
    for cell in part(notebook, "Check yourself"):
        pieces = re.split(r"^### ", cell.source, flags=re.MULTILINE) if cell.cell_type == "markdown" else [None]
        for at, piece in enumerate(pieces):
            if at > 0:
                title, _, text = piece.partition("\n")
                found.append((title.strip(), [new_markdown_cell(text)]))
            elif found:
                kept = cell if piece is None else new_markdown_cell(piece, metadata=cell.metadata)
                found[-1][1].append(kept)
    return [(title, cells) for title, cells in found if title.startswith("Exercise")]


# --- the rules: each returns what is wrong, [] when nothing is --------------------------------------------------------


def has_all_parts_in_order(notebook):
    second = [text for level, text in headings(notebook.cells) if level == 2]
    numbered = [text for text in second if re.match(r"\d+\. \S", text)]
    wanted = BEFORE + numbered + AFTER
    wrong = [] if second == wanted else [f"the parts are {second}"]
    numbers = [int(text.partition(".")[0]) for text in numbered]
    if len(numbers) < 3 or numbers != list(range(1, len(numbers) + 1)):
        wrong.append(f"the sections are numbered {numbers}")
    return wrong


def says_what_you_will_be_able_to_do_and_for_how_long(notebook):
    goals = points(prose(part(notebook, BEFORE[0])))
    wrong = [] if len(goals) >= 3 else [f"{len(goals)} objectives"]
    try:
        teaching, practice = minutes(notebook)
    except ValueError as error:
        return [*wrong, str(error)]
    fine = 10 <= teaching <= 60 and 10 <= practice <= 60
    return wrong if fine else [*wrong, f"{teaching} and {practice} minutes cannot be meant"]


def names_what_the_computer_needs(notebook):
    said = prose(part(notebook, BEFORE[0]))
    return [] if re.search(r"the computer needs .+ on two quiet\s+cores", said) else ["no word on the computer's time"]


def says_what_to_bring(notebook):
    words = prose(part(notebook, BEFORE[1])).split()
    return [] if len(words) >= 8 else [f"{len(words)} words under {BEFORE[1]!r}"]


def asks_for_a_guess_before_a_run(notebook):
    pairs = zip(notebook.cells, notebook.cells[1:], strict=False)
    asked = [
        a
        for a, b in pairs
        if a.cell_type == "markdown" and "?" in a.source and GUESS.search(a.source) and b.cell_type == "code"
    ]
    return [] if asked else ["no cell asks for a guess that the next cell answers"]


def has_three_graded_exercises(notebook):
    titles = [title for title, _ in exercises(notebook)]
    named = [re.match(rf"Exercise {number}( \([\w ]+\))?: \S", title) for number, title in enumerate(titles, start=1)]
    if len(titles) < 3 or not all(named):
        return [f"the exercises' headings ('### Exercise 1 (read): ...') are {titles}"]
    first, *middle, last = (title.lower() for title in titles)
    graded = [first, " ".join(middle), last]
    return [
        f"no exercise of the kind {grade!r} there: {title!r}"
        for grade, title in zip(GRADES, graded, strict=True)
        if not re.search(rf"\b({grade})", title)
    ]


def gives_three_hints_an_exercise(notebook):
    wrong = []
    for title, cells in exercises(notebook):
        hints = re.findall(r"<details>\s*<summary>(.*?)</summary>\s*(\S.*?)</details>", prose(cells), flags=re.DOTALL)
        if [name for name, _ in hints] != ["Hint 1", "Hint 2", "Hint 3"]:
            wrong.append(f"{title}: the folded hints are {[name for name, _ in hints]}")
    return wrong


def checks_each_exercise(notebook):
    number = next((text.partition(" ")[0] for level, text in headings(notebook.cells) if level == 1), "")
    wrong = []
    for at, (title, cells) in enumerate(exercises(notebook), start=1):
        calls = [cell for cell in cells if cell.cell_type == "code" and f"check_{number}_{at}(" in cell.source]
        if not calls or any(is_solution(cell) for cell in calls):
            wrong.append(f"{title}: no cell that stays in the learner's copy calls check_{number}_{at}(...)")
    return wrong


def solves_each_exercise_and_says_why(notebook):
    wrong = []
    for title, cells in exercises(notebook):
        if not any(cell.cell_type == "code" and is_solution(cell) for cell in cells):
            wrong.append(f"{title}: no solution")
        reasons = [cell.source for cell in cells if cell.cell_type == "markdown" and "solution" in tags(cell)]
        if len(" ".join(reasons).split()) < 10:
            wrong.append(f"{title}: no reasoning (a text cell tagged solution)")
    return wrong


def sums_up_and_helps(notebook):
    few = {"Key points": 3, "If something went wrong": 3}
    counts = {name: len(points(prose(part(notebook, name)))) for name in few}
    return [f"{name}: {counts[name]}" for name in few if counts[name] < few[name]]


def ends_with_what_comes_next(notebook):
    words = prose(part(notebook, "Next")).split()
    return [] if len(words) >= 8 else [f"{len(words)} words under 'Next'"]


def prints_its_headline_at_the_end(notebook):
    *_, last = [cell for cell in code_cells(notebook) if "solution" not in tags(cell)] or [new_code_cell("")]
    printed = "".join(output.get("text", "") for output in last.outputs)
    return [] if re.search(r"^headline: \S", printed, flags=re.MULTILINE) else [label(last)]


def fits_on_a_screen_as_shown(notebook):
    wrong = []
    for cell in notebook.cells:
        width = PAGE_LETTERS if cell.cell_type == "markdown" else 10**6  # code is not wrapped
        text = re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL)  # folded
        lines = sum(max(1, math.ceil(len(line) / width)) for line in text.splitlines())
        if lines > MAX_CELL_LINES:
            wrong.append(f"{label(cell)}: {lines} lines")
    return wrong


def names_the_encoding_of_texts(notebook):
    """Without it a file with an accent in it is read otherwise on Windows."""
    wrong = []
    for cell in code_cells(notebook):
        for call in ast.walk(parsed(cell)):
            if isinstance(call, ast.Call) and _opens_a_text(call):
                wrong.append(f"{label(cell)}: {ast.unparse(call)[:60]}")
    return wrong


def _opens_a_text(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    given = [ast.unparse(value) for value in [*call.args, *(word.value for word in call.keywords)]]
    binary = any(re.fullmatch(r"'[rwax]?b[rwax+]?'", text) for text in given)
    says = any(word.arg == "encoding" for word in call.keywords) or "'utf-8'" in given
    return name in ("open", "read_text", "write_text") and owner != "Image" and not (binary or says)


def needs_no_graphics_card(notebook):
    return [
        label(cell) for cell in code_cells(notebook) if re.search(r"\.cuda\(|[\"'](cuda|mps)(:\d)?[\"']", cell.source)
    ]


def starts_no_process_of_its_own(notebook):
    wrong = r"\b(os\.fork|set_start_method|multiprocessing|num_workers\s*=\s*[1-9]|/dev/|symlink_to)\b"
    return [label(cell) for cell in code_cells(notebook) if re.search(wrong, cell.source)]


def outputs_lines(cell) -> list[str]:
    return [line for output in cell.get("outputs", []) for text in texts(output) for line in text.splitlines()]


def shows_results_instead_of_verdicts(notebook):
    return [
        f"{label(cell)}: {line}"
        for cell in code_cells(notebook)
        for line in outputs_lines(cell)
        if re.search(r":\s*(True|False|yes|no)\W*$", line, flags=re.IGNORECASE)
    ]


def marks_measured_numbers(notebook):
    """Four decimals outside an epoch table are somebody's measurement: rounded for a reader, and marked as such."""
    return [
        f"{label(cell)}: {line}"
        for cell in code_cells(notebook)
        for line in outputs_lines(cell)
        if re.search(r"\b\d+\.\d{4}\b(?!/)", line) and "≈" not in line and not EPOCH.fullmatch(line)
    ]


def has_short_lines_of_code(notebook):
    return [
        f"{label(cell)}: {len(line)} letters"
        for cell in code_cells(notebook)
        for line in cell.source.splitlines()
        if len(line) > CODE_LETTERS
    ]


def imports_little_and_through_the_maps(notebook):
    """From the package only what `helpers` and `helpers.lessons` list, in a few lines."""
    lines, wrong = 0, []
    for cell in code_cells(notebook):
        for node in ast.walk(parsed(cell)):
            modules = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else modules
            ours = [module for module in modules if module.partition(".")[0] in MAPS]
            wrong += [f"{label(cell)}: {module}" for module in ours if module not in MAPS]
            lines += node.end_lineno - node.lineno + 1 if ours else 0
    return wrong + ([f"{lines} lines import from the package"] if lines > IMPORT_LINES else [])


def parsed(cell) -> ast.Module:
    return ast.parse(re.sub(r"^\s*[%!].*$|\?+$", "", cell.source, flags=re.MULTILINE))


def keeps_the_code_out_of_its_hints(notebook):
    """A hint may name a function; a line of the solution, or what one assigns, it may not."""
    wrong = []
    for title, cells in exercises(notebook):
        solved = {code for cell in cells if cell.cell_type == "code" and is_solution(cell) for code in answers(cell)}
        for hint in re.findall(r"<summary>Hint \d</summary>(.*?)</details>", prose(cells), flags=re.DOTALL):
            shown = re.findall(r"<(?:code|pre)>(.*?)</(?:code|pre)>|`+([^`]+)`+", hint, flags=re.DOTALL)
            snippets = [bare(html.unescape(tagged or ticked)) for tagged, ticked in shown]
            wrong += [f"{title}: {snippet}" for snippet in snippets if snippet in solved]
    return wrong


def answers(cell) -> set[str]:
    """The lines of a solution and their right-hand sides, without blanks; a bare name or number is no answer."""
    _, _, solution = cell.source.rpartition("# solution\n")
    lines = [line for line in solution.splitlines() if not line.lstrip().startswith("#")]
    sides = [re.sub(r"^\s*(?:return\b|[\w, .\[\]]+=(?!=))", "", line) for line in lines]
    return {bare(code) for code in [*lines, *sides]} - {
        bare(code) for code in sides if re.fullmatch(r"\s*[\w.]*\s*", code)
    }


def bare(code: str) -> str:
    return re.sub(r"\s", "", code)


NEWEST = [
    shows_results_instead_of_verdicts,
    marks_measured_numbers,
    has_short_lines_of_code,
    imports_little_and_through_the_maps,
    keeps_the_code_out_of_its_hints,
]
RULES = [
    *NEWEST,
    has_all_parts_in_order,
    says_what_you_will_be_able_to_do_and_for_how_long,
    names_what_the_computer_needs,
    says_what_to_bring,
    asks_for_a_guess_before_a_run,
    has_three_graded_exercises,
    gives_three_hints_an_exercise,
    checks_each_exercise,
    solves_each_exercise_and_says_why,
    sums_up_and_helps,
    ends_with_what_comes_next,
    prints_its_headline_at_the_end,
    fits_on_a_screen_as_shown,
    names_the_encoding_of_texts,
    needs_no_graphics_card,
    starts_no_process_of_its_own,
]


# --- held by every notebook -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_lesson_has_the_frame(path, rule):
    if rule in NEWEST and path.stem in NOT_YET:
        pytest.skip("this lesson is being rewritten")
    assert rule(stored(path)) == []


def test_lessons_are_numbered_without_a_gap_and_titled_with_their_number():
    """A lesson put between two others has a letter: 01, 01b, 02."""
    numbers = [path.name.partition("_")[0] for path in PATHS]
    plain = [number for number in numbers if number.isdigit()]
    assert plain == [f"{number:02}" for number in range(len(plain))]
    between = [(before, number) for before, number in itertools.pairwise(numbers) if not number.isdigit()]
    assert all(number == f"{before}b" for before, number in between)
    titles = [next(headings(stored(path).cells))[1] for path in PATHS]
    assert [title.partition(" ")[0] for title in titles] == numbers


def test_each_lesson_leads_to_the_next():
    for path, following in zip(PATHS, PATHS[1:], strict=False):
        if path.stem in NOT_YET:
            continue
        assert f"({following.name})" in prose(part(stored(path), "Next")), path.stem


def test_all_stored_outputs_are_compared_strictly_and_no_cell_may_hang():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    command = next(shlex.split(line) for line in makefile.splitlines() if "pytest --nbval" in line)
    assert "--nbval" in command and "--nbval-lax" not in command and "--nbval-sanitize-with" not in command
    assert command[command.index("-p") + 1] == "tests.notebooks.tolerance"
    assert command[-1].rstrip(")") == "notebooks/*.ipynb"
    assert 0 < int(command[command.index("--nbval-cell-timeout") + 1]) <= 600


# --- the rules bite ---------------------------------------------------------------------------------------------------

EXERCISE = """### Exercise {n} ({grade}): one

Which one?

<details><summary>Hint 1</summary>The idea.</details>
<details><summary>Hint 2</summary>The line.</details>
<details><summary>Hint 3</summary>Use <code>The(code)</code>.</details>"""

WHY = "Because it is so, and not otherwise, as the figure shows."
WRONG = "| you see | do |\n|---|---|\n| a | b |\n| c | d |\n| e | f |"


def good_lesson():
    """A notebook with everything, as cells that the tests below take away or change one at a time."""
    cells = [
        new_markdown_cell("# 03 A lesson"),
        new_markdown_cell(
            "## What you will be able to do\n\n- see\n- build\n- decide\n\nTeaching 25 minutes, exercises 15; "
            "the computer needs a minute on two quiet cores."
        ),
        new_markdown_cell("## Before you start\n\nYou have been through the two lessons before this one."),
        *[new_markdown_cell(f"## {n}. Part\n\nGuess first: how many?") for n in (1, 2, 3)],
        new_code_cell("show(data)"),
        new_markdown_cell("## Check yourself\n\nThree exercises."),
    ]
    for n, grade in enumerate(["read", "change", "build"], start=1):
        cells += [
            new_markdown_cell(EXERCISE.format(n=n, grade=grade)),
            new_code_cell(f"answer = None\n# solution\nanswer = {n}"),
            new_code_cell(f"check_03_{n}(answer)"),
            new_markdown_cell(
                "Because it is so, and not otherwise, as the figure shows.", metadata={"tags": ["solution"]}
            ),
        ]
    printed = new_output("stream", name="stdout", text="headline: 84 % of 656\n")
    return new_notebook(
        cells=[
            *cells,
            new_markdown_cell("## Key points\n\nOne. Two. Three."),
            new_markdown_cell(
                "## If something went wrong\n\n| you see | do |\n|---|---|\n| a | b |\n| c | d |\n| e | f |"
            ),
            new_code_cell("print('headline: 84 % of 656')", outputs=[printed]),
            new_markdown_cell("## Next\n\nIn the next lesson the network sees larger pictures, at last."),
        ]
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_lesson_breaks_no_rule(rule):
    assert rule(good_lesson()) == []
    assert rule(normalise(good_lesson())) == []


BREAKS = [
    (has_all_parts_in_order, "## Before you start", "## Prerequisites"),
    (has_all_parts_in_order, "## 2. Part", "## 4. Part"),
    (has_all_parts_in_order, "## Key points", "### Key points"),
    (says_what_you_will_be_able_to_do_and_for_how_long, "- decide\n", ""),
    (says_what_you_will_be_able_to_do_and_for_how_long, "Teaching 25 minutes, exercises 15", "About an hour"),
    (says_what_you_will_be_able_to_do_and_for_how_long, "exercises 15", "exercises 150"),
    (names_what_the_computer_needs, "the computer needs a minute", "it is quick"),
    (says_what_to_bring, "You have been through the two lessons before this one.", "Nothing."),
    (asks_for_a_guess_before_a_run, "Guess first: how many?", "Look."),
    (asks_for_a_guess_before_a_run, "how many?", "think of a number."),
    (has_three_graded_exercises, "### Exercise 3 (build): one", "### 3. Build it"),
    (has_three_graded_exercises, "### Exercise 2 (change): one", "### Exercise 2 (read): one"),
    (has_three_graded_exercises, "### Exercise 3 (build): one", "### Exercise 4 (build): one"),
    (gives_three_hints_an_exercise, "Hint 2</summary>The line.</details>", "Hint 2</summary></details>"),
    (gives_three_hints_an_exercise, "<details><summary>Hint 3</summary>Use <code>The(code)</code>.</details>", ""),
    (checks_each_exercise, "check_03_2(answer)", "check_03_1(answer)"),
    (checks_each_exercise, "check_03_2(answer)", "# solution\ncheck_03_2(answer)"),
    (solves_each_exercise_and_says_why, "# solution\nanswer = 2", "answer = 2"),
    (solves_each_exercise_and_says_why, WHY, "It is."),
    (sums_up_and_helps, "One. Two. Three.", "One."),
    (sums_up_and_helps, "| e | f |", ""),
    (ends_with_what_comes_next, "In the next lesson the network sees larger pictures, at last.", "Rest."),
    (prints_its_headline_at_the_end, "headline: 84 % of 656\n", "84 % of 656\n"),
    (fits_on_a_screen_as_shown, "Three exercises.", "word " * 1000),
    (names_the_encoding_of_texts, "show(data)", "path.open(newline='')"),
    (names_the_encoding_of_texts, "show(data)", "path.read_text()"),
    (needs_no_graphics_card, "show(data)", "model.to('cuda')"),
    (starts_no_process_of_its_own, "show(data)", "DataLoader(data, num_workers=2)"),
    (shows_results_instead_of_verdicts, "headline: 84 % of 656\n", "headline: x\nthe same: True\n"),
    (shows_results_instead_of_verdicts, "headline: 84 % of 656\n", "headline: x\nthe same: yes.\n"),
    (marks_measured_numbers, "headline: 84 % of 656\n", "headline: 0.8412 of 656\n"),
    (has_short_lines_of_code, "show(data)", f"show({'d' * 83})"),
    (imports_little_and_through_the_maps, "show(data)", "from data_setup.items import find_images"),
    (imports_little_and_through_the_maps, "show(data)", "import helpers.learner"),
    (
        imports_little_and_through_the_maps,
        "show(data)",
        "from helpers import (\n    a,\n    b,\n    c,\n    d,\n    e,\n)",
    ),
    (
        keeps_the_code_out_of_its_hints,
        "Use <code>The(code)</code>.</details>",
        "Type <code>answer = 2</code>.</details>",
    ),
    (keeps_the_code_out_of_its_hints, "answer = 2", "answer = The(code)"),
]


@pytest.mark.parametrize(("rule", "old", "new"), BREAKS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_lesson_that_breaks_the_rule_is_reported(rule, old, new):
    lesson, found = good_lesson(), False
    for cell in lesson.cells:
        for holder, key in [(cell, "source"), *((output, "text") for output in cell.get("outputs", []))]:
            found |= old in holder[key]
            holder[key] = holder[key].replace(old, new)
    assert found, "this example no longer changes anything"
    assert rule(lesson) != []


def test_what_a_hint_and_an_output_may_hold():
    lesson = good_lesson()
    for cell in lesson.cells:
        cell.source = cell.source.replace(
            "Use <code>The(code)</code>.", "Use <code>len</code>, `answer` or <code>range(3)</code>."
        )
        for output in cell.get("outputs", []):
            output.text += "accuracy ≈ 0.8412\n    0      0.8136      0.5635    0.7927    0.6s\nanswer: none\n"
    assert [rule.__name__ for rule in NEWEST if rule(lesson)] == []


@pytest.mark.parametrize(
    "call", ["path.open('rb')", "Image.open(path)", "open(path, encoding='utf-8')", "path.write_bytes(b'')"]
)
def test_files_that_are_no_texts_need_no_encoding(call):
    assert names_the_encoding_of_texts(new_notebook(cells=[new_code_cell(call)])) == []
