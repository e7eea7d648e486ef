"""Messages of a Redis subscription, read in batches."""

import asyncio
import math
from typing import Final

from redis.asyncio.client import PubSub

TIMEOUT_SECONDS: Final = 0.5
"""Timeout of a Redis call. The SeparationJob is read instead, so waiting longer gains nothing."""
_LISTEN_SECONDS: Final = 10.0
_MESSAGES: Final = 500


async def receive_batch(pubsub: PubSub) -> list[tuple[bytes, bytes]]:
    """Return kind and data of the next message and those received with it; none after a timeout."""
    first = await pubsub.get_message(timeout=_LISTEN_SECONDS)
    messages = [] if first is None else [(str(first["type"]).encode(), first["data"])]
    connection = pubsub.connection
    # one timer for all messages and no retries: per message both would cost more than the message
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while len(messages) < _MESSAGES and connection is not None and await connection.can_read():
            kind, *_, data = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            messages.append((kind, data))
    return messages
