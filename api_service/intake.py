"""Reads a submission from a request: multipart, JSON or the raw bytes of an image."""

import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

from flask import Request
from pydantic import BaseModel, ValidationError
from werkzeug.formparser import FormDataParser

from api_service import strict_json
from api_service.problems import field_errors, pointer
from api_service.schemas import ImageBody, ImagesBody, PlanBody, TermsBody
from api_service.submitted import Submission, Upload
from shared.errors import Code, FieldError, Refused

MAX_KEY = 255
MAX_DEPTH = 32
MAX_JSON = 64 * 1024
DEFAULT_PIPELINE = "analyze"

M = TypeVar("M", bound=BaseModel)


class UploadRequest(Request):
    """A request whose files stay in memory: they are wanted there, and a container has no disk to spare."""

    def make_form_data_parser(self) -> FormDataParser:
        """One that says what is broken, instead of leaving it out."""
        parser = super().make_form_data_parser()
        parser.silent = False
        return parser

    def _get_file_stream(self, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO()


@dataclass(slots=True)
class Form:
    """The fields of a request, `typed` if in native types, its images, and what is wrong with either."""

    fields: dict[str, Any]
    typed: bool = False
    uploads: list[Upload] = field(default_factory=list)
    wrong: list[FieldError] = field(default_factory=list)


def read(request: Request, tenant: str) -> tuple[Submission, list[FieldError]]:
    """What the caller asks for, with all that can't be understood in it.

    Raises `Refused` when the request is in none of the three forms, or can't be read at all.
    """
    form = _form(request)
    form.wrong += _unknown_fields(form.fields)
    form.wrong += _outsized(form.fields)
    plan = _validated(PlanBody, form)
    terms = _validated(TermsBody, form)
    if plan.pipeline is not None and plan.steps is not None:
        form.wrong.append(FieldError("", "Give either pipeline or steps, not both."))
    submission = Submission(
        tenant=tenant,
        uploads=form.uploads,
        pipeline=DEFAULT_PIPELINE if plan.pipeline is None and plan.steps is None else plan.pipeline,
        steps=None if plan.steps is None else [step.model_dump() for step in plan.steps],
        params=plan.params,
        callback_url=terms.callback_url,
        callback_events=terms.callback_events,
        metadata=terms.metadata,
        priority=terms.priority,
        timeout=terms.timeout,
        cache=terms.cache,
        idempotency_key=_idempotency_key(request),
    )
    return submission, form.wrong


def _form(request: Request) -> Form:
    kind = request.mimetype
    if kind == "multipart/form-data":
        return _multipart(request)
    if kind == "application/json":
        return _json(request)
    if kind.startswith("image/"):
        return _raw(request)
    raise Refused(
        Code.UNSUPPORTED_FORMAT,
        f"{kind or 'No type'} is not taken; send multipart/form-data, application/json or image/*.",
    )


def _multipart(request: Request) -> Form:
    try:
        files = request.files.getlist("file")
    except ValueError as error:
        raise Refused(Code.MALFORMED, f"The multipart body can't be read: {error}") from error
    form = _texts(request.form.to_dict(flat=False), "")
    form.wrong += _stray_query(request)
    if not files:
        form.wrong.append(FieldError("/file", "Field required"))
    form.wrong += [
        FieldError(pointer("", name), "It is not a file field; use file.")
        for name in set(request.files) - {"file"}
    ]
    for index, file in enumerate(files):
        where = "/file" if len(files) == 1 else f"/file/{index}"
        form.uploads.append(Upload(None, base_name(file.filename), file.stream.read(), where))
    return form


def _raw(request: Request) -> Form:
    form = _texts(request.args.to_dict(flat=False), "")
    form.uploads.append(Upload(None, None, request.get_data(cache=False), ""))
    return form


def _json(request: Request) -> Form:
    body = strict_json.body(request)
    if not isinstance(body, dict):
        raise Refused.because([FieldError("", "The body must be a JSON object.")])
    form = Form({name: value for name, value in body.items() if name != "images"}, typed=True)
    form.wrong += _stray_query(request)
    try:
        images = ImagesBody.model_validate({name: body[name] for name in ("images",) if name in body}).images
    except ValidationError as error:
        form.wrong += field_errors(error)
        return form
    for index, image in enumerate(images):
        _add_image(form, image, f"/images/{index}")
    return form


def _add_image(form: Form, image: ImageBody, where: str) -> None:
    if (image.data is None) == (image.url is None):
        form.wrong.append(FieldError(where, "Give either data or url."))
    elif image.url is not None:
        form.uploads.append(Upload(image.id, last_segment(image.url), b"", where, url=image.url))
    else:
        try:
            form.uploads.append(Upload(image.id, None, _decoded(image.data or ""), where))
        except ValueError as error:
            form.wrong.append(FieldError(f"{where}/data", str(error)))


def _decoded(text: str) -> bytes:
    """Bytes from base64 or a data: URI (RFC 2397)."""
    if text[:5].lower() == "data:":
        header, comma, text = text.partition(",")
        if not comma or not header.lower().endswith(";base64"):
            raise ValueError("It is not a data: URI in base64.")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"It is not base64: {error}") from error


