import shutil
import threading
import time
from typing import Any

import pytest

from shared.errors import Code
from shared.settings import ConfigurationError
from tests import photos
from worker_service import services
from worker_service.captions import CaptionParams, ProviderFailed
from worker_service.settings import WorkerSettings

torch = pytest.importorskip("torch", reason="the extra `blip` is not installed")
transformers = pytest.importorskip("transformers", reason="the extra `blip` is not installed")

# Both warn of themselves, and of each other, as their releases come.
pytestmark = pytest.mark.filterwarnings("default")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "photo", "of", "kite", "field"]
PREVIEW = photos.jpeg(96, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BLIP model of random weights, made and saved as a trained one is."""
    path = tmp_path_factory.mktemp("models") / "tiny-blip"
    (path.parent / "words.txt").write_text("\n".join(WORDS))
    torch.manual_seed(1)
    transformers.BlipForConditionalGeneration(_configuration()).save_pretrained(path)
    transformers.BlipProcessor(
        transformers.BlipImageProcessor(size={"height": 32, "width": 32}),
        transformers.BertTokenizer(str(path.parent / "words.txt")),
    ).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def blip(folder):
    settings = WorkerSettings(redis_url="redis://nowhere", secret="", blip_model=folder)
    return services.caption_providers(settings)["blip"]


def _configuration() -> Any:
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    # As in trained ones, the model knows two marks that its tokenizer doesn't.
    known = len(WORDS) + 2
    text = {"vocab_size": known, "encoder_hidden_size": 16, "max_position_embeddings": 64, **small}
    ends = {"bos_token_id": len(WORDS), "eos_token_id": 3, "pad_token_id": 0, "sep_token_id": 3}
    return transformers.BlipConfig(
        text_config={**text, **ends}, vision_config={"image_size": 32, "patch_size": 16, **small}
    )


def caption(blip, *, seconds: float = 60, preview: bytes = PREVIEW, **params: Any):
    return blip.caption(preview, CaptionParams(**params), time.monotonic() + seconds)


def test_the_model_writes_of_its_words(blip):
    written = caption(blip, max_tokens=16)

    assert written.text
    assert set(written.text.split()) <= set(WORDS)
    assert (written.generated_by, written.usage, written.fallback_reason) == ("blip:tiny-blip", None, None)


def test_a_prompt_begins_the_caption(blip):
    assert caption(blip, prompt="a photo of", max_tokens=16).text.startswith("a photo of")


def test_max_tokens_bounds_it(blip):
    written = [len(caption(blip, prompt="a photo of", max_tokens=most).text.split()) for most in (3, 40)]

    assert written[0] <= 6 < written[1]


def test_a_caption_ends_where_the_model_does(blip):
    positions = blip._model.config.text_config.max_position_embeddings

    for prompt in (None, "a photo of", "a " * (positions - 4)):
        assert CaptionParams.model_validate({}).max_tokens > positions
        assert caption(blip, prompt=prompt).generated_by == "blip:tiny-blip"


def test_a_prompt_that_the_model_can_not_read_is_refused(blip):
    with pytest.raises(ProviderFailed) as failed:
        caption(blip, prompt="a " * 100)

    assert (failed.value.code, failed.value.retryable) == (Code.PROVIDER_REFUSED, False)
    assert "prompt is longer" in failed.value.detail


def test_the_model_is_loaded_once(folder, tmp_path):
    once = tmp_path / "once"
    shutil.copytree(folder, once)
    settings = WorkerSettings(redis_url="redis://nowhere", secret="", blip_model=str(once))
    loaded = services.caption_providers(settings)["blip"]
    shutil.rmtree(once)

    written = [caption(loaded, max_tokens=16).text for _ in range(2)]

    assert written[0] == written[1] != ""


def test_the_same_picture_gets_the_same_caption(blip):
    assert caption(blip, max_tokens=16) == caption(blip, max_tokens=16)


@pytest.mark.parametrize("photo", ["one pixel", "very wide", "very high"])
def test_it_copes_with_odd_previews(blip, photo):
    assert caption(blip, preview=photos.odd(photo), prompt="a photo of", max_tokens=4).text


def test_threads_take_turns(blip):
    written = []
    threads = [
        threading.Thread(target=lambda: written.append(caption(blip, max_tokens=16))) for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len(written) == 4
    assert len({each.text for each in written}) == 1


def test_who_waits_too_long_for_its_turn_is_told(blip):
    with blip._lock, pytest.raises(ProviderFailed) as failed:
        caption(blip, seconds=0.1)

    assert (failed.value.code, failed.value.retryable) == (Code.PROVIDER_UNAVAILABLE, True)


def test_a_preview_that_can_not_be_read_is_a_failure(blip):
    with pytest.raises(ProviderFailed, match="can't be used"):
        caption(blip, preview=b"no picture")


def test_it_captions_jobs(environ, folder, photo, run_jobs_with):
    client, run_jobs = run_jobs_with({**environ, "DARKROOM_BLIP_MODEL": folder})
    params = {"caption": {"max_tokens": 16}}

    accepted = client.submit(photo, pipeline="caption", params=params)
    run_jobs()

    [image] = client.job(accepted)["images"]
    assert image["results"]["caption"]["generated_by"] == "blip:tiny-blip"


def test_a_folder_without_a_model_ends_the_start(tmp_path):
    settings = WorkerSettings(redis_url="redis://nowhere", secret="", blip_model=str(tmp_path))

    with pytest.raises(ConfigurationError, match=r"DARKROOM_BLIP_MODEL: .* can't be loaded: "):
        services.caption_providers(settings)
