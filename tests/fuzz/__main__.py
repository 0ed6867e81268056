"""`python -m tests.fuzz SECONDS`: a coverage-guided fuzzer at the decode door, by the libFuzzer in atheris.

It begins with the seeds, what was found before and what earlier runs learned, and stops at the first finding:
an exception that is not `ImageFailed`, a crash, a hang, or too much memory. Add the file that it names to
`found/`, where the test suite replays it.
"""

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "pillow_heif", "shared", "worker_service"]):
    from PIL import Image

    from tests.fuzz import target

    # Else each plugin would be imported with the first file of its kind, and not be instrumented.
    Image.init()

from tests.fuzz.mutations import mended
from tests.fuzz.seeds import seeds

FOUND = Path(__file__).parent / "found"
LEARNED, FINDINGS = Path("var/fuzz/learned"), Path("var/fuzz/findings")
LIMITS = {"timeout": 10, "report_slow_units": 3, "rss_limit_mb": 768, "max_len": 16_384}


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    for folder in (LEARNED, FINDINGS):
        folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds().items():
        (LEARNED / f"seed of a {name}").write_bytes(data)
    options = {**LIMITS, "max_total_time": seconds, "artifact_prefix": f"{FINDINGS}/"}
    arguments = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(LEARNED), str(FOUND)], _try, custom_mutator=_mutated)
    atheris.Fuzz()


def _try(data: bytes) -> None:
    target.outcome(data)


def _mutated(data: bytes, most: int, seed: int) -> bytes:
    changed = atheris.Mutate(data, len(data))
    return mended(changed)[:most] if random.Random(seed).random() < 0.7 else changed


main()
