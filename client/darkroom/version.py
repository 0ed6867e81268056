"""The version of this package, as the User-Agent of its requests tells it."""

from typing import Final

VERSION: Final = "0.1.0"
