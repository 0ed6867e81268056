import time
from collections import Counter

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared import moves
from shared.errors import Code, Refused
from shared.events import EventType
from shared.jobs import Failure, Image, Job, State, StepCall
from shared.moves import Attempts, Move
from shared.stages import Stage
from tests.shared.samples import BROKEN, HOOK, TTL, a_job, an_image, unhurried

IMAGES = 3
CALLS = (StepCall(step="metadata", stage=Stage.PROCESS), StepCall(step="caption", stage=Stage.CAPTION))
OUTCOMES = {
    EventType.IMAGE_DONE: State.DONE,
    EventType.IMAGE_FAILED: State.FAILED,
    EventType.IMAGE_CANCELED: State.CANCELED,
}


ATTEMPTS = Attempts(most=3, crashes=2, delays=(10, 60))
CRASHED = Failure(Code.WORKER_CRASHED, "Its process is gone.", retryable=True)
UNAVAILABLE = Failure(Code.PROVIDER_UNAVAILABLE, "Nobody answered.", retryable=True)


class JobMoves(RuleBasedStateMachine):
    """Every order in which workers, callers, the sweep and the clock may move a job of three images.

    The model is the least that one would write on paper: what became of each image, and how its runs ended.
    """

    @initialize(captioned=st.booleans(), fetched=st.booleans(), impatient=st.booleans())
    def accept(self, captioned: bool, fetched: bool, impatient: bool) -> None:
        self.job: Job = a_job(images=IMAGES, steps=CALLS if captioned else CALLS[:1])
        self.last = self.job.route(an_image())[-1]
        self.impatient = impatient
        self.images = {image.id: image for image in map(an_image, range(IMAGES))}
        if fetched:
            self.images["1"] = an_image(url=HOOK, source=None, stage=Stage.FETCH)
        self.model = dict.fromkeys(self.images, State.QUEUED)
        self.canceled = self.ever_started = False
        self.runs, self.crashes, self.handed_back = Counter[str](), Counter[str](), Counter[str]()
        # What happened since the job was accepted or retried, and what had ended before.
        self.told, self.settled = [EventType.JOB_QUEUED], Counter[State]()
        self.task_ids = [image.task_id for image in self.images.values()]

    def having(self, *states: State) -> list[Image]:
        return [image for image in self.images.values() if image.status in states]

    def pick(self, data: st.DataObject, *states: State) -> Image:
        return data.draw(st.sampled_from(self.having(*states)))

    def due_later(self) -> list[Image]:
        return [image for image in self.having(State.QUEUED) if image.not_before is not None]

    def ready(self) -> list[Image]:
        return [image for image in self.having(State.QUEUED) if image.not_before is None]

    def wait_again(self, image: Image, *, unless: bool) -> None:
        """The image had a run for nothing: it waits for another one, unless there have been enough."""
        self.model[image.id] = State.FAILED if unless else State.QUEUED

    def make(self, move: Move) -> None:
        self.job = move.job
        self.images |= {image.id: image for image in move.images}
        self.told += [happening.type for happening in move.happenings]
        self.task_ids += [image.task_id for image in move.enqueue]
        for happening in move.happenings:
            if happening.image is not None:
                assert happening.image == self.images[happening.image.id]
        assert move.ends_job == self.job.status.is_final

    @rule(data=st.data())
    @precondition(lambda self: self.ready())
    def start(self, data: st.DataObject) -> None:
        image = data.draw(st.sampled_from(self.ready()))
        self.make(moves.started(self.job, image, token="run", now=time.time()))
        self.model[image.id] = State.PROCESSING
        self.runs[image.id] += 1
        self.ever_started = True

    @rule(data=st.data())
    @precondition(lambda self: self.having(State.PROCESSING))
    def advance(self, data: st.DataObject) -> None:
        image = self.pick(data, State.PROCESSING)
        results = {str(image.stage): "done"}
        brought = "a blob" if image.stage is Stage.FETCH else None
        self.make(
            moves.advanced(
                self.job, image, results=results, artifacts=(), source=brought, now=time.time(), ttl=TTL
            )
        )
        self.model[image.id] = State.DONE if image.stage is self.last else State.QUEUED
        if image.stage is not self.last:
            self.runs[image.id] = self.crashes[image.id] = 0

    @rule(data=st.data())
    @precondition(lambda self: self.having(State.QUEUED))
    def postpone(self, data: st.DataObject) -> None:
        image = self.pick(data, State.QUEUED)
        now = time.time()
        self.make(moves.postponed(self.job, image, until=now + 9, now=now))
        self.make(moves.due(self.job, self.images[image.id], now=now))

    @rule(data=st.data())
    @precondition(lambda self: self.having(State.PROCESSING))
    def put_back(self, data: st.DataObject) -> None:
        image = self.pick(data, State.PROCESSING)
        self.make(moves.put_back(self.job, image, now=time.time()))
        self.model[image.id] = State.QUEUED
        self.handed_back[image.id] += 1

    @rule(data=st.data())
    @precondition(lambda self: self.having(State.PROCESSING))
    def crash(self, data: st.DataObject) -> None:
        image = self.pick(data, State.PROCESSING)
        self.make(moves.broken(self.job, image, CRASHED, attempts=ATTEMPTS, now=time.time(), ttl=TTL))
        self.crashes[image.id] += 1
        enough = self.crashes[image.id] >= ATTEMPTS.crashes or self.runs[image.id] >= ATTEMPTS.most
        self.wait_again(image, unless=enough)

    @rule(data=st.data())
    @precondition(lambda self: self.having(State.PROCESSING))
    def find_nobody_there(self, data: st.DataObject) -> None:
        image = self.pick(data, State.PROCESSING)
        self.make(moves.broken(self.job, image, UNAVAILABLE, attempts=ATTEMPTS, now=time.time(), ttl=TTL))
        self.wait_again(image, unless=self.runs[image.id] >= ATTEMPTS.most)

    @rule(data=st.data())
    @precondition(lambda self: self.having(State.PROCESSING))
    def lose(self, data: st.DataObject) -> None:
        image = self.pick(data, State.PROCESSING)
        self.make(moves.lost(self.job, image, attempts=ATTEMPTS, now=time.time(), ttl=TTL))
        self.wait_again(image, unless=self.runs[image.id] >= ATTEMPTS.most)

    @rule(data=st.data())
    @precondition(lambda self: self.due_later())
    def come_due(self, data: st.DataObject) -> None:
        image = data.draw(st.sampled_from(self.due_later()))
        self.make(moves.due(self.job, image, now=time.time()))

    @rule()
    @precondition(lambda self: self.impatient and not self.job.status.is_final)
    def run_out_of_time(self) -> None:
        self.make(moves.overdue(self.job, self.images.values(), now=time.time(), ttl=TTL))
        self.model = {
            image_id: state if state.is_final else State.FAILED for image_id, state in self.model.items()
        }

    @rule()
    def retry(self) -> None:
        try:
            move = moves.retried(self.job, self.images.values(), now=time.time())
        except Refused as refused:
            assert (refused.code is Code.JOB_NOT_ENDED) != self.job.status.is_final
            assert refused.code is Code.JOB_NOT_ENDED or not self.having(State.FAILED)
            return
        for image in self.having(State.FAILED):
            self.model[image.id] = State.QUEUED
            self.runs[image.id] = self.crashes[image.id] = 0
        self.canceled, self.told = False, []
        self.make(move)
        self.settled = Counter(state for state in self.model.values() if state.is_final)

    @rule(data=st.data())
    @precondition(lambda self: self.having(State.QUEUED, State.PROCESSING))
    def fail(self, data: st.DataObject) -> None:
        image = self.pick(data, State.QUEUED, State.PROCESSING)
        self.make(moves.failed(self.job, image, BROKEN, now=time.time(), ttl=TTL))
        self.model[image.id] = State.FAILED

    @rule()
    @precondition(lambda self: self.impatient or self.job.status.is_final)
    def cancel(self) -> None:
        try:
            self.make(moves.canceled(self.job, self.images.values(), now=time.time(), ttl=TTL))
        except Refused:
            assert self.job.status.is_final
            return
        self.canceled = True
        self.model = {
            image_id: state if state.is_final else State.CANCELED for image_id, state in self.model.items()
        }

    @invariant()
    def images_are_where_the_model_says(self) -> None:
        assert {image.id: image.status for image in self.images.values()} == self.model

    @invariant()
    def the_job_has_the_one_state_that_its_images_make(self) -> None:
        assert self.job.status is self.expected()

    def expected(self) -> State:
        if self.canceled:
            return State.CANCELED
        if not all(state.is_final for state in self.model.values()):
            return State.PROCESSING if EventType.IMAGE_PROCESSING in self.told else State.QUEUED
        return State.DONE if State.DONE in self.model.values() else State.FAILED

    @invariant()
    def counts_add_up(self) -> None:
        states = Counter(self.model.values())
        counted = {
            State.DONE: self.job.done,
            State.FAILED: self.job.failed,
            State.CANCELED: self.job.canceled,
        }
        assert counted == {state: states[state] for state in counted}
        assert sum(counted.values()) <= self.job.total
        assert self.job.status.is_final == (sum(counted.values()) == self.job.total)

    @invariant()
    def events_agree_with_what_became_of_it(self) -> None:
        counts = Counter(self.told)
        states = Counter(self.model.values())
        assert {type: counts[type] for type in OUTCOMES} == {
            type: states[OUTCOMES[type]] - self.settled[OUTCOMES[type]] for type in OUTCOMES
        }
        endings = [type for type in self.told if type.ends_job]
        assert endings == ([f"job.{self.job.status}"] if self.job.status.is_final else [])
        assert not endings or self.told[-1] == endings[0]
        assert counts[EventType.JOB_PROCESSING] == (counts[EventType.IMAGE_PROCESSING] > 0)

    @invariant()
    def times_and_failures_are_those_of_the_state(self) -> None:
        ended = self.job.status.is_final
        assert (self.job.completed_at is not None, self.job.expires_at is not None) == (ended, ended)
        assert (self.job.started_at is not None) == self.ever_started
        assert (self.job.failure is not None) == (self.job.status in (State.FAILED, State.CANCELED))
        for image in self.images.values():
            assert (image.failure is not None) == (image.status in (State.FAILED, State.CANCELED))
            assert (image.token is not None) == (image.status is State.PROCESSING)

    @invariant()
    def no_image_runs_more_often_than_it_may(self) -> None:
        for image in self.images.values():
            assert (image.runs, image.crashes) == (self.runs[image.id], self.crashes[image.id])
            assert image.runs <= ATTEMPTS.most + self.handed_back[image.id]
            assert image.crashes <= ATTEMPTS.crashes

    @invariant()
    def an_image_has_its_source_from_its_fetch_on(self) -> None:
        for image in self.images.values():
            assert (image.source is None) == (image.stage is Stage.FETCH)

    @invariant()
    def every_enqueue_has_an_id_of_its_own(self) -> None:
        assert len(set(self.task_ids)) == len(self.task_ids)
        assert {image.task_id for image in self.having(State.PROCESSING) + self.ready()} <= set(self.task_ids)


TestJobMoves = JobMoves.TestCase
TestJobMoves.settings = settings(unhurried, max_examples=100, stateful_step_count=25)


def test_the_failure_of_a_job_of_one_image_is_that_image():
    failed = moves.failed(a_job(), an_image(), BROKEN, now=0, ttl=TTL)

    assert failed.job.failure == BROKEN


def test_the_failure_of_a_job_of_many_images_says_how_many():
    move = moves.failed(a_job(images=2, failed=1), an_image(), BROKEN, now=0, ttl=TTL)

    assert move.job.failure == Failure(
        BROKEN.code, "None of the 2 images could be done; the last: It can't be decoded."
    )
