"""One file over HTTP. A download that was cut goes on where it stopped, in this run or in a later one.

The bytes so far lie in the target file itself, and beside it, in `NAME.from`, which address they came from and the
validator (ETag or date) that the server gave with them. The whole file is compared with its published check by the
caller, so a wrong guess here costs time and never correctness.
"""

import email.utils
import json
import math
import time
from http.client import responses
from pathlib import Path

import requests
import urllib3

from data_setup.base.progress import progress

TIMEOUT_S = 30  # without a single byte
SLOWEST_BYTES_S, SLOW_S = 1024, 60  # slower than that for so long: the line is as good as dead
WAITS_S = (1, 3)  # before the second and the third try in a row that brought nothing
LONGEST_WAIT_S = 60  # a server that asks for more is not waited for
WORTH_TRYING = 1 << 18  # a try that brought so many bytes does not count as one in vain
CHUNK = 1 << 18

WEB_PAGE = "got a web page, not an archive: does this network want you to sign in?"


class Refused(ValueError):
    """Something that must not be used, or an answer that no second try can change; the message says why."""


class Cut(Exception):
    """A try that failed and may be repeated: after `wait_s` seconds, where the server asked for that."""

    def __init__(self, reason: str, wait_s: float = 0):
        super().__init__(reason)
        self.wait_s = wait_s


def bytes_so_far(target: Path) -> int:
    return target.stat().st_size if target.exists() else 0


def forget(target: Path) -> None:
    """Delete a download and what is known of where it came from."""
    target.unlink(missing_ok=True)
    _origin(target).unlink(missing_ok=True)


def _origin(target: Path) -> Path:
    return target.with_name(f"{target.name}.from")


def fetch(url: str, target: Path, expected_bytes: int) -> bool:
    """Download `url` to the file `target`, after the bytes it has; True when its bytes are of more than one answer.

    Tries again while the server is busy or the line is cut: without end as long as bytes come, else three times.
    Proxy variables are honoured. Raises Refused for an answer that cannot be the file or that is final (404), Cut
    when the tries are used up or the server asks for a longer wait; the bytes so far stay.
    """
    went_on, in_vain, furthest = True, 0, bytes_so_far(target)
    while bytes_so_far(target) != expected_bytes:
        try:
            went_on = _try(url, target, expected_bytes)
        except Cut as cut:
            reached = bytes_so_far(target)
            in_vain = 0 if reached >= furthest + WORTH_TRYING else in_vain + 1
            furthest = max(furthest, reached)
            if in_vain > len(WAITS_S) or cut.wait_s > LONGEST_WAIT_S:
                raise
            if cut.wait_s:
                print(f"{cut}: trying again then")
            time.sleep(max(WAITS_S[max(in_vain - 1, 0)], cut.wait_s))
    return went_on


def _try(url: str, target: Path, expected_bytes: int) -> bool:
    """One request, for the bytes that are missing; True when it went on after those there were."""
    have = bytes_so_far(target)
    if have > expected_bytes:
        forget(target)
        have = 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", **_if_still_the_same(target, url)}
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT_S, headers=headers) as response:
            start = _first_byte(response, target, have, expected_bytes)
            _receive(url, response, target, start, expected_bytes)
    except (requests.RequestException, urllib3.exceptions.HTTPError, UnicodeError) as error:
        raise _explained(error, target, expected_bytes) from error
    return start > 0


def _first_byte(response: requests.Response, target: Path, have: int, expected_bytes: int) -> int:
    """Where the body of this answer belongs in the file. Raises Refused or Cut when it does not belong there at all."""
    status = response.status_code
    said = f"the server answered {status} {responses.get(status, '')}".rstrip()
    if status == 416 and have:  # it does not have so many bytes: what is here is of another file
        forget(target)
        raise Cut(said)
    if status in (408, 429) or status >= 500:
        wait_s = _seconds_to_wait(response.headers.get("Retry-After"))
        raise Cut(said + (f" and asks to wait {wait_s:,.0f} s" if wait_s else ""), wait_s)
    if status not in (200, 206) or (status == 206 and not have):
        raise Refused(said)
    if "text/html" in response.headers.get("Content-Type", ""):
        raise Refused(WEB_PAGE)
    start = have if status == 206 else 0
    if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        forget(target)
        raise Cut(f"the server was asked for the bytes from {start:,} on and sent others")
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and start + int(length) != expected_bytes:
        raise Refused(f"the server offers {start + int(length):,} bytes instead of {expected_bytes:,}")
    return start


def _receive(url: str, response: requests.Response, target: Path, start: int, expected_bytes: int) -> None:
    """Write the body of the answer to `target` from byte `start` on; never more than expected."""

    def more() -> bytes:  # what has come, without waiting for the rest; a compressed body as it is
        return response.raw.read1(CHUNK) or b""

    data, at = more(), start
    if start == 0 and data.lstrip()[:1] == b"<":
        raise Refused(WEB_PAGE)
    window_start, window_bytes = time.monotonic(), 0
    with (
        target.open("r+b" if start else "wb") as file,
        progress(title=target.name, total=expected_bytes, initial=start, unit="B", unit_scale=True) as bar,
    ):
        if not start:
            _remember_origin(target, url, response)
        file.seek(start)
        while data:
            at += len(data)
            if at > expected_bytes:
                file.truncate(0)
                raise Refused(f"the server sends more than {expected_bytes:,} bytes")
            file.write(data)
            bar.update(len(data))
            window_bytes += len(data)
            seconds = time.monotonic() - window_start
            if seconds >= SLOW_S:
                if window_bytes < SLOWEST_BYTES_S * seconds:
                    raise Cut(f"only {window_bytes:,} bytes in {seconds:g} s, {at:,} of {expected_bytes:,} in all")
                window_start, window_bytes = time.monotonic(), 0
            data = more()
    if at < expected_bytes:
        raise Cut(f"cut off after {at:,} of {expected_bytes:,} bytes")


def _remember_origin(target: Path, url: str, response: requests.Response) -> None:
    validator = response.headers.get("ETag", "")
    if not validator or validator.startswith("W/"):  # a weak one does not promise the same bytes
        validator = response.headers.get("Last-Modified")
    _origin(target).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


def _if_still_the_same(target: Path, url: str) -> dict[str, str]:
    """The header that lets the server send the whole file when it is not the one that the first bytes came from."""
    try:
        origin = json.loads(_origin(target).read_text(encoding="utf-8"))
        return {"If-Range": origin["validator"]} if origin["url"] == url and origin["validator"] else {}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _seconds_to_wait(header: str | None) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 for anything else."""
    try:
        seconds = float(header) if header else 0.0
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0


def _explained(error: Exception, target: Path, expected_bytes: int) -> Exception:
    """The sentence for a request that failed: Cut where another try may help."""
    at = bytes_so_far(target)
    so_far = f" after {at:,} of {expected_bytes:,} bytes" if at else ""
    if isinstance(error, requests.TooManyRedirects):
        return Refused("it redirects in a circle")
    if isinstance(error, requests.exceptions.SSLError):
        return Refused("its certificate is not accepted: does this network look into encrypted traffic?")
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return Cut(f"no answer for {TIMEOUT_S:g} s{so_far}")
    if isinstance(error, ValueError) and not isinstance(error, requests.JSONDecodeError):  # of requests: a bad address
        return Refused(f"not an address to download from ({type(error).__name__})")
    if isinstance(error, requests.ConnectionError):
        return Cut(f"no answer{so_far}: is there a network?")
    return Cut(f"cut off{so_far} ({type(error).__name__})")
