"""Writing TOML: nested tables of numbers, texts, booleans and lists of them. `tomllib` reads it back."""

import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from heatbath.errors import Refused

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write_toml(table: Mapping[str, Any]) -> str:
    """`table` as TOML text; keys in their order, plain values before tables, floats to the last bit.

    Raises Refused for a value that is not a str, bool, int, float, list of these, or mapping.
    """
    lines: list[str] = []
    _table((), table, lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _table(path: tuple[str, ...], table: Mapping[str, Any], lines: list[str]) -> None:
    if path:
        lines += ["", f"[{'.'.join(map(_key, path))}]"]
    for key, value in table.items():
        if not isinstance(value, Mapping):
            lines.append(f"{_key(key)} = {_value((*path, key), value)}")
    for key, value in table.items():
        if isinstance(value, Mapping):
            _table((*path, key), value, lines)


def _key(key: str) -> str:
    if not isinstance(key, str):
        raise Refused(f"configuration key {key!r:.80} is not a text: use texts as keys")
    return key if _BARE.fullmatch(key) else _text(key)


def _value(path: tuple[str, ...], value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(path, item) for item in value)}]"
    raise Refused(
        f"configuration value {'.'.join(map(str, path))!a:.100} is a {type(value).__name__}, which TOML "
        "cannot hold: give a text, a number, true or false, or a list of these"
    )


def _text(text: str) -> str:
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise Refused(f"configuration text {text!a:.100} is not valid Unicode: use UTF-8 names and texts")
    return '"' + "".join(_character(c) for c in text) + '"'


def _character(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    return f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c
