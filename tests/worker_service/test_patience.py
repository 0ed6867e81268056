import pytest
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    ExecAbortError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

from worker_service import patience
from worker_service.patience import passes, patiently


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Connection refused."),
        TimeoutError("Timeout reading from socket"),
        BusyLoadingError("Redis is loading the dataset in memory"),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ExecAbortError("OOM command not allowed when used memory > 'maxmemory'."),
        ReadOnlyError("You can't write against a read only replica."),
        ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        ResponseError("BUSY Redis is busy running a script."),
    ],
    ids=lambda error: f"{type(error).__name__} {str(error)[:8]}",
)
def test_what_passes_is_waited_for(monkeypatch, error):
    monkeypatch.setattr(patience, "PAUSE", 0)
    outcomes = [error, error, None]

    def attempt():
        if outcome := outcomes.pop(0):
            raise outcome
        return "done"

    assert patiently(attempt) == "done"
    assert outcomes == []


@pytest.mark.parametrize("words", ["WRONGTYPE Operation against a key", "ERR unknown command", "NOPERM no"])
def test_what_redis_will_never_do_is_not_asked_again(words):
    asked = []

    def attempt():
        asked.append(1)
        raise ResponseError(words)

    with pytest.raises(ResponseError):
        patiently(attempt)
    assert len(asked) == 1
    assert not passes(ResponseError(words))
