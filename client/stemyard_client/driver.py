"""Drives operations synchronously."""

import time
from collections.abc import Generator, Iterator
from typing import Any, TypeVar, assert_never

import httpx

from stemyard_client.answers import Answer
from stemyard_client.effects import Effect, Emit, Open, Operation, Read, Send, Sleep, Work
from stemyard_client.transport import TIMEOUT, Address

T = TypeVar("T")


class Driver:
    """Does what operations ask for. One thread at a time may use it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._http = httpx.Client(timeout=TIMEOUT)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def run(self, operation: Operation[T]) -> T:
        """Return what an operation returns; what it emits is ignored."""
        steps = self._steps(operation)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result

    def iterate(self, operation: Operation[Any]) -> Iterator[Any]:
        """Yield what an operation emits."""
        for step in self._steps(operation):
            yield step.value

    def _steps(self, operation: Operation[T]) -> Generator[Emit, None, T]:
        stream = _Stream()
        try:
            effect = next(operation)
            while True:
                if isinstance(effect, Emit):
                    yield effect
                    effect = next(operation)
                    continue
                try:
                    result = self._perform(effect, stream)
                except (httpx.TransportError, OSError) as error:
                    effect = operation.throw(error)
                else:
                    effect = operation.send(result)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            operation.close()
            stream.close()

    def _perform(self, effect: Effect, stream: "_Stream") -> Any:  # noqa: ANN401 - each effect has its own result
        match effect:
            case Send():
                return self._send(self._address.build(self._http, effect.request))
            case Open():
                request = self._address.build(self._http, effect.request)
                return stream.keep(self._http.send(request, stream=True))
            case Read():
                return next(stream.chunks, b"")
            case Sleep():
                return time.sleep(effect.seconds)
            case Work():
                return effect.function()
            case Emit():
                return None
            case _:
                assert_never(effect)

    def _send(self, request: httpx.Request) -> httpx.Response:
        response = self._http.send(request, stream=True)
        try:
            answer = Answer(response)
            for chunk in response.iter_bytes():
                answer.add(chunk)
            return answer.whole()
        finally:
            response.close()


class _Stream:
    """The response that an operation has open."""

    def __init__(self) -> None:
        self._response: httpx.Response | None = None
        self.chunks: Iterator[bytes] = iter(())

    def keep(self, response: httpx.Response) -> httpx.Response:
        self.close()
        self._response, self.chunks = response, response.iter_bytes()
        return response

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
