"""File names from what others call things: without ways out of a folder, tricks, or names that clash."""

import re
import unicodedata

LONGEST = 100
# Devices on Windows, with any suffix.
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
_SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/avif": ".avif",
    "image/gif": ".gif",
    "image/tiff": ".tif",
    "image/svg+xml": ".svg",
    "application/json": ".json",
    "application/geo+json": ".geojson",
    "text/plain": ".txt",
}


def safe(name: str, otherwise: str = "unnamed") -> str:
    """The last part of `name`, made harmless in any folder, within 100 characters and 200 bytes."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    harmless = "".join(_harmless(character) for character in last).strip(" .")
    shortened = _shortened(harmless)
    if not shortened.strip("_"):
        return otherwise
    return f"_{shortened}" if _DEVICES.match(shortened) or shortened.startswith("-") else shortened


def with_suffix(name: str, media_type: str) -> str:
    """The name with the suffix of its media type, unless it ends with one."""
    suffix = _SUFFIXES.get(media_type.partition(";")[0].strip().lower(), "")
    return name if name.lower().endswith(tuple(_SUFFIXES.values())) else name + suffix


class Names:
    """The names in one folder: each is given once, whatever the letters' case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, name: str) -> str:
        stem, dot, suffix = name.rpartition(".")
        head, tail = (stem, dot + suffix) if stem else (name, "")
        candidate, number = name, 1
        while candidate.casefold() in self._taken:
            number += 1
            candidate = f"{head}-{number}{tail}"
        self._taken.add(candidate.casefold())
        return candidate


def _harmless(character: str) -> str:
    # Controls, right-to-left marks, surrogates and line ends, and what some system reads in its own way.
    strange = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    return "_" if strange or character in '<>:"|?*' else character


def _shortened(name: str) -> str:
    """The name within its limits; the suffix stays, if it is one."""
    stem, dot, suffix = name.rpartition(".")
    tail = dot + suffix if stem and len(suffix) <= 10 else ""
    head = name.removesuffix(tail)
    while len(head) + len(tail) > LONGEST or len((head + tail).encode()) > 2 * LONGEST:
        head = head[:-1]
    return head.rstrip(" .") + tail
