"""One line of the service's protocol (docs/service.md), read and held to its rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spartanc.errors import UsageError
from spartanc.runtime_py.strict_json import is_count, is_text, parse_object

LONGEST_ID = 256  # bytes
_INPUTS = ("text", "input_ids")
_MEMBERS = {"id", "ask", "task", "text", "text_pair", "input_ids"}

Id = str | int | None


class RequestError(UsageError):
    """A line that is no request. id: the line's, if it has one."""

    def __init__(self, message: str, id: Id = None) -> None:
        super().__init__(message)
        self.id = id


@dataclass(frozen=True)
class Request:
    """What a client asks: the server's status, or the answer to one text, pair of texts, or row of ids."""

    id: Id
    asks_status: bool = False
    task: str | None = None
    text: str | None = None
    text_pair: str | None = None
    input_ids: tuple[int, ...] | None = None


def read_request(line: bytes) -> Request:
    """The request in `line`; RequestError for whatever is none."""
    try:
        found = parse_object(line)
    except ValueError as error:
        raise RequestError(f"the line is not valid JSON: {error}") from error
    id = found.get("id")
    if not (is_count(id) or (is_text(id) and len(str(id).encode()) <= LONGEST_ID)):
        raise RequestError(f"`id` must be a whole number from 0 on, or a text of at most {LONGEST_ID} bytes")
    try:
        return _read_members(id, found)
    except RequestError as error:
        raise RequestError(error.message, id) from error


def _read_members(id: Id, found: dict[str, Any]) -> Request:
    unknown = next((name for name in found if name not in _MEMBERS), None)
    if unknown is not None:
        raise RequestError(f"a request has no member `{unknown}`")
    if "ask" in found:
        if found["ask"] != "status":
            raise RequestError("`ask` must be `status`")
        if len(found) > 2:
            raise RequestError("`ask` goes with nothing but an `id`")
        return Request(id, asks_status=True)
    for name in ("task", "text", "text_pair"):
        if name in found and not is_text(found[name]):
            raise RequestError(f"`{name}` must be a text, and without U+0000")
    if "input_ids" in found:
        _check_ids(found["input_ids"])
    given = [name for name in _INPUTS if name in found]
    if len(given) != 1:
        raise RequestError("a request needs `text` or `input_ids`, and not both")
    if "text_pair" in found and given != ["text"]:
        raise RequestError("`text_pair` goes with `text`")
    ids = tuple(found["input_ids"]) if "input_ids" in found else None
    return Request(id, False, found.get("task"), found.get("text"), found.get("text_pair"), ids)


def _check_ids(given: Any) -> None:
    if not isinstance(given, list) or not given:
        raise RequestError("`input_ids` must be a list of one id at least")
    for position, each in enumerate(given, start=1):
        if not is_count(each):
            raise RequestError(f"`input_ids` at position {position} is no whole number from 0 on")
