"""The client for asyncio."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from stemyard_client import uploads
from stemyard_client.async_driver import AsyncDriver
from stemyard_client.downloads import download
from stemyard_client.errors import SeparationFailedError
from stemyard_client.following import follow
from stemyard_client.models import (
    Cancelled,
    Candidate,
    Capabilities,
    Deleted,
    Deliveries,
    Delivery,
    Health,
    Job,
    RegisteredWebhook,
    Share,
    Usage,
    WebhookWithSecret,
)
from stemyard_client.operations import Operations
from stemyard_client.options import Filters, Options, WebhookChanges
from stemyard_client.retries import Retries
from stemyard_client.transport import Address, source_of
from stemyard_client.uploads import OnBegin, OnBytes, ignore_begin, ignore_progress


class AsyncClient:
    """A connection to one installation; use it with `async with`, by several tasks at once if need be.

    Args:
        url: address of the API, such as `https://stems.example.org`.
        key: the API key; None for what needs none.
        retries: how requests are repeated after errors that may pass.

    Raises:
        AddressError: URL or key are invalid.
    """

    def __init__(self, url: str, key: str | None = None, *, retries: Retries | None = None) -> None:
        self._driver = AsyncDriver(Address.of(url, key))
        self._operations = Operations(retries or Retries())

    @classmethod
    def from_environment(cls) -> Self:
        """Return a client by STEMYARD_URL and STEMYARD_API_KEY.

        Raises:
            AddressError: they are not set or invalid.
        """
        return cls(os.environ.get("STEMYARD_URL", ""), os.environ.get("STEMYARD_API_KEY"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._driver.close()

    async def separate(
        self,
        source: str | Path | None = None,
        *,
        query: str | None = None,
        path: Path | None = None,
        url: str | None = None,
        upload_id: str | None = None,
        object_key: str | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[Options],
    ) -> "AsyncSeparation":
        """Request a separation; the result may exist already.

        Args:
            source: a Path is a file, which is uploaded; text that begins with http:// or https:// is a URL; other
                text is a search. Instead of it, one of the next five.
            query: words to search a recording by.
            path: a file of this machine.
            url: address of a media file or of a video page.
            upload_id: what `upload` returned.
            object_key: key of an object in the installation's bucket.
            idempotency_key: the same for each repetition of this request by you; repetitions by this client have one.
            **options: see `Options`.

        Raises:
            ValueError: there is not exactly one source.
            StemyardError: the request, or the upload, was refused.
        """
        fields, file = source_of(source, query, path, url, {"upload_id": upload_id, "object": object_key})
        job = await self._driver.run(self._operations.separate(fields, file, options, idempotency_key))
        return AsyncSeparation(self, job)

    async def separation(self, track_id: str) -> "AsyncSeparation":
        """Return a separation by its id, with its current state."""
        return AsyncSeparation(self, await self.job(track_id))

    async def job(self, track_id: str) -> Job:
        """Return the state of a track."""
        return await self._driver.run(self._operations.job(track_id))

    def jobs(self, most: int | None = None, **filters: Unpack[Filters]) -> AsyncIterator[Job]:
        """Yield tracks, newest first, page by page; `most` limits their number."""
        return self._driver.iterate(self._operations.jobs(filters, most))

    def follow(self, track_id: str, timeout_seconds: float | None = None) -> AsyncIterator[Job]:
        """Yield each change of a track; the last has ended.

        Args:
            track_id: the track.
            timeout_seconds: longest time; None for as long as it takes.

        Raises:
            WaitTimeoutError: it has not ended in time.
        """
        return self._driver.iterate(follow(self._operations, track_id, timeout_seconds))

    async def upload(
        self,
        path: Path,
        *,
        upload_id: str | None = None,
        on_begin: OnBegin = ignore_begin,
        on_bytes: OnBytes = ignore_progress,
    ) -> str:
        """Upload a file, a large one in parts; return its upload id.

        Args:
            path: the file.
            upload_id: an earlier upload of this file, to be continued or, if it is complete, used again.
            on_begin: called with the id of an upload that is begun, to continue it after an interruption.
            on_bytes: called with the bytes that were sent, and the size.
        """
        retries = self._operations.retries
        operation = uploads.upload(path, retries, upload_id=upload_id, on_begin=on_begin, on_bytes=on_bytes)
        return await self._driver.run(operation)

    async def download(
        self,
        track_id: str,
        folder: Path,
        stems: Sequence[str] | None = None,
        *,
        overwrite: bool = False,
        on_bytes: OnBytes = ignore_progress,
    ) -> dict[str, Path]:
        """Download stems of a completed track to a folder; return the file of each.

        An interrupted download is continued. A file of the same name and content counts as downloaded.
        """
        return await self._driver.run(
            download(self._operations, track_id, folder, stems, overwrite=overwrite, on_bytes=on_bytes)
        )

    async def cancel(self, track_id: str) -> Cancelled:
        """Give up this key's claim; the track is cancelled if it was the last."""
        return await self._driver.run(self._operations.cancel(track_id))

    async def retry(self, track_id: str) -> Job:
        """Run a failed or cancelled track again."""
        return await self._driver.run(self._operations.retry(track_id))

    async def delete(self, track_id: str) -> Deleted:
        """Give up this key's claim; the track and its files are deleted if it was the last."""
        return await self._driver.run(self._operations.delete(track_id))

    async def share(self, track_id: str, expires_in: int | None = None) -> Share:
        """Create a link to a completed track that needs no key; `expires_in` is in seconds, 7 days by default."""
        return await self._driver.run(self._operations.share(track_id, expires_in))

    async def revoke_shares(self, track_id: str) -> None:
        """End all share links of a track."""
        await self._driver.run(self._operations.revoke_shares(track_id))

    async def candidates(self, track_id: str) -> list[Candidate]:
        """Return the results of a track's search, best first."""
        return (await self._driver.run(self._operations.candidates(track_id))).candidates

    async def deliveries(self, track_id: str) -> Deliveries:
        """Return the webhooks of a track's last run and the attempts at them."""
        return await self._driver.run(self._operations.deliveries(track_id))

    async def redeliver(self, track_id: str, webhook_id: str = "all") -> list[str]:
        """Have webhooks of a track delivered again; return their ids."""
        return await self._driver.run(self._operations.redeliver(track_id, webhook_id))

    async def test_webhook(self, **target: str) -> Delivery | None:
        """Send a test webhook: to `track_id`'s webhook, or with the scope admin to `url`, signed for `key`."""
        return await self._driver.run(self._operations.test_webhook(target))

    async def register_webhook(
        self,
        url: str,
        *,
        events: Sequence[str] | None = None,
        description: str | None = None,
        idempotency_key: str | None = None,
    ) -> WebhookWithSecret:
        """Register a webhook for all tracks of this key; its secret is returned this once.

        Args:
            url: where to send to: https, at a public address.
            events: what to send; by default the three that end a run.
            description: what it is for.
            idempotency_key: the same for each repetition of this request by you, within a day.
        """
        body = {"url": url, "events": list(events) if events is not None else None, "description": description}
        return await self._driver.run(self._operations.register_webhook(body, idempotency_key))

    async def webhooks(self) -> list[RegisteredWebhook]:
        """Return the webhooks that this key has registered, the oldest first."""
        return (await self._driver.run(self._operations.webhooks())).webhooks

    async def change_webhook(self, webhook_id: str, **changes: Unpack[WebhookChanges]) -> RegisteredWebhook:
        """Change a registered webhook; its secret stays the same."""
        return await self._driver.run(self._operations.change_webhook(webhook_id, changes))

    async def rotate_webhook_secret(
        self, webhook_id: str, previous_valid_seconds: int | None = None
    ) -> WebhookWithSecret:
        """Give a registered webhook a new secret, which is returned this once.

        The one so far signs as well for `previous_valid_seconds`, by default for a day; 0 ends it now.
        """
        return await self._driver.run(self._operations.rotate_webhook_secret(webhook_id, previous_valid_seconds))

    async def remove_webhook(self, webhook_id: str) -> None:
        """Delete a registered webhook; nothing is sent to it any more."""
        await self._driver.run(self._operations.remove_webhook(webhook_id))

    async def test_registered_webhook(self, webhook_id: str) -> Delivery | None:
        """Send a test to a registered webhook; return its delivery, None if it has not been sent yet."""
        return await self._driver.run(self._operations.test_registered_webhook(webhook_id))

    async def usage(self, created_after: float | None = None, created_before: float | None = None) -> Usage:
        """Return usage by key of tracks created between two times; needs the scope admin."""
        return await self._driver.run(self._operations.usage(created_after, created_before))

    async def capabilities(self) -> Capabilities:
        """Return what the installation offers to this key."""
        return await self._driver.run(self._operations.capabilities())

    async def health(self) -> Health:
        """Return the health of the service; needs no key."""
        return await self._driver.run(self._operations.health())


