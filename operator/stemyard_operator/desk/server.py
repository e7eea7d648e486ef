"""The desk: the HTTP server, in every replica, to which separators report progress and from which they get links."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import (
    DESK_FINISHED_PATH,
    DESK_LINKS_PATH,
    DESK_PROGRESS_PATH,
    Finished,
    Link,
    LinkRequest,
    Links,
    LinksRequest,
    Progress,
    WorkStage,
    overall_progress,
)
from stemyard_contract.leasing import DESK_LEASE_PATH, LeaseRequest
from stemyard_contract.mirror import ProgressRecord
from stemyard_contract.object_source import installation_of, owner_key
from stemyard_contract.validation import error_lines
from stemyard_operator.clients.s3 import DESK_LINK_SECONDS, ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.desk.authentication import Authenticator, Caller
from stemyard_operator.desk.authorization import Grant, authorize, authorized_mark, upload_headers
from stemyard_operator.desk.leasing import Leasing
from stemyard_operator.desk.limits import RateLimit
from stemyard_operator.errors import DeskError, OperatorError
from stemyard_operator.informer.finished_stages import FinishedStages
from stemyard_operator.mirror.progress import ProgressStore
from stemyard_operator.model.separation import Separation

_BODY_LIMIT: Final = 64 * 1024
_BODY_SECONDS: Final = 5.0
"""Time for a body to arrive: a request that is not complete takes one of the places below."""
_BEARER: Final = "Bearer "
_IN_FLIGHT: Final = 128
"""Maximum requests in flight; more are refused with 503."""
_BUSY_SECONDS: Final = 1
_REPORTS_BURST: Final = 3
"""Reports of progress that a pod may send in a row: delays in the network put some closer together."""
_REPORTS_PER_SECOND: Final = 1.0
_LINKS_BURST: Final = 60
"""Requests for links that a pod may send in a row; a stage needs a few, and some for each link that expires."""
_LINKS_PER_SECOND: Final = 1.0
_ENDS_BURST: Final = 6
"""Reports that its stage is done that a pod may send in a row; each costs a read of the store. A stage needs one."""
_ENDS_PER_SECOND: Final = 0.1
_LEASES_BURST: Final = 10
"""Requests for songs, reports of ends, and reports of progress, each, that a worker may send in a row."""
_LEASES_PER_SECOND: Final = 3.0

log = logging.getLogger(__name__)
Body = TypeVar("Body", bound=BaseModel)
SongRequest = TypeVar("SongRequest", Progress, Finished, LinksRequest)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Desk:
    """Responses are JSON; refusals are problem documents with a code of the failure table.

    What one pod may ask is limited before anything is looked up for it; a separator treats 429 and 503 as temporary.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        objects: ObjectStoreClient,
        progress: ProgressStore,
        finished: FinishedStages,
        leasing: Leasing,
        settings: Settings,
        is_leading: Callable[[], bool],
    ) -> None:
        self._authenticator = authenticator
        self._objects = objects
        self._progress = progress
        self._finished = finished
        self._leasing = leasing
        self._settings = settings
        self._is_leading = is_leading
        self._in_flight = 0
        self._reports = RateLimit(_REPORTS_BURST, _REPORTS_PER_SECOND)
        self._link_requests = RateLimit(_LINKS_BURST, _LINKS_PER_SECOND)
        self._ends = RateLimit(_ENDS_BURST, _ENDS_PER_SECOND)
        self._worker_reports = RateLimit(_LEASES_BURST, _LEASES_PER_SECOND)
        self._worker_ends = RateLimit(_LEASES_BURST, _LEASES_PER_SECOND)
        self._leases = RateLimit(_LEASES_BURST, _LEASES_PER_SECOND)

    def application(self) -> web.Application:
        """Return the web application."""
        application = web.Application(client_max_size=_BODY_LIMIT, middlewares=[_problems, self._bounded])
        application.router.add_post(DESK_PROGRESS_PATH, self.progress)
        application.router.add_post(DESK_LINKS_PATH, self.links)
        application.router.add_post(DESK_FINISHED_PATH, self.finished)
        application.router.add_post(DESK_LEASE_PATH, self.lease)
        return application

    async def progress(self, request: web.Request) -> web.Response:
        """Record the progress of a stage; respond with 204."""
        caller, separation, progress = await self._caller(request, Progress, self._reports, self._worker_reports)
        _check_stage(progress.stage, caller)
        record = ProgressRecord(
            uid=separation.uid,
            run=caller.job.run,
            stage=progress.stage,
            attempt=caller.job.attempt,
            sequence=progress.sequence,
            progress=overall_progress(progress.stage, progress.fraction),
            step=progress.step,
            at=time.time(),
            step_progress=(
                None if progress.step_fraction is None else overall_progress(progress.stage, progress.step_fraction)
            ),
            step_seconds=progress.step_seconds,
        )
        await self._progress.report(separation.track_id, record)
        return web.Response(status=204)

    async def finished(self, request: web.Request) -> web.Response:
        """Take note that a stage's commit mark is written, to be verified at once; respond with 204.

        Only the leader acts. Another replica refuses with 503 and closes the connection: the next may reach the leader.
        """
        caller, separation, finished = await self._caller(request, Finished, self._ends, self._worker_ends)
        _check_stage(finished.stage, caller)
        authorized_mark(finished.mark, caller, separation, self._settings)
        if not self._is_leading():
            return _not_leading()
        self._finished.report(separation.uid, caller.job.uid, finished.mark)
        return web.Response(status=204)

    async def lease(self, request: web.Request) -> web.Response:
        """Record the ends of songs that a worker reports, and lease it the next: 200, or 204 if there is none.

        Only the leader leases; as `finished`.
        """
        caller = await self._pod(request, self._leases)
        if not caller.job.shape:
            raise DeskError(403, FailureCode.LINK_REFUSED, "Refused: the pod is not one of a worker.")
        body = await _body(request, LeaseRequest)
        if not self._is_leading():
            return _not_leading()
        song = await self._leasing.answer(caller, body, lambda: is_connected(request))
        if song is None:
            return web.Response(status=204)
        return web.Response(text=song.dump(), content_type="application/json")

    async def links(self, request: web.Request) -> web.Response:
        """Sign links for files that the caller's stage may read or write, and for no others."""
        caller, separation, requested = await self._caller(request, LinksRequest, self._link_requests)
        grants = [authorize(file, caller, separation, self._settings) for file in requested.files]
        await self._check_installation(separation, [grant.key for grant in grants])
        links = await asyncio.to_thread(
            lambda: [self._link(file, grant, separation) for file, grant in zip(requested.files, grants, strict=True)]
        )
        return web.Response(text=Links(links=links).dump(), content_type="application/json")

    async def _check_installation(self, separation: Separation, keys: list[str]) -> None:
        """Refuse an object of another installation in the same bucket, even below an allowed prefix."""
        given = separation.spec.source.object
        if given is None or given.key not in keys:
            return
        installation = installation_of(given.key)
        if await self._objects.size(owner_key(installation)) is not None:
            raise DeskError(
                403, FailureCode.LINK_REFUSED, f"Refused: the object belongs to installation {installation}."
            )

    def _link(self, file: LinkRequest, grant: Grant, separation: Separation) -> Link:
        headers = upload_headers(file, grant, separation) if file.method == "PUT" else {}
        if headers:
            url = self._objects.write_link(grant.key, DESK_LINK_SECONDS, headers)
        else:
            url = self._objects.read_link(grant.key, DESK_LINK_SECONDS)
        return Link(file=file.file, method=file.method, key=grant.key, url=url, headers=headers)

    async def _caller(
        self, request: web.Request, kind: type[SongRequest], limit: RateLimit, of_workers: RateLimit | None = None
    ) -> tuple[Caller, Separation, SongRequest]:
        """Return the caller, its SeparationJob and the body; a worker's body names one whose lease it holds."""
        caller = await self._pod(request, limit, of_workers)
        if not caller.job.shape:
            separation = await self._authenticator.authorized_separation(caller)
            return caller, separation, await _body(request, kind)
        body = await _body(request, kind)
        holder, separation = await self._authenticator.leased_separation(caller, body.separation)
        return holder, separation, body

    async def _pod(self, request: web.Request, limit: RateLimit, of_workers: RateLimit | None = None) -> Caller:
        """Return the calling pod; `of_workers` is the limit of workers, which have many songs, if it differs."""
        header = request.headers.get("Authorization", "")
        token = header.removeprefix(_BEARER).strip() if header.startswith(_BEARER) else ""
        caller = await self._authenticator.authenticate(token, request.remote or "")
        limit = of_workers if of_workers is not None and caller.job.shape else limit
        if not limit.take(caller.pod_uid):
            raise DeskError(429, FailureCode.RATE_LIMITED, "This pod sends too many requests.", limit.seconds)
        return caller

    @web.middleware
    async def _bounded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests while too many are being served."""
        if self._in_flight >= _IN_FLIGHT:
            raise DeskError(503, FailureCode.UNAVAILABLE, "The desk is busy; try again.", _BUSY_SECONDS)
        self._in_flight += 1
        try:
            return await handler(request)
        finally:
            self._in_flight -= 1


def is_connected(request: web.Request) -> bool:
    """Return whether whoever sent a request still waits for the response; aiohttp ends no handler when they leave."""
    return request.transport is not None and not request.transport.is_closing()


def _not_leading() -> web.Response:
    """Refuse what only the leader does; the next connection may reach it."""
    response = _problem(503, FailureCode.UNAVAILABLE, "This replica does not lead.")
    response.force_close()
    return response


def _check_stage(stage: WorkStage, caller: Caller) -> None:
    if stage is not caller.job.stage:
        raise DeskError(422, FailureCode.INVALID_REQUEST, f"This pod's stage is {caller.job.stage}.")


async def _body(request: web.Request, kind: type[Body]) -> Body:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            content = await request.read()
    except TimeoutError:
        sentence = FAILURES[FailureCode.REQUEST_TIMEOUT].sentence
        raise DeskError(408, FailureCode.REQUEST_TIMEOUT, sentence) from None
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise DeskError(422, FailureCode.INVALID_REQUEST, "; ".join(error_lines(error))) from error


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except DeskError as error:
        return _problem(error.status, error.response_code, str(error), error.retry_after)
    except OperatorError as error:
        log.warning("desk request failed: %s", error)
        return _problem(503, FailureCode.UNAVAILABLE, FAILURES[FailureCode.UNAVAILABLE].sentence)
    except web.HTTPRequestEntityTooLarge:
        return _problem(413, FailureCode.REQUEST_TOO_LARGE, f"The body may have at most {_BODY_LIMIT} bytes.")
    except web.HTTPMethodNotAllowed:
        return _problem(405, FailureCode.METHOD_NOT_ALLOWED, FAILURES[FailureCode.METHOD_NOT_ALLOWED].sentence)
    except web.HTTPNotFound:
        return _problem(404, FailureCode.NOT_FOUND, FAILURES[FailureCode.NOT_FOUND].sentence)
    return response


def _problem(status: int, code: FailureCode, detail: str, retry_after: float = 0) -> web.Response:
    body = {
        "type": "about:blank",
        "title": FAILURES[code].sentence,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": FAILURES[code].retryable,
    }
    headers = {"Retry-After": f"{retry_after:g}"} if retry_after else {}
    return web.json_response(body, status=status, headers=headers, content_type="application/problem+json")
