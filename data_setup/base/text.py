"""Numbers and names in words, alike in sentences, figures and widgets."""

import math
import re
import unicodedata
from collections.abc import Sequence

BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they can reorder what is read
NOT_PRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, bad bytes, line and paragraph separators


def printable(value: object) -> str:
    """Text on one line that every terminal and browser can take: what cannot be shown, or reorders the rest, becomes
    U+FFFD."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in NOT_PRINTABLE or c in BIDI_CONTROLS else c
        for c in str(value)
    )


def one_line(text: object) -> str:
    """The text on one line; bytes of a file name that are no letters become "?"."""
    return " ".join(str(text).encode(errors="replace").decode().split())


def shorten(name: object, width: int) -> str:
    """The name on one line; a longer one than `width` loses its middle, so that endings stay readable."""
    name = one_line(name)
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}…{name[len(name) - tail :]}"


def two_lines(name: object, width: int) -> str:
    """The name on one line of `width`, or broken into two at "_", "-", "/" or a blank, else shortened."""
    name = shorten(name, 2 * width)
    places = [found.end() for found in re.finditer("[ _/-]", name)]
    places = [place for place in places if place <= width and len(name) - place <= width]
    if len(name) <= width or not places:
        return shorten(name, width)
    place = min(places, key=lambda place: abs(place - len(name) / 2))
    return f"{name[:place].rstrip()}\n{name[place:]}"


def number(value: float) -> str:
    """Two significant digits without padding: 0.00083, 1e-5, 12, 130."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    decimals = max(0, 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def listed(words: Sequence[object]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    words = [str(word) for word in words]
    if len(words) < 2:
        return words[0] if words else "nothing"
    return f"{', '.join(words[:-1])} and {words[-1]}"


def counted(count: int, noun: str) -> str:
    """'1 picture', '2 pictures', '1,000 classes'."""
    plural = noun + ("es" if noun.endswith(("s", "x", "tch")) else "s")
    return f"{count:,} {noun if count == 1 else plural}"
