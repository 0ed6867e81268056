"""Captions by a BLIP model on this machine: no network, one picture at a time.

PyTorch and Transformers come with the extra `blip`, and only to who has a model.
"""

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.errors import Code
from shared.settings import ConfigurationError
from worker_service import decode
from worker_service.captions import Caption, CaptionParams, ProviderFailed

log = logging.getLogger(__name__)

# Tokens: the marks that begin and end nothing.
NO_PROMPT = 2


class BlipProvider:
    """Writes English. `folder` is where the model and its processor were saved by `save_pretrained`.

    Loads the model, or raises `ConfigurationError`.
    """

    def __init__(self, folder: str) -> None:
        try:
            from transformers import BlipForConditionalGeneration, BlipProcessor

            # Nothing is fetched: a folder that lacks a file is an error.
            self._processor = BlipProcessor.from_pretrained(folder, local_files_only=True)
            self._model = BlipForConditionalGeneration.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise ConfigurationError(f"DARKROOM_BLIP_MODEL: {folder} can't be loaded: {told}") from error
        self.name = f"blip:{Path(folder).resolve().name}"
        self._lock = threading.Lock()

    def caption(self, preview: bytes, params: CaptionParams, deadline: float) -> Caption:
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise ProviderFailed(Code.PROVIDER_UNAVAILABLE, "The BLIP model is busy with other images.")
        try:
            text = self._written(preview, params, deadline)
        except ProviderFailed:
            raise
        except Exception as error:
            log.exception("the BLIP model broke")
            raise ProviderFailed(Code.PROVIDER_UNAVAILABLE, "The BLIP model can't be used.") from error
        finally:
            self._lock.release()
        if not text:
            raise ProviderFailed(Code.PROVIDER_REFUSED, "The BLIP model had nothing to say.")
        return Caption(text=text, generated_by=self.name)

    def _written(self, preview: bytes, params: CaptionParams, deadline: float) -> str:
        picture = decode.admit(preview, decode.Limits()).picture(None)
        inputs = self._processor(images=picture.image, text=params.prompt, return_tensors="pt")
        longest = min(params.max_tokens, self._room(inputs))
        # A generation that reaches its time ends with the words that there are.
        seconds = max(0.1, deadline - time.monotonic())
        tokens = self._model.generate(**inputs, max_new_tokens=longest, max_time=seconds)
        text: str = self._processor.decode(tokens[0], skip_special_tokens=True)
        return text.strip()

    def _room(self, inputs: Mapping[str, Any]) -> int:
        """The tokens that a caption may have: a model breaks when it goes past its last position."""
        prompt = inputs["input_ids"].shape[1] if "input_ids" in inputs else NO_PROMPT
        room: int = self._model.config.text_config.max_position_embeddings - prompt
        if room < 1:
            raise ProviderFailed(Code.PROVIDER_REFUSED, "The prompt is longer than the BLIP model can read.")
        return room
