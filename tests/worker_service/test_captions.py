import time
from typing import Any

import pytest

from shared.errors import Code, ImageFailed
from shared.jobs import Preview, StepCall
from shared.stages import Stage
from tests.shared.samples import a_job, an_image
from worker_service import captioning
from worker_service.captions import AUTO_SECONDS, PAUSE, Caption, Captions, ProviderFailed
from worker_service.product import Product

FACTS = {
    "width": 2,
    "height": 2,
    "format": "png",
    "colours": ["#ffffff"],
    "brightness": 1.0,
    "sharpness": None,
    "camera": None,
    "taken_at": None,
}
SENTENCE = "A square PNG picture of 2 by 2 pixels, very bright, mostly white."
WRITTEN = Caption(text="A kite.", generated_by="openai:a-model", usage={"total_tokens": 9})
AWAY = ProviderFailed(Code.PROVIDER_UNAVAILABLE, "It is away.")
REFUSED = ProviderFailed(Code.PROVIDER_REFUSED, "It won't.")


def asks_to_wait(seconds: float) -> ProviderFailed:
    return ProviderFailed(Code.PROVIDER_UNAVAILABLE, "It is busy.", retry_after=seconds)


class Scripted:
    """A provider that answers, or raises, what its script says."""

    name = WRITTEN.generated_by

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.asked: list[tuple[bytes, Any, float]] = []

    def caption(self, preview, params, deadline):
        self.asked.append((preview, params, deadline - time.monotonic()))
        answer = self.script[len(self.asked) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Desk:
    """The stage, with what it was asked for and how long it paused."""

    def __init__(self, stores, **providers: Any) -> None:
        self.pauses: list[float] = []
        self._stores = stores
        self._captions = Captions(
            blobs=stores.blobs,
            events=stores.events,
            providers=providers,
            time_limit=60,
            pause=self.pauses.append,
        )

    def caption(self, *, preview: bool = True, **params: Any) -> dict[str, Any]:
        product = self.produce(preview=preview, **params)
        assert (product.artifacts, product.preview, list(product.results)) == ((), None, ["caption"])
        result: dict[str, Any] = product.results["caption"]
        return result

    def produce(self, *, promised: str | None = None, preview: bool = True, **params: Any) -> Product:
        call = StepCall(step="caption", stage=Stage.CAPTION, params=params, provider=promised)
        [blob] = self._stores.blobs.stage([b"the preview"])
        kept = Preview(blob=blob, facts=FACTS) if preview else None
        image = an_image(stage=Stage.CAPTION, preview=kept)
        return self._captions.produce(a_job(steps=(call,)), image, lambda: None)

    def failure(self, **options: Any) -> ImageFailed:
        with pytest.raises(ImageFailed) as failed:
            self.caption(**options)
        return failed.value


def test_a_provider_writes_the_caption_from_the_preview(stores):
    openai = Scripted(WRITTEN)

    written = Desk(stores, openai=openai).caption(prompt="Which bird?", max_tokens=9, language="de")

    assert written == {
        "text": "A kite.",
        "generated_by": "openai:a-model",
        "fallback_reason": None,
        "usage": {"total_tokens": 9},
    }
    [(preview, params, _)] = openai.asked
    assert preview == b"the preview"
    assert (params.prompt, params.max_tokens, params.language) == ("Which bird?", 9, "de")


def test_auto_takes_the_first_provider_that_is_configured(stores):
    openai, blip = Scripted(WRITTEN), Scripted()

    assert Desk(stores, openai=openai, blip=blip).caption()["generated_by"] == "openai:a-model"
    assert blip.asked == []


@pytest.mark.parametrize("provider", ["auto", "metadata"])
def test_without_a_provider_what_was_measured_is_told(stores, provider):
    told = Desk(stores).caption(provider=provider)

    assert told == {"text": SENTENCE, "generated_by": "metadata", "fallback_reason": None, "usage": None}


def test_metadata_by_name_asks_nobody(stores):
    assert Desk(stores, openai=Scripted()).caption(provider="metadata")["generated_by"] == "metadata"


def test_auto_tries_twice(stores):
    openai = Scripted(AWAY, WRITTEN)
    desk = Desk(stores, openai=openai)

    assert desk.caption()["text"] == "A kite."
    assert desk.pauses == [PAUSE]


def test_each_of_the_two_tries_ends_in_time(stores):
    openai = Scripted(AWAY, WRITTEN)

    Desk(stores, openai=openai).caption()

    first, second = (seconds for _, _, seconds in openai.asked)
    assert first <= AUTO_SECONDS / 2 < second <= AUTO_SECONDS


def test_a_provider_that_fails_twice_is_stood_in_for(stores):
    openai = Scripted(AWAY, AWAY)

    told = Desk(stores, openai=openai, blip=Scripted(WRITTEN)).caption()

    assert (told["text"], told["generated_by"], told["usage"]) == (SENTENCE, "metadata", None)
    assert told["fallback_reason"] == "openai: provider_unavailable: It is away."
    assert len(openai.asked) == 2


def test_a_refusal_is_not_tried_again(stores):
    openai = Scripted(REFUSED)

    told = Desk(stores, openai=openai).caption()

    assert told["fallback_reason"] == "openai: provider_refused: It won't."
    assert len(openai.asked) == 1


def test_a_pause_that_a_provider_asks_for_is_kept(stores):
    desk = Desk(stores, openai=Scripted(asks_to_wait(5), WRITTEN))

    assert desk.caption()["text"] == "A kite."
    assert desk.pauses == [5]


def test_a_pause_that_is_too_long_is_not_waited_for(stores):
    openai = Scripted(asks_to_wait(AUTO_SECONDS))
    desk = Desk(stores, openai=openai)

    assert desk.caption()["generated_by"] == "metadata"
    assert (desk.pauses, len(openai.asked)) == ([], 1)


@pytest.mark.parametrize("failure", [AWAY, REFUSED, asks_to_wait(7)], ids=["away", "refused", "busy"])
def test_by_name_nobody_stands_in(stores, failure):
    openai = Scripted(failure)

    failed = Desk(stores, openai=openai).failure(provider="openai")

    assert failed is failure
    assert len(openai.asked) == 1


@pytest.mark.parametrize(
    ("providers", "threads"), [([], 64), (["openai"], 64), (["openai", "blip"], 64), (["blip"], 1)]
)
def test_only_a_model_of_our_own_has_images_wait_where_no_deadline_runs(providers, threads):
    assert captioning.at_once(dict.fromkeys(providers), 64) == threads


def test_by_name_a_provider_has_the_time_of_a_stage(stores):
    openai = Scripted(WRITTEN)

    Desk(stores, openai=openai).caption(provider="openai")

    assert AUTO_SECONDS < openai.asked[0][2] <= 60


@pytest.mark.parametrize("provider", ["openai", "blip"])
def test_one_that_is_not_configured_can_not_be_used_and_is_not_tried_again(stores, provider):
    failed = Desk(stores).failure(provider=provider)

    assert (failed.code, failed.retryable) == (Code.PROVIDER_UNAVAILABLE, False)
    assert provider in failed.detail


def test_a_preview_that_has_gone_is_a_failure_even_for_auto(stores):
    desk = Desk(stores, openai=Scripted(WRITTEN))

    assert desk.failure(preview=False).code is Code.EXPIRED
    assert desk.failure(preview=False, provider="metadata").code is Code.EXPIRED


def test_params_that_the_step_does_not_take_fail_the_image(stores):
    failed = Desk(stores).failure(max_tokens=0)

    assert failed.code is Code.PARAMS_INVALID
    assert failed.detail.startswith("/params/caption/max_tokens: ")


@pytest.mark.parametrize(
    ("script", "promised", "answers_for_others"),
    [
        ([WRITTEN], "openai:a-model", True),
        ([WRITTEN], "openai:another-model", False),
        ([WRITTEN], None, False),
        ([REFUSED], "openai:a-model", False),
    ],
    ids=["as promised", "another model by now", "nobody had been heard of", "a fallback"],
)
def test_a_caption_answers_for_others_only_if_it_is_by_whom_they_would_ask(
    stores, script, promised, answers_for_others
):
    product = Desk(stores, openai=Scripted(*script)).produce(promised=promised)

    assert product.cacheable is answers_for_others


def test_a_sentence_answers_for_others_where_there_is_no_provider(stores):
    assert Desk(stores).produce(promised="metadata").cacheable
