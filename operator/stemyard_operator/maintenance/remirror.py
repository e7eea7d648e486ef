"""Writes the mirror again from the SeparationJobs, beside a running operator, whose later writes win."""

import logging
from contextlib import AsyncExitStack

from pydantic import ValidationError

from stemyard_contract.mirror import MirrorRecord
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.kubernetes_paths import separations_path
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.config.settings import load_settings
from stemyard_operator.errors import ConfigurationError, MirrorError
from stemyard_operator.model.separation import Resource, mirror_record, separation_of

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
            raise ConfigurationError("there is no mirror to rewrite: REDIS_URL is not set")
        for namespace in settings.namespaces:
            # one that cannot be read would lose its records
            await cluster.read(separations_path(namespace), {"limit": "1"})
        await mirror.clear()
        watched, api_namespace = settings.namespaces, settings.api_namespace
        return sum([await _write(cluster, mirror, namespace, api_namespace) for namespace in watched])


async def _write(cluster: KubernetesClient, mirror: RedisClient, namespace: str, api_namespace: str) -> int:
    written = 0
    async for page in cluster.pages(separations_path(namespace)):
        found = (_record(resource, api_namespace) for resource in page)
        for result in await mirror.write([record for record in found if record is not None]):
            if isinstance(result, MirrorError):
                raise result
            written += result
    return written


def _record(resource: Resource, api_namespace: str) -> MirrorRecord | None:
    try:
        typed = separation_of(resource, api_namespace)
    except ValidationError as error:
        uid = resource["metadata"]["uid"]
        log.warning("unknown SeparationJob schema, not mirrored: %s", error, extra={"uid": uid})
        return None
    return mirror_record(resource, typed)
