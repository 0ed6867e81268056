"""The version of this Darkroom, as /info and the User-Agent of webhooks tell it."""

from typing import Final

VERSION: Final = "0.1.0"
