"""Object reader: objects of the bucket in parts, for a bounded number of downloads at once."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from stemyard_api.clients.s3 import ObjectStoreUnavailableError, connect
from stemyard_api.errors import UnavailableError
from stemyard_api.settings import Settings
from stemyard_contract.credential_renewal import RenewedKeys

if TYPE_CHECKING:
    from botocore.response import StreamingBody

_Result = TypeVar("_Result")
_THREADS: Final = 4
"""A thread is needed while a part is read from the store, not while it is sent to the client."""


class TooManyDownloadsError(UnavailableError):
    """This process sends as many downloads as it may."""

    def __init__(self) -> None:
        super().__init__("Too many downloads at once; try again shortly.")


class ObjectMissingError(Exception):
    """There is no such object."""


class ObjectReader:
    """Reads objects. Every method raises ObjectStoreUnavailableError if the store does not respond."""

    def __init__(self, settings: Settings, keys: RenewedKeys | None = None) -> None:
        self._bucket = settings.r2_bucket
        self._client = connect(settings, settings.store_endpoint, keys, settings.max_downloads)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="downloads")
        self._free = settings.max_downloads

    @contextmanager
    def download(self) -> Iterator[None]:
        """Count a download while the context is open.

        Raises:
            TooManyDownloadsError: as many are under way as may be.
        """
        if self._free == 0:
            raise TooManyDownloadsError
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def open(self, key: str) -> "ObjectBody":
        """Open an object.

        Raises:
            ObjectMissingError: there is none with this key.
        """

        def get() -> ObjectBody:
            found = self._client.get_object(Bucket=self._bucket, Key=key)
            return ObjectBody(self, found["Body"], found["ContentLength"])

        return await self.call(get)

    async def call(self, read: Callable[[], _Result]) -> _Result:
        """Run a call to the store in a thread, and translate its errors."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, read)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                raise ObjectMissingError from error
            raise ObjectStoreUnavailableError from error
        except BotoCoreError as error:
            raise ObjectStoreUnavailableError from error

    def close(self) -> None:
        """Close threads and connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()


class ObjectBody:
    """The content of one object, read from its beginning."""

    def __init__(self, reader: ObjectReader, body: "StreamingBody", size: int) -> None:
        self._reader, self._body = reader, body
        self.size = size
        """Bytes."""

    async def read(self, size: int) -> bytes:
        """Return the next bytes, none at the end. An object that ends early is an error of the store."""
        return await self._reader.call(lambda: self._body.read(size))

    def close(self) -> None:
        """Close the connection to the store if the object was not read to its end."""
        self._body.close()
