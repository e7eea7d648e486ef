"""The OpenAPI document, and the page that shows it. Neither needs a key."""

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from stemyard_api.schemas.documentation import CONTENT_SECURITY_POLICY, documentation_page

router = APIRouter()


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """The OpenAPI document; its server is the address that the client used, so that generated clients have it."""
    state = request.app.state
    if not hasattr(state, "openapi"):
        state.openapi = _without_servers(request.app)
    servers = [{"url": str(request.base_url).rstrip("/")}]
    content = b'{"servers":%b,%b' % (bytes(JSONResponse(servers).body), state.openapi)
    return Response(content, media_type="application/json")


def _without_servers(app: FastAPI) -> bytes:
    """Return the document as JSON after its opening brace: anybody may ask for it, and it takes 17 ms to write."""
    document = {name: value for name, value in app.openapi().items() if name != "servers"}
    return bytes(JSONResponse(document).body)[1:]


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The OpenAPI document for people."""
    state = request.app.state
    if not hasattr(state, "documentation"):
        state.documentation = documentation_page(request.app.openapi())
    return HTMLResponse(state.documentation, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})
