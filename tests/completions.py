"""An OpenAI-compatible server for tests, as far as captions need one."""

import json
from typing import Any

from tests.receivers import Behaviour, answers

USAGE = {"prompt_tokens": 812, "completion_tokens": 9, "total_tokens": 821}


def completion(text: Any = "A red kite over a field.", **changes: Any) -> dict[str, Any]:
    """What a server of the chat-completions API answers."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_795_000_000,
        "model": "a-model-2026-05",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
        **changes,
    }


def tells(document: Any, status: int = 200, **headers: str) -> Behaviour:
    """That document, as JSON."""
    return answers(status, json.dumps(document).encode(), Content_Type="application/json", **headers)