class AsyncSeparation:
    """A separation and the last state of it that is known."""

    def __init__(self, client: AsyncClient, job: Job) -> None:
        self._client, self.job = client, job

    @property
    def track_id(self) -> str:
        """Id of the track."""
        return self.job.track_id

    async def refresh(self) -> Job:
        """Return its current state."""
        self.job = await self._client.job(self.track_id)
        return self.job

    async def follow(self, timeout_seconds: float | None = None) -> AsyncIterator[Job]:
        """Yield each change, as `AsyncClient.follow` does."""
        async for job in self._client.follow(self.track_id, timeout_seconds):
            self.job = job
            yield job

    async def wait(
        self, timeout_seconds: float | None = None, on_change: Callable[[Job], object] | None = None
    ) -> Self:
        """Wait until it is completed.

        Args:
            timeout_seconds: longest time; None for as long as it takes.
            on_change: called with each change.

        Raises:
            SeparationFailedError: it failed, was cancelled or was deleted.
            WaitTimeoutError: it has not ended in time.
        """
        async for job in self.follow(timeout_seconds):
            if on_change is not None:
                on_change(job)
        if self.job.status != "completed":
            raise SeparationFailedError(self.job)
        return self

    async def download(
        self,
        folder: Path,
        stems: Sequence[str] | None = None,
        *,
        overwrite: bool = False,
        on_bytes: OnBytes = ignore_progress,
    ) -> dict[str, Path]:
        """Download its stems, as `AsyncClient.download` does."""
        return await self._client.download(self.track_id, folder, stems, overwrite=overwrite, on_bytes=on_bytes)

    async def cancel(self) -> Cancelled:
        """Give up this key's claim; it is cancelled if it was the last."""
        return await self._client.cancel(self.track_id)

    async def retry(self) -> Self:
        """Run it again after it failed or was cancelled."""
        self.job = await self._client.retry(self.track_id)
        return self

    async def delete(self) -> Deleted:
        """Give up this key's claim; it is deleted if it was the last."""
        return await self._client.delete(self.track_id)

    async def share(self, expires_in: int | None = None) -> Share:
        """Create a link to it that needs no key."""
        return await self._client.share(self.track_id, expires_in)

    async def candidates(self) -> list[Candidate]:
        """Return the results of its search, best first."""
        return await self._client.candidates(self.track_id)
