"""The baseline: Starlette with one route that returns the bytes of one Redis GET, served with the API's settings."""

import os

import uvicorn
from redis.asyncio import BlockingConnectionPool, Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

redis = Redis.from_pool(BlockingConnectionPool.from_url(os.environ["REDIS_URL"], max_connections=64, timeout=0.5))


async def job(request: Request) -> Response:
    return Response(await redis.get("bare:" + request.path_params["track_id"]), media_type="application/json")


app = Starlette(routes=[Route("/job/{track_id}", job)])

if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
