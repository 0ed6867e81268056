"""Answers from the cache: what identical work came to, given to an image instead of doing it again. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from shared import moves
from shared.jobs import Image, Job, Preview, StoredArtifact, fresh_id
from shared.moves import Move


class AnswerLost(Exception):
    """The cache has forgotten an answer before it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an image, and what its preview's facts were. The artifacts' blobs are the cache's."""

    results: Mapping[str, Any]
    artifacts: tuple[StoredArtifact, ...]
    facts: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An outcome for one image. `copies` says which blob of the cache each of its own is made from."""

    outcome: Outcome
    copies: Mapping[str, str]

    @classmethod
    def of(cls, kept: Outcome) -> Self:
        """With blobs of its own, so that neither the image nor the cache lives on the other."""
        artifacts = tuple(replace(artifact, blob=fresh_id()) for artifact in kept.artifacts)
        pairs = zip(artifacts, kept.artifacts, strict=True)
        return cls(
            outcome=replace(kept, artifacts=artifacts),
            copies={ours.blob: theirs.blob for ours, theirs in pairs},
        )

    @property
    def size(self) -> int:
        """Bytes that its copies take."""
        return sum(artifact.bytes for artifact in self.outcome.artifacts)

    def given_to(self, job: Job, image: Image, *, now: float, ttl: int) -> Move:
        """The image is done at once, whatever stages it had before it."""
        job = replace(job, started_at=job.started_at or now)
        known = replace(image, cached=True, stage=job.route(image)[-1])
        outcome = self.outcome
        return moves.advanced(
            job,
            known,
            results=outcome.results,
            artifacts=outcome.artifacts,
            preview=None if outcome.facts is None else Preview(blob=None, facts=outcome.facts),
            now=now,
            ttl=ttl,
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """A job that ends in part, or as a whole, as soon as it is accepted: how, and from which copies."""

    move: Move
    copies: Mapping[str, str]


def answered(
    job: Job, images: Iterable[Image], answers: Mapping[str, Answer], *, now: float, ttl: int
) -> Answered:
    """Those of the images for whose ids there is an answer are done."""
    move, copies = Move(job=job, at=now), dict[str, str]()
    for image in images:
        if image.id in answers:
            move = move.then(answers[image.id].given_to(move.job, image, now=now, ttl=ttl))
            copies |= answers[image.id].copies
    return Answered(move, copies)
