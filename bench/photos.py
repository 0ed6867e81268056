"""Photos to work on: made, the same in every run, and kept for the next."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 1633, 1225
QUALITY = 85
# Half of the pixels of a photo this large are chosen by the noise of a sensor, the rest by the motif.
SHAPES = 60


def photos(folder: Path, number: int) -> list[Path]:
    """So many JPEGs of 2 megapixels, each different; those that the folder has already are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"photo-{WIDTH}x{HEIGHT}-{seed:04}.jpg" for seed in range(number)]
    for seed, path in enumerate(paths):
        if not path.exists():
            _write(path, jpeg(seed))
    return paths


def jpeg(seed: int, width: int = WIDTH, height: int = HEIGHT, quality: int = QUALITY) -> bytes:
    """A photo with soft light, hard edges, texture and noise."""
    random = np.random.default_rng(seed)
    image = Image.fromarray(_light(random, width, height))
    _draw_shapes(image, random)
    noisy = np.asarray(image, dtype=np.int16) + random.integers(-6, 7, (height, width, 1), dtype=np.int16)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def pixel() -> bytes:
    """The least of a picture."""
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG")
    return file.getvalue()


def upload(size: int, seed: int = 0) -> bytes:
    """A JPEG of exactly so many bytes; what the picture leaves over is in its comments."""
    plain = jpeg(seed, 480, 360)
    if len(plain) + 4 > size:
        raise ValueError(f"the smallest photo has {len(plain) + 4} bytes")
    return plain[:2] + _comments(size - len(plain)) + plain[2:]


def _write(path: Path, data: bytes) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(data)
    unfinished.rename(path)


def _light(random: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Large soft areas of colour, and a finer texture over them."""
    coarse = Image.fromarray(random.integers(30, 226, (6, 8, 3), dtype=np.uint8))
    fine = Image.fromarray(random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8))
    size = (width, height)
    soft = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    texture = np.asarray(fine.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    return np.asarray((soft + (texture - 128) * 0.12).clip(0, 255), dtype=np.uint8)


def _draw_shapes(image: Image.Image, random: np.random.Generator) -> None:
    draw = ImageDraw.Draw(image)
    for number in range(SHAPES):
        x, y = int(random.integers(image.width)), int(random.integers(image.height))
        across, down = (int(random.integers(1, side // 5 + 2)) for side in image.size)
        red, green, blue = (int(random.integers(256)) for _ in range(3))
        shape = draw.ellipse if number % 2 else draw.rectangle
        shape((x, y, x + across, y + down), fill=(red, green, blue))


def _comments(size: int) -> bytes:
    """Comment segments of so many bytes in all; one holds at most 65,533."""
    written = b""
    while size:
        length = size if size <= 60_000 else 50_000
        written += b"\xff\xfe" + (length - 2).to_bytes(2, "big") + bytes(length - 4)
        size -= length
    return written
