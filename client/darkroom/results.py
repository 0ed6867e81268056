"""What became of images, in a folder: one folder for each, with its artifacts and `results.json`."""

import json
from pathlib import Path

from darkroom import downloads, file_names
from darkroom.client import Darkroom
from darkroom.documents import Artifact, Image, Job
from darkroom.errors import NotSaved
from darkroom.file_names import Names


class Results:
    """A folder for the results of one command, in which no image gets in another's way.

    What an earlier command has left there is replaced where the names are the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._images = Names()

    def save(self, darkroom: Darkroom, job: Job) -> list[tuple[Artifact, Path]]:
        """Save what there is of the job, and tell where each artifact is."""
        return [saved for image in job.images for saved in self._save_image(darkroom, job, image)]

    def _save_image(self, darkroom: Darkroom, job: Job, image: Image) -> list[tuple[Artifact, Path]]:
        folder = self.folder / self._images.unique(_folder_name(image))
        make(folder)
        names = Names()
        report = folder / names.unique("results.json")
        saved = []
        for artifact in image.artifacts:
            path = folder / names.unique(downloads.name_of(artifact))
            if path.is_dir():
                raise NotSaved(f"{path} is a folder.")
            saved.append((artifact, darkroom.download(artifact, path)))
        with downloads.replacing(report) as file:
            file.write(json.dumps({"job_id": job.id, **image.document}, indent=2).encode())
        return saved


def make(folder: Path) -> None:
    """Have the folder, or raise `NotSaved`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotSaved(f"{folder} can't be made: {error.strerror}.") from error


def _folder_name(image: Image) -> str:
    name = file_names.safe(image.name or f"image-{image.id}", "image")
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name
