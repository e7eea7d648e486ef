from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from stemyard_client.effects import Request, Send, Sleep
from stemyard_client.errors import ApiError, ConnectionFailedError, RateLimitedError, ServerError, api_error
from stemyard_client.retries import Retries, call

GET = Request("GET", "/jobs")


def answer(status: int, code: str = "", retry_after: str = "", *, retryable: bool = True) -> httpx.Response:
    headers = {"Retry-After": retry_after} if retry_after else {}
    return httpx.Response(status, headers=headers, json={"code": code, "retryable": retryable, "detail": "a sentence"})


def driven(answers: Iterator[Any], retries: Retries) -> tuple[httpx.Response, list[float]]:
    """Drive a call with these answers; return its result and the pauses."""
    operation, pauses = call(GET, retries), list[float]()
    effect = next(operation)
    try:
        while True:
            if isinstance(effect, Sleep):
                pauses.append(effect.seconds)
                effect = operation.send(None)
                continue
            assert effect == Send(GET)
            given = next(answers)
            effect = operation.throw(given) if isinstance(given, Exception) else operation.send(given)
    except StopIteration as end:
        return end.value, pauses


def test_pauses_double_with_jitter() -> None:
    broken = httpx.ReadError("")
    response, pauses = driven(iter([broken, broken, answer(503), answer(200)]), Retries())
    assert response.status_code == 200
    for pause, longest in zip(pauses, (0.5, 1.0, 2.0), strict=True):
        assert longest / 2 <= pause <= longest


def test_retry_after_is_honoured_and_one_that_is_too_long_raised() -> None:
    _, [pause] = driven(iter([answer(429, retry_after="7"), answer(200)]), Retries())
    assert 7 <= pause <= 8.4
    with pytest.raises(RateLimitedError) as refused:
        driven(iter([answer(429, "QUOTA_EXCEEDED", retry_after="3600")]), Retries())
    assert (refused.value.code, refused.value.retry_after) == ("QUOTA_EXCEEDED", 3600)


def test_attempts_are_bounded() -> None:
    with pytest.raises(ServerError):
        driven(iter([answer(503)] * 3), Retries(attempts=3))
    with pytest.raises(ConnectionFailedError, match=r"The API could not be reached: ConnectError\."):
        driven(iter([httpx.ConnectError("")] * 3), Retries(attempts=3))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422, 500])
def test_what_does_not_pass_is_raised_at_once(status: int) -> None:
    with pytest.raises(ApiError):
        driven(iter([answer(status, retryable=status == 500)]), Retries())


def test_a_deletion_under_way_is_waited_for() -> None:
    response, _ = driven(iter([answer(409, "BEING_DELETED", retry_after="2"), answer(202)]), Retries())
    assert response.status_code == 202


def test_answers_of_proxies_are_errors_too() -> None:
    error = api_error(502, {}, b"<html>Bad gateway</html>")
    assert isinstance(error, ServerError)
    assert (error.code, error.retryable) == ("http_error", True)
    assert "not as Stemyard does" in str(error)
    assert not api_error(404, {}, b"[]").retryable
