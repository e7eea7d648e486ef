"""Turns every error into problem+json (RFC 9457) without leaking internals."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
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

_NOT_JSON: Final = "must be valid JSON in UTF-8, not too deeply nested, with every name once in an object"
_PLACES: Final = frozenset({"body", "query", "path", "header"})
_MEMBER: Final = re.compile(r"<\w+\.\w+: ('[^']*')>")
"""A member of an enumeration as pydantic writes it where a type names members; clients know values only."""
_CODES: Final = {
    404: FailureCode.NOT_FOUND,
    413: FailureCode.REQUEST_TOO_LARGE,
}


def problem_response(error: ApiError, scope: Scope) -> Response:
    """Return the response for an error."""
    document = problem(error, scope.get(REQUEST_ID))
    return Response(json.dumps(document), error.status, error.headers, PROBLEM_TYPE)


def method_not_allowed_response(scope: Scope, methods: str) -> Response:
    """Return the response for a method that a path does not take, and the methods that it takes: `GET, HEAD`."""
    code = FailureCode.METHOD_NOT_ALLOWED
    return _code_response(code, HTTPStatus.METHOD_NOT_ALLOWED, scope, {"Allow": methods})


def _code_response(code: FailureCode, status: int, scope: Scope, headers: Mapping[str, str] | None) -> Response:
    document = problem_document(code, status, FAILURES[code].sentence, scope.get(REQUEST_ID))
    return Response(json.dumps(document), status, headers, PROBLEM_TYPE)


def register(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Make the app respond to errors with problem documents; 405 lists the methods of its routes.

    Call it before the routes are included.
    """
    app.router.routes.extend(_refusals(routes))

    @app.exception_handler(ApiError)
    async def _api_error(request: Request, error: ApiError) -> Response:
        return problem_response(error, request.scope)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return problem_response(invalid_request(error.errors()), request.scope)

    @app.exception_handler(HTTPException)
    async def _http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # FastAPI's error for a body that it cannot parse
            return problem_response(InvalidRequestError.for_field("body", _NOT_JSON), request.scope)
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            return method_not_allowed_response(request.scope, _methods(routes, request.scope))
        code = _CODES.get(error.status_code, FailureCode.INTERNAL)
        return _code_response(code, error.status_code, request.scope, error.headers)


def _refusals(routes: Sequence[BaseRoute]) -> Iterator[Route]:
    """Yield routes that refuse, for each path without a parameter, methods that it does not take.

    Without them a route whose parameter matches the path would take it for an id, and respond with 404 or 422.
    """
    known = [route for route in routes if isinstance(route, Route)]
    for path in dict.fromkeys(route.path for route in known if "{" not in route.path):
        methods: set[str] = set().union(*(route.methods or () for route in known if route.path == path))
        similar = [route for route in known if "{" in route.path and route.path_regex.match(path)]
        others = set().union(*(route.methods or () for route in similar)) - methods
        if others:
            yield Route(path, _refuse, methods=sorted(others), include_in_schema=False)


async def _refuse(_request: Request) -> Response:
    raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)


def _methods(routes: Sequence[BaseRoute], scope: Scope) -> str:
    """Return all methods of the path; the router lists only those of the first matching route.

    A path without a parameter precedes one with (OpenAPI 3.1, Paths Object): `/uploads/multipart` is no upload's id.
    """
    matching = [route for route in routes if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE]
    exact = [route for route in matching if route.path == scope["path"]]
    methods: set[str] = set().union(*(route.methods or set() for route in exact or matching))
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))


def invalid_request(errors: Sequence[Any]) -> InvalidRequestError:
    """Return the error for validation errors; it names fields and never repeats their values."""
    fields = [FieldError(_field(item["loc"]), _message(item)) for item in errors]
    return InvalidRequestError("; ".join(f"{item.field}: {item.message}" for item in fields), fields)


def _field(location: Sequence[object]) -> str:
    path = [_printable(part) for part in (location[1:] if location and location[0] in _PLACES else location)]
    return ".".join(path) if path and not path[0].isdigit() else "body"


def _printable(part: object) -> str:
    """Return a part of a field's path; JSON can express names that UTF-8 cannot."""
    return str(part).encode("utf-8", "backslashreplace").decode()


def _message(item: dict[str, Any]) -> str:
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    if item["type"] == "json_invalid":
        return _NOT_JSON
    if item["type"] in {"model_attributes_type", "missing"} and item["loc"] == ("body",):
        return "must be a JSON object, sent with Content-Type: application/json"
    if item["type"] == "literal_error":
        return _MEMBER.sub(r"\1", item["msg"])
    return str(item["msg"])
