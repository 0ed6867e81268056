"""The bytes that steps made: cacheable, resumable, and inert in a browser."""

import re
import time

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from api_service import openapi
from api_service.schemas import ArtifactPath, OnlyArtifactPath, SignatureQuery
from api_service.services import TENANT, services
from shared.documents import artifact_path
from shared.errors import Code, Refused
from shared.jobs import Image, StoredArtifact
from shared.secrets import link_is_valid

bp = APIBlueprint("artifacts", __name__, url_prefix="/v1/jobs", abp_tags=[Tag(name="Artifacts")])


@bp.get("/<job_id>/images/<path:image_id>/artifacts/<name>", responses=openapi.BYTES)
def show(path: ArtifactPath, query: SignatureQuery) -> Response:
    """Read an artifact."""
    _check_signature(path, query)
    store = services().stores.jobs
    image = store.get(path.job_id, tenant=TENANT, images=[path.image_id]).image(path.image_id)
    if image is None:
        raise Refused(Code.NOT_FOUND, f"The job has no image {path.image_id!r}.")
    return sent(image, path.name)


@bp.get("/<job_id>/artifacts/<name>", responses=openapi.BYTES)
def show_only(path: OnlyArtifactPath) -> Response:
    """Read an artifact of a job that has one image."""
    images = services().stores.jobs.get(path.job_id, tenant=TENANT).images
    if len(images) != 1:
        raise Refused(Code.NOT_FOUND, f"The job has {len(images)} images; say which.")
    return sent(images[0], path.name)


def sent(image: Image, name: str) -> Response:
    """An artifact of the image, or `Refused` if it has none of that name."""
    artifact = next((each for each in image.artifacts if each.name == name), None)
    if artifact is None:
        names = ", ".join(each.name for each in image.artifacts) or "none yet"
        raise Refused(Code.NOT_FOUND, f"The image has no artifact {name!r}; it has {names}.")
    data = services().stores.blobs.get(artifact.blob)
    if data is None:
        raise Refused(Code.EXPIRED, "The artifact is no longer kept.")
    return _inert(artifact, data)


def _check_signature(path: ArtifactPath, query: SignatureQuery) -> None:
    """A link that carries a signature must carry a good one; whoever may read anyway needs none."""
    if query.signature is None and query.expires is None:
        return
    signed = artifact_path(path.job_id, path.image_id, path.name)
    secret = services().settings.secret
    if not link_is_valid(secret, signed, query.expires or 0, query.signature or "", time.time()):
        raise Refused(Code.FORBIDDEN, "The link was changed or has expired.")


def _inert(artifact: StoredArtifact, data: bytes) -> Response:
    response = Response(data, mimetype=artifact.media_type)
    response.set_etag(artifact.sha256)
    response.headers["Cache-Control"] = "private, max-age=3600"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Accept-Ranges"] = "bytes"
    response.make_conditional(request, accept_ranges=_asks_for_one_range(), complete_length=len(data))
    return response


def _asks_for_one_range() -> bool:
    """Whether the Range header is one that we serve; any other counts as none (RFC 9110, section 14.2)."""
    found = re.fullmatch(r"bytes=(?:(\d+)-(\d*)|-\d+)", request.headers.get("Range", ""), re.ASCII)
    return found is not None and not (found[2] and int(found[2]) < int(found[1]))
