"""The desk: where separators report progress and fetch their links; an HTTP server in every replica."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import (
    DESK_LINKS_PATH,
    DESK_PROGRESS_PATH,
    Link,
    LinkRequest,
    Links,
    LinksRequest,
    Progress,
    overall_progress,
)
from stemyard_contract.mirror import ProgressRecord
from stemyard_contract.object_source import installation_of, owner_key
from stemyard_contract.validation import error_lines
from stemyard_operator.clients.s3 import LINK_SECONDS, ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.desk.authentication import Authenticator, Caller
from stemyard_operator.desk.authorization import granted, written_with
from stemyard_operator.errors import DeskError, OperatorError
from stemyard_operator.mirror.progress import ProgressStore
from stemyard_operator.model.separation import Separation

_BODY_LIMIT: Final = 64 * 1024
_BEARER: Final = "Bearer "

log = logging.getLogger(__name__)
Body = TypeVar("Body", bound=BaseModel)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Desk:
    """Answers are JSON; refusals are problem documents with a code of the failure table."""

    def __init__(
        self, callers: Authenticator, objects: ObjectStoreClient, board: ProgressStore, settings: Settings
    ) -> None:
        self._callers = callers
        self._objects = objects
        self._board = board
        self._settings = settings

    def application(self) -> web.Application:
        """Return the web application."""
        application = web.Application(client_max_size=_BODY_LIMIT, middlewares=[_problems])
        application.router.add_post(DESK_PROGRESS_PATH, self.progress)
        application.router.add_post(DESK_LINKS_PATH, self.links)
        return application

    async def progress(self, request: web.Request) -> web.Response:
        """Take in how far a stage is; answer 204."""
        caller, separation = await self._caller(request)
        progress = await _body(request, Progress)
        if progress.stage is not caller.job.stage:
            raise DeskError(422, FailureCode.INVALID_REQUEST, f"This pod's stage is {caller.job.stage}.")
        record = ProgressRecord(
            uid=separation.uid,
            run=caller.job.run,
            stage=progress.stage,
            attempt=caller.job.attempt,
            sequence=progress.sequence,
            progress=overall_progress(progress.stage, progress.fraction),
            step=progress.step,
            at=time.time(),
        )
        await self._board.report(separation.track_id, record)
        return web.Response(status=204)

    async def links(self, request: web.Request) -> web.Response:
        """Sign links for exactly the files that the caller's stage may read or write."""
        caller, separation = await self._caller(request)
        asked = await _body(request, LinksRequest)
        keys = [granted(file, caller, separation, self._settings) for file in asked.files]
        await self._refuse_foreign(separation, keys)
        links = await asyncio.to_thread(
            lambda: [self._link(file, key, separation) for file, key in zip(asked.files, keys, strict=True)]
        )
        return web.Response(text=Links(links=links).dump(), content_type="application/json")

    async def _refuse_foreign(self, separation: Separation, keys: list[str]) -> None:
        """Refuse an object that another installation keeps in the same bucket, whatever the allowed prefixes say."""
        given = separation.spec.source.object
        if given is None or given.key not in keys:
            return
        installation = installation_of(given.key)
        if await self._objects.size(owner_key(installation)) is not None:
            raise DeskError(
                403, FailureCode.LINK_REFUSED, f"Refused: the object belongs to installation {installation}."
            )

    def _link(self, file: LinkRequest, key: str, separation: Separation) -> Link:
        headers = written_with(file, separation) if file.method == "PUT" else {}
        if headers:
            url = self._objects.write_link(key, LINK_SECONDS, headers)
        else:
            url = self._objects.read_link(key, LINK_SECONDS)
        return Link(file=file.file, method=file.method, key=key, url=url, headers=headers)

    async def _caller(self, request: web.Request) -> tuple[Caller, Separation]:
        header = request.headers.get("Authorization", "")
        token = header.removeprefix(_BEARER).strip() if header.startswith(_BEARER) else ""
        caller = await self._callers.identify(token)
        return caller, await self._callers.admit(caller)


async def _body(request: web.Request, kind: type[Body]) -> Body:
    try:
        return kind.model_validate_json(await request.read())
    except ValidationError as error:
        raise DeskError(422, FailureCode.INVALID_REQUEST, "; ".join(error_lines(error))) from error


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
    except DeskError as error:
        return _problem(error.status, error.answer_code, str(error))
    except OperatorError as error:
        log.warning("the desk could not answer: %s", error)
        return _problem(503, FailureCode.UNAVAILABLE, FAILURES[FailureCode.UNAVAILABLE].sentence)
    except web.HTTPRequestEntityTooLarge:
        return _problem(413, FailureCode.REQUEST_TOO_LARGE, f"The body may have at most {_BODY_LIMIT} bytes.")
    except web.HTTPMethodNotAllowed:
        return _problem(405, FailureCode.METHOD_NOT_ALLOWED, FAILURES[FailureCode.METHOD_NOT_ALLOWED].sentence)
    except web.HTTPNotFound:
        return _problem(404, FailureCode.NOT_FOUND, FAILURES[FailureCode.NOT_FOUND].sentence)
    return answer


def _problem(status: int, code: FailureCode, detail: str) -> web.Response:
    body = {
        "type": "about:blank",
        "title": FAILURES[code].sentence,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": FAILURES[code].retryable,
    }
    return web.json_response(body, status=status, content_type="application/problem+json")
