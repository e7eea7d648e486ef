"""The OpenAPI document, and the page that shows it. Neither needs a key."""

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse

from stemyard_api.schemas.documentation import CONTENT_SECURITY_POLICY, documentation_page

router = APIRouter()


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document; its server is the address that the client used, so that generated clients have it."""
    app: FastAPI = request.app
    return JSONResponse({**app.openapi(), "servers": [{"url": str(request.base_url).rstrip("/")}]})


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The OpenAPI document for people."""
    state = request.app.state
    if not hasattr(state, "documentation"):
        state.documentation = documentation_page(request.app.openapi())
    return HTMLResponse(state.documentation, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})
