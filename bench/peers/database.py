"""The peer's records: one SQLite file in WAL mode, and a connection for each thread."""

import json
import sqlite3
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from bench.peers import settings

PATH = settings.FOLDER / "peer.sqlite"
TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, photo BLOB, created_at REAL NOT NULL,
    ended_at REAL, results TEXT
)
"""

_local = threading.local()


def add(photo: bytes) -> str:
    """Record a job; its id. The photo goes into a file or the record, as `settings.KEEP` says."""
    job_id = uuid.uuid4().hex
    if settings.KEEP == "file":
        _file(job_id).write_bytes(photo)
    values = (job_id, photo if settings.KEEP == "database" else None, time.time())
    with _connection() as connection:
        connection.execute(
            "INSERT INTO jobs (id, status, photo, created_at) VALUES (?, 'queued', ?, ?)", values
        )
    return job_id


def start(job_id: str) -> bytes:
    """Record that the job runs; its photo."""
    with _connection() as connection:
        connection.execute("UPDATE jobs SET status = 'processing' WHERE id = ?", (job_id,))
        [photo] = connection.execute("SELECT photo FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return _file(job_id).read_bytes() if photo is None else bytes(photo)


def finish(job_id: str, results: dict[str, Any]) -> None:
    with _connection() as connection:
        connection.execute(
            "UPDATE jobs SET status = 'done', ended_at = ?, results = ? WHERE id = ?",
            (time.time(), json.dumps(results), job_id),
        )


def _file(job_id: str) -> Path:
    return settings.FOLDER / f"{job_id}.jpg"


def _connection() -> sqlite3.Connection:
    if not hasattr(_local, "connection"):
        connection = sqlite3.connect(PATH, timeout=60)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(TABLE)
        _local.connection = connection
    found: sqlite3.Connection = _local.connection
    return found
