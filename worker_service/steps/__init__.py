"""What a step is written with."""

from worker_service.picture import Picture
from worker_service.steps.base import Artifact, Result, Step, StepFailed

__all__ = ["Artifact", "Picture", "Result", "Step", "StepFailed"]
