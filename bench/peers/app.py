"""The peer's HTTP side: keeps the photo, records the job, hands its id to Celery."""

from typing import Annotated

from fastapi import FastAPI, File, Form, UploadFile

from bench.peers import database, tasks

app = FastAPI()


@app.post("/v1/jobs", status_code=202)
def submit(file: Annotated[UploadFile, File()], steps: Annotated[str, Form()] = "[]") -> dict[str, str]:
    """Accept a job. FastAPI runs it in a thread, because the file system and SQLite block."""
    job_id = database.add(file.file.read())
    tasks.process.delay(job_id)
    return {"id": job_id, "status": "queued"}
