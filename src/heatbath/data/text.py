"""User text inside one-line messages: quoted, escaped, shortened, and the nearest valid name."""

import difflib
from collections.abc import Iterable


def quoted(text: str, limit: int = 40) -> str:
    """``repr`` of ``text``, control characters escaped, cut in the middle to ``limit`` characters."""
    shown = repr(text)
    if len(shown) <= limit:
        return shown
    half = (limit - 3) // 2
    return f"{shown[:half]}...{shown[-half:]}"


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Up to three of ``names`` that look like ``name``, upper and lower case alike, best first."""
    lowered: dict[str, list[str]] = {}
    for candidate in names:
        lowered.setdefault(candidate.lower(), []).append(candidate)
    matches = difflib.get_close_matches(name.lower(), lowered, n=3)
    return [candidate for match in matches for candidate in lowered[match]][:3]


def listed(names: Iterable[str], limit: int = 30) -> str:
    """The names quoted, each at most ``limit`` characters, with commas between."""
    return ", ".join(quoted(name, limit) for name in names)
