"""Writes the mirror again from the SeparationJobs, beside a running operator, whose later writes win."""

import logging
from contextlib import AsyncExitStack

from pydantic import ValidationError

from stemyard_contract.mirror import record_of
from stemyard_operator.clients.kubernetes import KubernetesClient, separations_path
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.config.settings import load_settings
from stemyard_operator.errors import ConfigurationError

log = logging.getLogger(__name__)


async def remirror() -> int:
    """Clear the mirror, then write a record of every SeparationJob, with the settings of the environment.

    Returns:
        How many records were written.

    Raises:
        OperatorError: a setting cannot be used, or the API server or Redis does not answer; a running operator then
            writes what is missing.
    """
    settings = load_settings()
    async with AsyncExitStack() as stack:
        cluster = await KubernetesClient.connect()
        stack.push_async_callback(cluster.close)
        mirror = RedisClient(settings.redis_address, settings.stemyard_install_id)
        stack.push_async_callback(mirror.close)
        if not mirror.enabled:
            raise ConfigurationError("there is no mirror to rebuild: REDIS_URL is not set")
        await mirror.clear()
        return sum([await _write(cluster, mirror, namespace) for namespace in settings.namespaces])


async def _write(cluster: KubernetesClient, mirror: RedisClient, namespace: str) -> int:
    written = 0
    async for page in cluster.pages(separations_path(namespace)):
        for resource in page:
            try:
                record = record_of(resource)
            except ValidationError as error:
                uid = resource["metadata"]["uid"]
                log.warning("unknown SeparationJob schema, not mirrored: %s", error, extra={"uid": uid})
                continue
            written += await mirror.put(record)
    return written
