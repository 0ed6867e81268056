from dataclasses import replace

import pytest

from shared import moves
from shared.errors import Code, Refused
from shared.events import EventType
from shared.jobs import Failure, Preview, State, StepCall
from shared.moves import Attempts
from shared.stages import Stage, after, route
from tests.shared.samples import BROKEN, HOOK, TTL, a_job, an_artifact, an_image

METADATA = StepCall(step="metadata", stage=Stage.PROCESS)
CAPTION = StepCall(step="caption", stage=Stage.CAPTION)
NOW = 1_700_000_000.0


def advanced(job, image, results=None, artifacts=()):
    return moves.advanced(job, image, results=results or {}, artifacts=artifacts, now=NOW, ttl=TTL)


def types(move):
    return [happening.type for happening in move.happenings]


@pytest.mark.parametrize("state", list(State))
def test_what_is_done_failed_or_canceled_has_ended(state):
    assert state.is_final == (state.value in ("done", "failed", "canceled"))


def test_the_first_run_of_an_image_starts_its_job():
    move = moves.started(a_job(images=2), an_image(), token="t", now=NOW)

    assert types(move) == [EventType.JOB_PROCESSING, EventType.IMAGE_PROCESSING]
    assert (move.job.status, move.job.started_at) == (State.PROCESSING, NOW)
    [image] = move.images
    assert (image.status, image.token, image.attempts) == (State.PROCESSING, "t", 1)


def test_a_later_run_tells_of_the_image_alone():
    job = a_job(status=State.PROCESSING, started_at=NOW)

    move = moves.started(job, an_image(attempts=1), token="t", now=NOW + 9)

    assert types(move) == [EventType.IMAGE_PROCESSING]
    assert (move.job.started_at, move.images[0].attempts) == (NOW, 2)


def test_a_job_that_starts_again_keeps_the_time_of_its_first_start():
    move = moves.started(a_job(started_at=NOW), an_image(), token="t", now=NOW + 9)

    assert (move.job.status, move.job.started_at) == (State.PROCESSING, NOW)


def test_an_image_with_a_stage_to_go_is_enqueued_for_it_under_a_new_id():
    image = an_image(status=State.PROCESSING, token="t")

    move = advanced(a_job(steps=(METADATA, CAPTION)), image, {"metadata": {}})

    [waiting] = move.enqueue
    assert move.images == (waiting,)
    assert (waiting.stage, waiting.status, waiting.token) == (Stage.CAPTION, State.QUEUED, None)
    assert waiting.task_id != image.task_id
    assert not move.happenings
    assert not move.ends_job


def test_results_and_artifacts_of_all_stages_come_together():
    job = a_job(steps=(METADATA, CAPTION))
    first = advanced(job, an_image(), {"metadata": 1}, [an_artifact("a", "small")])

    last = advanced(first.job, first.images[0], {"caption": 2}, [an_artifact("b", "large")])

    [image] = last.images
    assert image.results == {"metadata": 1, "caption": 2}
    assert [artifact.name for artifact in image.artifacts] == ["small", "large"]


def test_the_last_image_ends_the_job():
    move = advanced(a_job(images=2, done=1), an_image())

    assert types(move) == [EventType.IMAGE_DONE, EventType.JOB_DONE]
    assert move.ends_job
    assert (move.job.done, move.job.completed_at, move.job.expires_at) == (2, NOW, NOW + TTL)


def test_an_image_before_the_last_does_not_end_the_job():
    move = advanced(a_job(images=2), an_image())

    assert types(move) == [EventType.IMAGE_DONE]
    assert not move.ends_job
    assert move.job.completed_at is None


@pytest.mark.parametrize(
    ("done", "failed", "status"), [(1, 0, State.DONE), (0, 1, State.FAILED), (0, 0, State.FAILED)]
)
def test_a_job_is_done_when_at_least_one_image_is(done, failed, status):
    job = a_job(images=done + failed + 1, done=done, failed=failed)

    move = moves.failed(job, an_image(), BROKEN, now=NOW, ttl=TTL)

    assert move.job.status is status
    assert move.images[0].failure == BROKEN
    assert (move.job.failure is None) == (status is State.DONE)


def test_an_image_put_back_keeps_its_stage_and_its_attempts():
    image = an_image(status=State.PROCESSING, token="t", attempts=1)

    move = moves.put_back(a_job(), image, now=NOW)

    assert (
        move.images
        == move.enqueue
        == (replace(image, status=State.QUEUED, token=None, task_id=move.enqueue[0].task_id),)
    )
    assert move.at_front
    assert move.enqueue[0].task_id != image.task_id


