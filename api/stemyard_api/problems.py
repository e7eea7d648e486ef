"""Turns every error into problem+json (RFC 9457) without leaking internals."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from stemyard_api.asgi import REQUEST_ID
from stemyard_api.errors import (
    PROBLEM_TYPE,
    ApiError,
    FieldError,
    InvalidRequestError,
    problem,
    problem_document,
)
from stemyard_contract.failures import FAILURES, FailureCode

_NOT_JSON: Final = "must be valid JSON in UTF-8, not too deeply nested"
_PLACES: Final = frozenset({"body", "query", "path", "header"})
_CODES: Final = {
    404: FailureCode.NOT_FOUND,
    405: FailureCode.METHOD_NOT_ALLOWED,
    413: FailureCode.REQUEST_TOO_LARGE,
}


def problem_response(error: ApiError, scope: Scope) -> Response:
    """Return the response that tells of an error."""
    document = problem(error, scope.get(REQUEST_ID))
    return Response(json.dumps(document), error.status, error.headers, PROBLEM_TYPE)


def register(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Let the app answer its errors as problems; of its routes, 405 tells the methods."""

    @app.exception_handler(ApiError)
    async def _api_error(request: Request, error: ApiError) -> Response:
        return problem_response(error, request.scope)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return problem_response(invalid_request(error.errors()), request.scope)

    @app.exception_handler(HTTPException)
    async def _http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # FastAPI's word for a body that it could not even parse
            return problem_response(InvalidRequestError.for_field("body", _NOT_JSON), request.scope)
        code = _CODES.get(error.status_code, FailureCode.INTERNAL)
        document = problem_document(code, error.status_code, FAILURES[code].sentence, request.scope.get(REQUEST_ID))
        headers = (
            {"Allow": _methods(routes, request.scope)} if code is FailureCode.METHOD_NOT_ALLOWED else error.headers
        )
        return Response(json.dumps(document), error.status_code, headers, PROBLEM_TYPE)


def _methods(routes: Sequence[BaseRoute], scope: Scope) -> str:
    """Return every method of the address; the router itself names only those of the first route it finds."""
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return ", ".join(sorted(found))


def invalid_request(errors: Sequence[Any]) -> InvalidRequestError:
    """Return the error for what validation found; it names fields and never repeats their values."""
    fields = [FieldError(_field(item["loc"]), _message(item)) for item in errors]
    return InvalidRequestError("; ".join(f"{item.field}: {item.message}" for item in fields), fields)


def _field(location: Sequence[object]) -> str:
    path = [str(part) for part in (location[1:] if location and location[0] in _PLACES else location)]
    return ".".join(path) if path and not path[0].isdigit() else "body"


def _message(item: dict[str, Any]) -> str:
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    if item["type"] == "json_invalid":
        return _NOT_JSON
    if item["type"] in {"model_attributes_type", "missing"} and item["loc"] == ("body",):
        return "must be a JSON object, sent with Content-Type: application/json"
    return str(item["msg"])
