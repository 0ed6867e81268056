from pathlib import Path
from random import Random
from zlib import crc32

import pytest

from shared.errors import Code
from tests.fuzz import target
from tests.fuzz.mutations import mended
from tests.fuzz.seeds import seeds
from tests.worker_service import hostile

FOUND = sorted((Path(__file__).parent / "found").iterdir())
SEEDS = seeds()
OUTCOMES = {
    "ok",
    Code.IMAGE_CORRUPT,
    Code.IMAGE_TRUNCATED,
    Code.IMAGE_TOO_LARGE,
    Code.IMAGE_TOO_COMPLEX,
    Code.UNSUPPORTED_FORMAT,
    Code.INPUT_EMPTY,
    Code.STEP_FAILED,
}
ROUNDS = 60


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_the_fuzzer_found_ends_with_a_code(path):
    assert target.outcome(path.read_bytes()) in OUTCOMES


@pytest.mark.parametrize("name", SEEDS)
def test_the_files_to_start_from_are_sound_or_refused(name):
    assert target.outcome(SEEDS[name]) in OUTCOMES


@pytest.mark.parametrize("name", SEEDS)
def test_however_a_file_is_damaged_it_ends_with_a_code(name):
    random = Random(crc32(name.encode()))

    outcomes = {target.outcome(damaged(SEEDS[name], random)) for _ in range(ROUNDS)}

    assert outcomes <= OUTCOMES


def test_most_files_to_start_from_get_through_the_door():
    through = [name for name, data in SEEDS.items() if target.outcome(data) == "ok"]

    assert len(through) > 0.9 * len(SEEDS)


def test_damage_without_a_trace_is_not_noticed_by_its_checksum():
    whole = hostile.real_png(before=hostile.chunk(b"tEXt", b"key\0value"))
    changed = whole.replace(b"value", b"other")

    assert mended(whole) == whole
    assert mended(changed) == hostile.real_png(before=hostile.chunk(b"tEXt", b"key\0other"))


def damaged(data: bytes, random: Random) -> bytes:
    """With some bytes changed, cut out or said twice, and the traces of it removed now and then."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 9))):
        at, length = random.randrange(len(changed) + 1), random.choice((1, 1, 2, 4, 30))
        piece = changed[at : at + length]
        changed[at : at + length] = random.choice(
            (random.randbytes(len(piece)), b"", bytes(piece) * 2, b"\xff" * len(piece), bytes(len(piece)))
        )
    return mended(bytes(changed)) if random.random() < 0.7 else bytes(changed)