def test_canceling_keeps_what_is_done():
    images = [an_image(0, status=State.DONE), an_image(1), an_image(2, status=State.PROCESSING, token="t")]

    move = moves.canceled(a_job(images=3, done=1), images, now=NOW, ttl=TTL)

    assert [image.id for image in move.images] == ["2", "3"]
    assert {image.failure.code for image in move.images if image.failure} == {Code.CANCELED}
    assert {image.token for image in move.images} == {None}
    assert types(move) == [EventType.IMAGE_CANCELED, EventType.IMAGE_CANCELED, EventType.JOB_CANCELED]
    assert (move.job.status, move.job.done, move.job.canceled) == (State.CANCELED, 1, 2)


@pytest.mark.parametrize("status", [State.DONE, State.FAILED, State.CANCELED])
def test_a_job_that_has_ended_cannot_be_canceled(status):
    with pytest.raises(Refused) as refused:
        moves.canceled(a_job(status=status), [], now=NOW, ttl=TTL)

    assert refused.value.code == Code.JOB_ENDED
    assert status.value in refused.value.detail


def test_two_moves_as_one_keep_the_later_image_and_all_that_happened():
    job, image = a_job(images=2), an_image()
    first = moves.started(job, image, token="t", now=NOW)

    both = first.then(moves.failed(first.job, first.images[0], BROKEN, now=NOW, ttl=TTL))

    assert [each.status for each in both.images] == [State.FAILED]
    assert types(both) == [EventType.JOB_PROCESSING, EventType.IMAGE_PROCESSING, EventType.IMAGE_FAILED]
    assert both.job.failed == 1


@pytest.mark.parametrize(
    ("steps", "from_url", "expected"),
    [
        ([Stage.PROCESS], False, [Stage.PROCESS]),
        ([Stage.CAPTION], False, [Stage.PROCESS, Stage.CAPTION]),
        ([Stage.CAPTION, Stage.PROCESS], True, [Stage.FETCH, Stage.PROCESS, Stage.CAPTION]),
        ([], True, [Stage.FETCH, Stage.PROCESS]),
    ],
)
def test_a_route_goes_through_process_and_keeps_the_order_of_stages(steps, from_url, expected):
    assert list(route(steps, from_url=from_url)) == expected


def test_each_stage_leads_to_the_next_on_the_route():
    walk = (Stage.FETCH, Stage.PROCESS, Stage.CAPTION)

    assert [after(stage, walk) for stage in walk] == [Stage.PROCESS, Stage.CAPTION, None]
    assert after(Stage.FETCH, (Stage.PROCESS,)) is Stage.PROCESS


def test_a_job_knows_its_calls_by_stage():
    job = a_job(steps=(CAPTION, METADATA))

    assert job.route(an_image()) == (Stage.PROCESS, Stage.CAPTION)
    assert job.route(an_image(url=HOOK)) == (Stage.FETCH, Stage.PROCESS, Stage.CAPTION)
    assert job.calls_in(Stage.CAPTION, an_image()) == (CAPTION,)
    assert job.calls_in(Stage.FETCH, an_image()) == ()


def test_the_params_of_an_image_come_before_those_of_its_job():
    step = StepCall(step="random", stage=Stage.PROCESS, params={"seed": 1, "detections": None})
    image = an_image(params={"random": {"detections": []}, "constant": {"detections": None}})

    [call] = a_job(steps=(step,)).calls_in(Stage.PROCESS, image)

    assert call.params == {"seed": 1, "detections": []}


def test_what_a_stage_leaves_for_the_next_one_stays_with_the_image():
    preview = Preview(blob="a-blob", facts={"width": 640})
    job = a_job(steps=(StepCall(step="caption", stage=Stage.CAPTION),))
    image = an_image(status=State.PROCESSING)

    first = moves.advanced(job, image, results={}, artifacts=[], preview=preview, now=1.0, ttl=60)
    second = moves.advanced(job, first.images[0], results={}, artifacts=[], now=2.0, ttl=60)

    assert (first.images[0].stage, first.images[0].preview) == (Stage.CAPTION, preview)
    assert (second.images[0].status, second.images[0].preview) == (State.DONE, preview)


@pytest.mark.parametrize(("wait", "later"), [(0, 100), (5, 100), (500, 500)])
def test_an_image_waits_as_long_as_it_was_asked_to_and_never_less_than_its_delay(wait, later):
    failure = Failure(Code.PROVIDER_UNAVAILABLE, "Busy.", retryable=True)
    image = an_image(status=State.PROCESSING, runs=1)
    attempts = Attempts(delays=(100,))

    move = moves.broken(a_job(), image, failure, attempts=attempts, now=1000.0, ttl=60, wait=wait)

    assert move.images[0].not_before == pytest.approx(1000 + later, abs=20 if later == 100 else 0.001)
