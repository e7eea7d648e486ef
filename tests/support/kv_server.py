"""A server that speaks the HTTP API of Cloudflare Workers KV, with its limits: one write a second, late reads."""

import json
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.http_server import Exchange, HttpServer

TOKEN = "kv-token"
ACCOUNT = "account7"
NAMESPACE = "namespace7"
ROOT = f"/client/v4/accounts/{ACCOUNT}/storage/kv/namespaces/{NAMESPACE}"


@dataclass
class KvServer:
    """Stores values; readers see writes after `stale_seconds`, and `failing` makes every call a 500."""

    stale_seconds: float = 0.0
    page: int = 1000
    failing: bool = False
    calls: list[tuple[str, str]] = field(default_factory=list)
    peers: set[tuple[str, int]] = field(default_factory=set)
    _writes: dict[str, list[tuple[float, str, float]]] = field(default_factory=dict)

    def serving(self) -> HttpServer:
        return HttpServer(self.route)

    def route(self, exchange: Exchange) -> None:
        parts = urlsplit(exchange.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = exchange.body()
        self.calls.append((exchange.command, parts.path))
        self.peers.add(exchange.client_address)
        if self.failing:
            _answer(exchange, 500, error="internal")
        elif exchange.headers["Authorization"] != f"Bearer {TOKEN}":
            _answer(exchange, 403, error="Authentication error")
        elif not parts.path.startswith(ROOT):
            _answer(exchange, 404, error="namespace not found")
        elif parts.path == f"{ROOT}/keys" and exchange.command == "GET":
            self._list(exchange, query)
        elif parts.path.startswith(f"{ROOT}/values/"):
            key = unquote(parts.path.removeprefix(f"{ROOT}/values/"))
            (self._write if exchange.command == "PUT" else self._read)(exchange, key, query, body)
        else:
            _answer(exchange, 405, error="no such call")

    def _write(self, exchange: Exchange, key: str, query: dict[str, str], body: bytes) -> None:
        life, writes = float(query.get("expiration_ttl", "inf")), self._writes.setdefault(key, [])
        if len(key) > 512 or life < 60:
            _answer(exchange, 400, error="invalid expiration_ttl or key")
        elif writes and time.monotonic() - writes[-1][0] < 1:
            _answer(exchange, 429, error="too many writes to this key")
        else:
            writes.append((time.monotonic(), body.decode(), time.monotonic() + life))
            _answer(exchange, 200)

    def _read(self, exchange: Exchange, key: str, _query: dict[str, str], _body: bytes) -> None:
        value = self._seen(key)
        if value is None:
            _answer(exchange, 404, error="key not found")
        else:
            exchange.answer(200, value.encode(), Content_Type="application/octet-stream")

    def _list(self, exchange: Exchange, query: dict[str, str]) -> None:
        names = sorted(key for key in self._writes if key.startswith(query.get("prefix", "")) and self._seen(key))
        start, size = int(query.get("cursor", 0)), min(self.page, int(query.get("limit", 1000)))
        more = str(start + size) if start + size < len(names) else ""
        listed = [{"name": name} for name in names[start : start + size]]
        _answer(exchange, 200, listed, {"count": len(listed), "cursor": more})

    def _seen(self, key: str) -> str | None:
        now = time.monotonic()
        old = [write for write in self._writes.get(key, []) if write[0] <= now - self.stale_seconds and write[2] > now]
        return old[-1][1] if old else None


def _answer(
    exchange: Exchange, status: int, result: object = None, info: object = None, *, error: str | None = None
) -> None:
    errors = [] if error is None else [{"code": 10000, "message": error}]
    document = {"result": result, "success": error is None, "errors": errors, "messages": [], "result_info": info}
    exchange.answer(status, json.dumps(document).encode(), Content_Type="application/json")
