"""JSON as its specification has it (RFC 8259), so that what came in can be written again."""

import json
import math
from typing import Any, NoReturn

from flask import Request

from shared.errors import Code, Refused


def parsed(text: str) -> Any:
    """The value of a text without NaN, infinity or half characters; else `ValueError` or `RecursionError`."""
    value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def body(request: Request) -> Any:
    """The value of a request's body, or `Refused` with `malformed`."""
    try:
        return parsed(request.get_data(cache=False).decode())
    except (ValueError, RecursionError) as error:
        raise Refused(Code.MALFORMED, f"The body is not JSON: {error}") from error


def is_deeper(value: Any, depth: int) -> bool:
    """Whether objects and arrays are nested more than `depth` deep."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(is_deeper(each, depth - 1) for each in inner)


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON has")
