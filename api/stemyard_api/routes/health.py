"""Health endpoints: configuration and backend states, probed in the background."""

import time

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from stemyard_api.observability.metrics import CONTENT_TYPE, Metrics
from stemyard_api.observability.probes import Prober, health_report
from stemyard_api.schemas.responses import Health

router = APIRouter(tags=["health"])


@router.get("/health", summary="How the service is", responses={200: {"model": Health}})
async def health(request: Request) -> JSONResponse:
    """Health of the service and its parts. Always 200; needs no key."""
    services = request.app.state.services
    return JSONResponse(health_report(services.settings, services.prober, time.time(), services.limiter.kv_counts))


@router.get("/livez", summary="Whether the process runs", include_in_schema=False)
async def livez() -> JSONResponse:
    """Liveness: the event loop answers."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", summary="Whether requests can be served", include_in_schema=False)
async def readyz(request: Request) -> JSONResponse:
    """Readiness: the mirror or the API server answers; with either, states can be read."""
    prober: Prober = request.app.state.services.prober
    ready = prober.redis.operational or prober.kubernetes.operational
    return JSONResponse({"status": "ok" if ready else "unavailable"}, 200 if ready else 503)


@router.get("/metrics", summary="What the process did", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Prometheus metrics; they hold no word of any client."""
    found: Metrics = request.app.state.services.metrics
    return Response(found.text(), headers={"Content-Type": CONTENT_TYPE})
