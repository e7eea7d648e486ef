"""Drives operations with asyncio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar, assert_never

import httpx

from stemyard_client.answers import Answer
from stemyard_client.effects import Effect, Emit, Open, Operation, Read, Send, Sleep, Work
from stemyard_client.transport import TIMEOUT, Address

T = TypeVar("T")


class AsyncDriver:
    """Does what operations ask for. Several tasks may use it at once."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._http = httpx.AsyncClient(timeout=TIMEOUT)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def run(self, operation: Operation[T]) -> T:
        """Return what an operation returns; what it emits is ignored."""
        result: list[T] = []
        async for _ in self._steps(operation, result):
            pass
        return result[0]

    async def iterate(self, operation: Operation[Any]) -> AsyncIterator[Any]:
        """Yield what an operation emits."""
        async with aclosing(self._steps(operation, [])) as steps:
            async for value in steps:
                yield value

    async def _steps(self, operation: Operation[T], returned: list[T]) -> AsyncGenerator[Any]:
        """Yield what an operation emits; asynchronous generators return nothing, so its result goes into a list."""
        stream = _Stream()
        try:
            effect = next(operation)
            while True:
                if isinstance(effect, Emit):
                    yield effect.value
                    effect = next(operation)
                    continue
                try:
                    result = await self._perform(effect, stream)
                except (httpx.TransportError, OSError) as error:
                    effect = operation.throw(error)
                else:
                    effect = operation.send(result)
        except StopIteration as end:
            returned.append(end.value)
        finally:
            operation.close()
            await stream.close()

    async def _perform(self, effect: Effect, stream: "_Stream") -> Any:  # noqa: ANN401 - each effect has its own result
        match effect:
            case Send():
                return await self._send(self._address.build(self._http, effect.request))
            case Open():
                request = self._address.build(self._http, effect.request)
                return await stream.keep(await self._http.send(request, stream=True))
            case Read():
                return await anext(stream.chunks, b"")
            case Sleep():
                return await asyncio.sleep(effect.seconds)
            case Work():
                return await asyncio.to_thread(effect.function)
            case Emit():
                return None
            case _:
                assert_never(effect)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        response = await self._http.send(request, stream=True)
        try:
            answer = Answer(response)
            async for chunk in response.aiter_bytes():
                answer.add(chunk)
            return answer.whole()
        finally:
            await response.aclose()


class _Stream:
    """The response that an operation has open."""

    def __init__(self) -> None:
        self._response: httpx.Response | None = None
        self.chunks: AsyncIterator[bytes] = _nothing()

    async def keep(self, response: httpx.Response) -> httpx.Response:
        await self.close()
        self._response, self.chunks = response, response.aiter_bytes()
        return response

    async def close(self) -> None:
        if self._response is not None:
            await self._response.aclose()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
