"""Damage with its traces removed, so that it gets past what only looks for damage."""

import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def mended(data: bytes) -> bytes:
    """The data with the checksums of a PNG, or the length of a RIFF file, as they should be."""
    if data[:8] == SIGNATURE:
        return _png(data)
    if data[:4] == b"RIFF" and len(data) > 12:
        return data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]
    return data


def _png(data: bytes) -> bytes:
    whole, at = bytearray(data), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if end + 4 > len(data):
            break
        whole[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4)
        at = end + 4
    return bytes(whole)
