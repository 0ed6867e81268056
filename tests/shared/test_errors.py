import pytest

from shared.errors import Code, FieldError, ImageFailed, Refused, ServiceError

OF_IMAGES = [
    "unsupported_format",
    "image_corrupt",
    "image_truncated",
    "image_too_large",
    "image_too_complex",
    "input_too_large",
    "input_empty",
    "input_url_invalid",
    "input_url_blocked",
    "input_dns_failed",
    "input_unreachable",
    "input_tls_failed",
    "input_timeout",
    "input_http_status",
    "input_too_many_redirects",
    "input_content_encoding",
    "input_truncated",
    "params_invalid",
    "step_failed",
    "provider_unavailable",
    "provider_refused",
    "worker_crashed",
    "memory_limit",
    "time_limit",
    "deadline_exceeded",
    "canceled",
    "expired",
    "internal",
]
OF_DELIVERIES = [
    "target_blocked",
    "redirect_not_followed",
    "gone",
    "http_status",
    "dns_failed",
    "tls_failed",
    "timeout",
    "unreachable",
    "invalid_answer",
]
OF_REQUESTS = [
    "unauthorized",
    "forbidden",
    "not_found",
    "job_not_found",
    "delivery_not_found",
    "method_not_allowed",
    "malformed",
    "invalid",
    "job_ended",
    "job_not_ended",
    "nothing_to_retry",
    "idempotency_key_reused",
    "rate_limited",
    "too_many_inflight",
    "queue_full",
    "storage_full",
    "unavailable",
]
CODES = {code.value: code for code in Code}


def test_the_table_has_every_code_and_no_other():
    assert sorted(Code) == sorted([*OF_IMAGES, *OF_DELIVERIES, *OF_REQUESTS])


def test_an_image_is_worth_trying_again_only_when_time_may_help():
    assert {code for code in OF_IMAGES if CODES[code].retryable} == {
        "input_dns_failed",
        "input_unreachable",
        "input_timeout",
        "provider_unavailable",
        "worker_crashed",
        "internal",
    }


def test_a_request_is_worth_repeating_only_when_time_may_help():
    for name in OF_REQUESTS:
        code = CODES[name]
        assert code.retryable == (code.status in (429, 503)), code


@pytest.mark.parametrize("code", list(Code))
def test_a_code_says_what_happened_and_what_to_do(code):
    assert code.value == code.name.lower()
    assert 400 <= code.status < 600
    assert code.summary
    assert not code.summary.endswith(".")
    assert code.help.endswith(".")
    assert code.summary != code.help


@pytest.mark.parametrize("kind", [Refused, ImageFailed])
def test_an_error_says_what_its_code_says_unless_it_knows_better(kind):
    plain = kind(Code.TIMEOUT)
    precise = kind(Code.TIMEOUT, "No answer in 15 s.")

    assert isinstance(plain, ServiceError)
    assert (str(plain), plain.detail) == (Code.TIMEOUT.summary,) * 2
    assert (str(precise), precise.detail) == ("No answer in 15 s.",) * 2


def test_an_error_knows_better_than_its_code_whether_to_try_again():
    assert not ImageFailed(Code.INPUT_HTTP_STATUS).retryable
    assert ImageFailed(Code.INPUT_HTTP_STATUS, "It answered 503.", retryable=True).retryable
    assert ImageFailed(Code.INTERNAL).retryable
    assert not ImageFailed(Code.INTERNAL, retryable=False).retryable


def test_errors_that_agree_give_the_refusal_their_code():
    errors = [FieldError("/file/0", "It is empty.", Code.INPUT_EMPTY)] * 2

    assert Refused.because(errors).code == Code.INPUT_EMPTY


def test_errors_that_disagree_make_the_request_invalid():
    errors = [FieldError("/file", "It is empty.", Code.INPUT_EMPTY), FieldError("/steps", "No such step.")]

    refused = Refused.because(errors)

    assert refused.code == Code.PARAMS_INVALID
    assert refused.errors == tuple(errors)
    assert refused.detail == "/file: It is empty.; /steps: No such step."


def test_what_is_wrong_with_the_whole_request_needs_no_pointer():
    assert Refused.because([FieldError("", "Give either.")]).detail == "Give either."


def test_a_long_quotation_hides_neither_its_place_nor_what_is_wrong_with_it():
    [told] = Refused.because([FieldError("/name", f"'{'x' * 5000}' is too long")]).errors

    assert len(told.detail) <= 300
    assert told.detail.startswith("'xxx")
    assert told.detail.endswith("xxx' is too long")


def test_a_refusal_may_say_when_to_come_back():
    assert Refused(Code.QUEUE_FULL, retry_after=7).retry_after == 7
    assert Refused(Code.QUEUE_FULL).retry_after is None
