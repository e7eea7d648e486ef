"""`python -m stemyard_operator.remirror` makes the mirror anew from the SeparationJobs, beside a running operator.

    kubectl exec deploy/stemyard-operator -- python -m stemyard_operator.remirror

What the leader writes meanwhile is newer, and wins.
"""

import asyncio
import logging
import sys
from contextlib import AsyncExitStack

from pydantic import ValidationError

from stemyard_contract.mirror import record_of
from stemyard_operator import logs
from stemyard_operator.clients.kubernetes import KubernetesClient, separations_path
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.config.settings import load_settings
from stemyard_operator.errors import ConfigurationError, OperatorError

log = logging.getLogger(__name__)


async def remirror(cluster: KubernetesClient, mirror: RedisClient, namespaces: tuple[str, ...]) -> int:
    """Clear the mirror, then write a record of every SeparationJob; return how many.

    Raises:
        ClusterError, MirrorError: one of them does not answer; the running operator makes up for what is missing.
    """
    await mirror.clear()
    written = 0
    for namespace in namespaces:
        async for page in cluster.pages(separations_path(namespace)):
            for resource in page:
                try:
                    record = record_of(resource)
                except ValidationError as error:
                    log.warning("left out, its form is unknown: %s", error, extra={"uid": resource["metadata"]["uid"]})
                    continue
                written += await mirror.put(record)
    return written


async def _run() -> None:
    settings = load_settings()
    async with AsyncExitStack() as stack:
        cluster = await KubernetesClient.connect()
        stack.push_async_callback(cluster.close)
        mirror = RedisClient(settings.redis_url, settings.stemyard_install_id)
        stack.push_async_callback(mirror.close)
        if not mirror.enabled:
            raise ConfigurationError("there is no mirror to rebuild: REDIS_URL is not set")
        written = await remirror(cluster, mirror, settings.namespaces)
        log.info("the mirror is rebuilt", extra={"records": written})


def main() -> int:
    """Rebuild; return the exit code."""
    logs.configure()
    try:
        asyncio.run(_run())
    except OperatorError as error:
        log.critical("the mirror is not rebuilt: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
