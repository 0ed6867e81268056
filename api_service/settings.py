"""What the API reads from the environment."""

from dataclasses import dataclass

from shared import settings
from shared.settings import matching, setting, whole


def origins(text: str) -> tuple[str, ...]:
    """Origins as browsers send them, separated by commas; or `*` alone, which is all of them."""
    if text in ("", "*"):
        return tuple(text)
    parse = matching(r"https?://[a-z0-9.\[\]:-]+", "an origin such as https://app.example.com, or * alone")
    return tuple(_as_sent(parse(part.strip().rstrip("/").lower())) for part in text.split(","))


def _as_sent(origin: str) -> str:
    """Browsers leave out the port that goes without saying."""
    default = ":443" if origin.startswith("https:") else ":80"
    return origin.removesuffix(default)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings(settings.Settings):
    """The settings of the HTTP service."""

    port: int = setting("PORT", whole(1, 65_535), 8000)
    api_workers: int = setting("DARKROOM_API_WORKERS", whole(1, 1024), 2)
    max_body_bytes: int = setting("DARKROOM_MAX_BODY_BYTES", whole(1), 104_857_600)
    max_images: int = setting("DARKROOM_MAX_IMAGES", whole(1, 1000), 100)
    max_queued: int = setting("DARKROOM_MAX_QUEUED", whole(), 10_000)
    max_pixels: int = setting("DARKROOM_MAX_PIXELS", whole(1), 50_000_000)
    max_side: int = setting("DARKROOM_MAX_SIDE", whole(1), 16_384)
    cors_origins: tuple[str, ...] = setting("DARKROOM_CORS_ORIGINS", origins, ())
    generated_by: str = setting(
        "DARKROOM_GENERATED_BY", matching(r"[ -~]{1,100}", "printable ASCII"), "vision-node-gpt"
    )
