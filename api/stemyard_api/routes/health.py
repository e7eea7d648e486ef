"""Health endpoints: configuration and backend states, probed in the background; metrics on a port of their own."""

import time
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.routing import Route

from stemyard_api.observability.metrics import CONTENT_TYPE, Metrics
from stemyard_api.observability.probes import Prober, health_report
from stemyard_api.schemas.responses import Health

router = APIRouter(tags=["health"])


@router.get(
    "/health",
    operation_id="getHealth",
    summary="Get the service's health",
    responses={200: {"model": Health}},
)
async def health(request: Request) -> JSONResponse:
    """Health of the service and its backends. Always 200; needs no key."""
    services = request.app.state.services
    return JSONResponse(health_report(services.settings, services.prober, time.time(), services.limiter.kv_counts))


@router.get("/livez", summary="Liveness", include_in_schema=False)
async def livez(request: Request) -> JSONResponse:
    """Liveness: the event loop answers."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", summary="Readiness", include_in_schema=False)
async def readyz(request: Request) -> JSONResponse:
    """Readiness: the mirror or the API server responds; either is enough to read states."""
    prober: Prober = request.app.state.services.prober
    ready = prober.redis.operational or prober.kubernetes.operational
    return JSONResponse({"status": "ok" if ready else "unavailable"}, 200 if ready else 503)


async def metrics(request: Request) -> Response:
    """Prometheus metrics; they contain no client data."""
    process_metrics: Metrics = request.app.state.services.metrics
    return Response(process_metrics.text(), headers={"Content-Type": CONTENT_TYPE})


HEALTH_PORT_ROUTES: Final = (Route("/metrics", metrics), Route("/livez", livez), Route("/readyz", readyz))
"""Routes of the port that no Ingress routes."""