def _texts(fields: Mapping[str, list[str]], prefix: str) -> Form:
    form = Form({})
    for name, values in fields.items():
        if len(values) > 1:
            form.wrong.append(FieldError(pointer(prefix, name), "It is there more than once."))
            continue
        try:
            form.fields[name] = _native(name, values[0])
        except (ValueError, RecursionError) as error:
            form.wrong.append(FieldError(pointer(prefix, name), f"It is not JSON: {error}"))
    return form


def _native(name: str, text: str) -> Any:
    if name in ("steps", "params", "metadata"):
        return strict_json.parsed(text)
    if name == "callback_events":
        return [event.strip() for event in text.split(",")]
    return text


def _unknown_fields(fields: Mapping[str, Any]) -> list[FieldError]:
    known = {*PlanBody.model_fields, *TermsBody.model_fields}
    return [
        FieldError(pointer("", name), "Extra inputs are not permitted")
        for name in fields
        if name not in known
    ]


def _stray_query(request: Request) -> list[FieldError]:
    return [
        FieldError(pointer("", name), "The query is read with a raw image only; send it as a field.")
        for name in request.args
    ]


def _outsized(fields: dict[str, Any]) -> list[FieldError]:
    """What is too large or too deep to be looked at, which is then left out."""
    wrong = []
    for name in fields.keys() & {"steps", "params", "metadata"}:
        if strict_json.is_deeper(fields[name], MAX_DEPTH):
            wrong.append(FieldError(pointer("", name), f"It may be nested {MAX_DEPTH} deep."))
        elif len(json.dumps(fields[name])) > MAX_JSON:
            wrong.append(FieldError(pointer("", name), f"It may have at most {MAX_JSON} characters as JSON."))
    for each in wrong:
        del fields[each.pointer[1:]]
    return wrong


def _validated(model: type[M], form: Form) -> M:
    """The part of the form that `model` is about; what is wrong with it is noted and left out."""
    given = {name: value for name, value in form.fields.items() if name in model.model_fields}
    try:
        # Native types are meant: only texts are read for what they say.
        return (
            model.model_validate_json(json.dumps(given), strict=True)
            if form.typed
            else model.model_validate(given)
        )
    except ValidationError as error:
        form.wrong += field_errors(error)
        broken = {each["loc"][0] for each in error.errors()}
        return model.model_validate({name: value for name, value in given.items() if name not in broken})


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise Refused(Code.INVALID, f"An Idempotency-Key has 1 to {MAX_KEY} characters.")
    return key


def last_segment(url: str) -> str | None:
    """What a file at the URL would be called. What the URL leads to is judged elsewhere."""
    _, _, path = url.partition("?")[0].partition("#")[0].partition("//")[2].partition("/")
    return base_name(unquote(path))


def base_name(name: str | None) -> str | None:
    """The file's name without folders, which some clients send along."""
    return (name or "").replace("\\", "/").rpartition("/")[2][:255] or None
