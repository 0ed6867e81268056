"""Captions by an OpenAI-compatible server: whichever the operator names, and no other."""

import base64
import json
import logging
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from shared.errors import Code
from worker_service.captions import Caption, CaptionParams, ProviderFailed
from worker_service.egress import Answer, Egress
from worker_service.reasons import EgressFailed
from worker_service.retry_after import retry_after

log = logging.getLogger(__name__)

# Who is asked when there is a key and no base URL.
OPENAI = "https://api.openai.com/v1"
PROMPT = "Describe what this picture shows, in one or two plain sentences."
MOST_ANSWER_BYTES = 1_048_576
LONGEST_TEXT = 20_000
LONGEST_USAGE = 4096
# Of objects and arrays within each other; every reader of the job has to get through them.
DEEPEST_USAGE = 8
# Seconds for which a server may ask to be left alone.
LONGEST_WAIT = 3600.0
# What parts of a message are called that are not about how it came to be.
TEXT_PARTS = (None, "text", "output_text")
# They are about this image or this prompt, and the same every time; all others may pass.
REFUSALS = frozenset({400, 413, 415, 422})
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class OpenAiProvider:
    """Asks the server at the base URL. `egress` has to let that one through. Without a key, none is sent."""

    def __init__(self, egress: Egress, *, base_url: str, api_key: str | None, model: str) -> None:
        self._egress = egress
        self._url = f"{base_url}/chat/completions"
        self._headers = {"Content-Type": "application/json"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._model = model
        self.name = f"openai:{model}"

    def caption(self, preview: bytes, params: CaptionParams, deadline: float) -> Caption:
        answer = self._answer(json.dumps(self._question(preview, params)).encode(), deadline)
        if not 200 <= answer.status < 300:
            _raise_for(answer)
        completion = _parsed(answer.body)
        return Caption(text=_text(completion), generated_by=self.name, usage=_usage(completion))

    def _question(self, preview: bytes, params: CaptionParams) -> dict[str, Any]:
        image = f"data:image/jpeg;base64,{base64.b64encode(preview).decode()}"
        content = [
            {"type": "text", "text": _prompt(params)},
            {"type": "image_url", "image_url": {"url": image}},
        ]
        return {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": params.max_tokens,
        }

    def _answer(self, body: bytes, deadline: float) -> Answer:
        # Some answer with the headers at once and with the text when there is one.
        patience = max(0.0, deadline - time.monotonic())
        try:
            return self._egress.post(
                self._url,
                headers=self._headers,
                body=body,
                deadline=deadline,
                keep=MOST_ANSWER_BYTES,
                patience=patience,
            )
        except EgressFailed as failure:
            log.warning("the caption provider can't be used: %s", failure.reason)
            raise ProviderFailed(
                Code.PROVIDER_UNAVAILABLE, f"The caption provider can't be used: {failure.reason}."
            ) from failure


def _prompt(params: CaptionParams) -> str:
    prompt = params.prompt or PROMPT
    if params.language is None:
        return prompt
    return f"{prompt}\nAnswer in the language that has the BCP 47 tag {params.language}."


def _raise_for(answer: Answer) -> NoReturn:
    code = Code.PROVIDER_REFUSED if answer.status in REFUSALS else Code.PROVIDER_UNAVAILABLE
    log.warning("the caption provider answered %d: %s", answer.status, answer.body[:500])
    raise ProviderFailed(
        code,
        f"The caption provider answered {answer.status}.",
        retry_after=min(LONGEST_WAIT, retry_after(answer.headers) or 0),
    )


def _parsed(body: bytes) -> Mapping[str, Any]:
    """The answer's object. One that was cut short is no JSON."""
    try:
        completion = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _unusable() from error
    if not isinstance(completion, dict):
        raise _unusable()
    return completion


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _text(completion: Mapping[str, Any]) -> str:
    try:
        choice = completion["choices"][0]
        message = choice["message"]
        content, refusal = _joined(message.get("content")), message.get("refusal")
        reason = choice.get("finish_reason")
    except (LookupError, TypeError, AttributeError) as error:
        raise _unusable() from error
    text = _UNPRINTABLE.sub("", content).strip()[:LONGEST_TEXT]
    if refusal or reason == "content_filter" or not text:
        raise ProviderFailed(Code.PROVIDER_REFUSED, "The caption provider did not describe the image.")
    return text


def _joined(content: Any) -> str:
    """The text of a message, which some servers tell in parts."""
    parts = content if isinstance(content, list) else [content]
    said = [each for each in parts if not isinstance(each, dict) or each.get("type") in TEXT_PARTS]
    texts = [each.get("text") if isinstance(each, dict) else each for each in said]
    return "".join(text for text in texts if isinstance(text, str))


def _usage(completion: Mapping[str, Any]) -> dict[str, Any] | None:
    """The provider's own account of what it took, if it is one that can be kept."""
    usage = completion.get("usage")
    if not isinstance(usage, dict) or _is_deep(usage):
        return None
    try:
        size = len(json.dumps(usage, ensure_ascii=False).encode())
    except (UnicodeEncodeError, RecursionError):
        return None
    return usage if size <= LONGEST_USAGE else None


def _is_deep(usage: Mapping[str, Any]) -> bool:
    level: list[Any] = [usage]
    for _ in range(DEEPEST_USAGE):
        level = [child for each in level for child in _children(each)]
    return bool(level)


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _unusable() -> ProviderFailed:
    return ProviderFailed(Code.PROVIDER_UNAVAILABLE, "The caption provider's answer makes no sense.")
