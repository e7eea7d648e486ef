"""An S3 store that takes temporary credentials only, and the token service (STS) that gives them to a workload.

The service speaks AssumeRoleWithWebIdentity as AWS, MinIO and Ceph do. The store verifies the signature (Version 4) and
the session token of each request, and passes what it accepts to a real S3 server.
"""

import contextlib
import hashlib
import hmac
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import httpx
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.http_server import Exchange, HttpServer
from tests.support.servers import ObjectStore, object_store

ROLE = "arn:aws:iam::123456789012:role/stemyard"
REGION = "us-east-1"
_XMLNS = "https://sts.amazonaws.com/doc/2011-06-15/"
_STAMP = "%Y%m%dT%H%M%SZ"
_REQUEST_SECONDS = 60
"""What is signed for no longer is a request that is sent at once, and not a link."""
_PASSED_ON = ("Content-Type", "Content-Disposition", "If-None-Match", "x-amz-copy-source", "x-amz-checksum-sha256")


@dataclass(frozen=True)
class Issued:
    """Credentials that the service gave out."""

    access_key: str
    secret_key: str
    token: str
    expires_at: float


@dataclass
class RoleStore:
    """The token service and the store."""

    store: ObjectStore
    folder: Path
    lifetime: float = 3600
    """Seconds that credentials are valid."""
    available: bool = True
    """Whether the service gives out credentials."""
    issued: list[Issued] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Why the store refused requests."""
    token: str = "header.claims-1.signature"
    """The workload's token, which the kubelet rotates."""
    url: str = ""
    sts_url: str = ""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that the webhook of a cloud, or the chart, sets in a container."""
        return {
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.token_file),
            "AWS_ENDPOINT_URL_STS": self.sts_url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def settings(self) -> dict[str, str]:
        """Settings of the parts."""
        return {
            "S3_ENDPOINT_URL": self.url,
            "S3_REGION": REGION,
            "R2_BUCKET": self.store.bucket,
            "S3_WORKLOAD_IDENTITY": "true",
        }

    def rotate(self, token: str) -> None:
        """Replace the workload's token, as the kubelet does; the old one is valid no longer."""
        self.token = token
        self.token_file.write_text(token)

    def assume(self, exchange: Exchange) -> None:
        """Answer a request to the token service."""
        asked = parse_qs(exchange.body().decode())
        expected = {"Action": ["AssumeRoleWithWebIdentity"], "RoleArn": [ROLE], "WebIdentityToken": [self.token]}
        if not self.available:
            exchange.answer(503, b"<ErrorResponse><Error><Code>ServiceUnavailable</Code></Error></ErrorResponse>")
        elif any(asked.get(name) != value for name, value in expected.items()):
            exchange.answer(400, b"<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>")
        else:
            exchange.answer(200, self._issue().encode(), Content_Type="text/xml")

    def _issue(self) -> str:
        number = next(self._numbers)
        one = Issued(
            f"ASIA{number:012}", f"secret/{number}+x", f"session//{number}+token==", time.time() + self.lifetime
        )
        self.issued.append(one)
        until = datetime.fromtimestamp(one.expires_at, UTC).isoformat()
        return (
            f'<AssumeRoleWithWebIdentityResponse xmlns="{_XMLNS}"><AssumeRoleWithWebIdentityResult><Credentials>'
            f"<AccessKeyId>{one.access_key}</AccessKeyId><SecretAccessKey>{one.secret_key}</SecretAccessKey>"
            f"<SessionToken>{one.token}</SessionToken><Expiration>{until}</Expiration></Credentials>"
            f"<AssumedRoleUser><Arn>{ROLE}/pod</Arn><AssumedRoleId>AROA:pod</AssumedRoleId></AssumedRoleUser>"
            f"</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )

    def serve(self, exchange: Exchange) -> None:
        """Verify a request to the store, and pass it on."""
        body = exchange.body()
        why = self._refusal(exchange, body)
        if why is not None:
            self.refused.append(why)
            exchange.answer(403, f"<Error><Code>AccessDenied</Code><Message>{why}</Message></Error>".encode())
            return
        response = self._pass_on(exchange, body)
        kept = {name: value for name, value in response.headers.items() if name.lower() in {"etag", "content-type"}}
        if exchange.command == "HEAD":
            exchange.send_response(response.status_code)
            exchange.send_header("Content-Length", response.headers.get("Content-Length", "0"))
            exchange.end_headers()
        else:
            exchange.answer(response.status_code, response.content, **kept)

    def _refusal(self, exchange: Exchange, body: bytes) -> str | None:
        signed = _signature(exchange)
        if signed is None:
            return "not signed"
        keys = next((one for one in self.issued if one.access_key == signed.access_key), None)
        if keys is None or signed.token != keys.token:
            return "unknown key or session token"
        if time.time() > keys.expires_at:
            return "expired credentials"
        if time.time() > signed.expires_at:
            return "expired link"
        if signed.seconds > _REQUEST_SECONDS and signed.expires_at > keys.expires_at + 1:
            return "the link outlives its credentials"
        if signed.payload not in {"UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()}:
            return "another payload"
        return None if hmac.compare_digest(signed.compute(keys.secret_key), signed.signature) else "wrong signature"

    def _pass_on(self, exchange: Exchange, body: bytes) -> httpx.Response:
        parts = urlsplit(exchange.path)
        query = {name: value for name, value in parse_qsl(parts.query, keep_blank_values=True) if "X-Amz-" not in name}
        headers = {name: exchange.headers[name] for name in _PASSED_ON if name in exchange.headers}
        request = AWSRequest(exchange.command, f"{self.store.url}{parts.path}", headers=headers, params=query)
        S3SigV4QueryAuth(Credentials(self.store.access_key, self.store.secret_key), "s3", REGION, 60).add_auth(request)
        return httpx.request(exchange.command, str(request.url), headers=headers, content=body, timeout=30)


@dataclass(frozen=True)
class _Signature:
    """What Signature Version 4 says of a request, in its query or its Authorization header."""

    access_key: str
    scope: str
    stamp: str
    names: str
    signature: str
    token: str
    payload: str
    seconds: float
    """How long it is valid."""
    expires_at: float
    canonical: str

    def compute(self, secret: str) -> str:
        digest = hashlib.sha256(self.canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{self.stamp}\n{self.scope}\n{digest}"
        key = b"AWS4" + secret.encode()
        for part in self.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()


def _signature(exchange: Exchange) -> _Signature | None:
    parts = urlsplit(exchange.path)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "X-Amz-Signature" in query:
        credential, names, signature = (query[f"X-Amz-{name}"] for name in ("Credential", "SignedHeaders", "Signature"))
        stamp, token, payload = query["X-Amz-Date"], query.get("X-Amz-Security-Token", ""), "UNSIGNED-PAYLOAD"
        seconds = int(query["X-Amz-Expires"])
    elif exchange.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 "):
        given = dict(one.strip().split("=", 1) for one in exchange.headers["Authorization"][17:].split(","))
        credential, names, signature = given["Credential"], given["SignedHeaders"], given["Signature"]
        stamp, token = exchange.headers["X-Amz-Date"], exchange.headers.get("X-Amz-Security-Token", "")
        payload, seconds = exchange.headers["X-Amz-Content-SHA256"], _REQUEST_SECONDS
    else:
        return None
    access_key, _, scope = credential.partition("/")
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
    listed = "&".join(f"{name}={value}" for name, value in pairs if name != "X-Amz-Signature")
    headers = "".join(f"{name}:{' '.join(exchange.headers.get(name, '').split())}\n" for name in names.split(";"))
    canonical = f"{exchange.command}\n{parts.path}\n{listed}\n{headers}\n{names}\n{payload}"
    signed_at = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    return _Signature(
        access_key, scope, stamp, names, signature, token, payload, seconds, signed_at + seconds, canonical
    )


@contextlib.contextmanager
def role_store(folder: Path) -> Iterator[RoleStore]:
    """Run a store with an empty bucket, and a token service for one workload."""
    (folder / "behind").mkdir()
    with object_store(folder / "behind") as behind:
        found = RoleStore(behind, folder)
        found.rotate(found.token)
        with HttpServer(found.serve) as front, HttpServer(found.assume) as sts:
            found.url, found.sts_url = front.url, sts.url
            yield found


def environment_of(found: RoleStore) -> Mapping[str, str]:
    """Everything that a part's process gets."""
    return {**found.environment, **found.settings}
