"""Presigns S3 requests with AWS Signature Version 4, much faster than boto3's `generate_presigned_url`."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

_SERVICE: Final = "s3"
_SAFE: Final = "/~"
"""Characters that S3 does not escape in a key, besides letters, digits and `_.-`."""


class Presigner:
    """Presigns requests to one bucket.

    Args:
        bucket: URL of the bucket.
        region: region of the store.
        seconds: lifetime of a link.
    """

    def __init__(self, bucket: str, region: str, seconds: int) -> None:
        self._bucket = bucket
        self._region = region
        self._seconds = seconds
        # without this header botocore derives it twice for each link
        signer = S3SigV4QueryAuth(Credentials("", ""), _SERVICE, region, seconds)
        self._headers = {"Host": signer.headers_to_sign(AWSRequest("GET", bucket))["host"]}

    def sign(
        self, method: str, key: str, query: Mapping[str, str], credentials: Credentials | ReadOnlyCredentials
    ) -> str:
        """Return a presigned link for a method at a key, or at the bucket itself if the key is empty."""
        url = f"{self._bucket.rstrip('/')}/{quote(key, safe=_SAFE)}" if key else self._bucket
        request = AWSRequest(method, url, headers=self._headers, params=dict(query))
        S3SigV4QueryAuth(credentials, _SERVICE, self._region, self._seconds).add_auth(request)
        return str(request.url)
