"""Checks of an installation from outside: API, key, object store and its CORS rules."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import httpx

from stemyard_cli.configuration import Configuration
from stemyard_cli.findings import Finding, Verdict
from stemyard_client import ApiError, AuthenticationError, Client, Retries, StemyardError

_TIMEOUT: Final = httpx.Timeout(10.0)
_ONCE: Final = Retries(attempts=1)
_PROBE: Final = {"filename": "doctor.mp3", "size": 1, "content_type": "audio/mpeg"}


def check_service(settings: Configuration) -> Iterator[Finding]:
    """Yield a finding for each check; those that need what has failed are left out."""
    try:
        with Client(settings.url, settings.key or None, retries=_ONCE) as client:
            yield _health(client, settings)
            key = _key(client)
            yield key
    except StemyardError as error:
        yield Finding("API", Verdict.FAILED, str(error), "Compare the URL with that of the Ingress or Service.")
        return
    if key.verdict is Verdict.OK:
        yield from _store(settings)


def _health(client: Client, settings: Configuration) -> Finding:
    health = client.health()
    down = _down(health.services)
    if down:
        advice = "Look at the API's log and at the named services; `GET /health` shows their state."
        return Finding("API", Verdict.WARNING, f"{settings.url} answers, but {', '.join(down)} does not", advice)
    return Finding("API", Verdict.OK, f"{settings.url}, version {health.version or 'unknown'}")


def _down(services: dict[str, bool]) -> list[str]:
    """Return the configured backends that do not respond."""
    names = [name.removesuffix("_operational") for name, up in services.items() if not up]
    return [name for name in names if f"{name}_operational" in services and services.get(f"{name}_configured", True)]


def _key(client: Client) -> Finding:
    try:
        key = client.capabilities().key
    except AuthenticationError as error:
        return Finding("key", Verdict.FAILED, str(error), "Store a valid key with `stemyard login`.")
    missing = {"submit", "read"} - set(key.scopes)
    if missing:
        detail = f"{key.id} lacks the scope {', '.join(sorted(missing))}"
        return Finding("key", Verdict.WARNING, detail, "Ask for a key with the scopes submit and read.")
    return Finding("key", Verdict.OK, f"{key.id}: {', '.join(key.scopes)}")


def _store(settings: Configuration) -> Iterator[Finding]:
    """Ask for a link to upload one byte, which is not sent, and try the store that it leads to."""
    headers = {"X-API-Key": settings.key}
    with httpx.Client(timeout=_TIMEOUT) as http:
        try:
            slot = http.post(f"{settings.url}/uploads", json=_PROBE, headers=headers)
            if slot.status_code != httpx.codes.OK:
                yield Finding("store", Verdict.SKIPPED, f"the API gives no link to it ({slot.status_code})")
                return
            link = str(slot.json()["url"])
        except (httpx.HTTPError, ApiError, KeyError, ValueError) as error:
            yield Finding("store", Verdict.SKIPPED, f"the API gives no link to it ({type(error).__name__})")
            return
        parts = urlsplit(link)
        place = f"{parts.scheme}://{parts.netloc}"
        try:
            http.get(place)
        except httpx.HTTPError as error:
            advice = "Links must lead to an address that clients reach: set objectStore.publicEndpoint of the chart."
            yield Finding("store", Verdict.FAILED, f"{place} cannot be reached: {error}", advice)
            return
        yield Finding("store", Verdict.OK, f"{place} can be reached from here")
        yield _cors(http, link, settings.url)


def _cors(http: httpx.Client, link: str, api: str) -> Finding:
    parts = urlsplit(api)
    origin = f"{parts.scheme}://{parts.netloc}"
    asked = {"Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    try:
        answer = http.options(link, headers=asked)
    except httpx.HTTPError as error:
        return Finding("CORS", Verdict.WARNING, f"the store does not answer a preflight: {error}")
    if answer.headers.get("access-control-allow-origin") in {"*", origin}:
        return Finding("CORS", Verdict.OK, f"pages of {origin} may use the store")
    advice = f"For the web page, run `stemyard-operator bucket-rules --origin {origin}` in the operator's pod."
    return Finding("CORS", Verdict.WARNING, f"pages of {origin} may not upload to the store", advice)
