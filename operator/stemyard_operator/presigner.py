"""Signs links to a bucket's objects for the operator's own calls.

The S3 client searches its model of the whole API for each link; botocore's signer alone takes a third of that time.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

_SERVICE: Final = "s3"
_SAFE: Final = "/~"
"""What S3 leaves as it is in a key, besides letters, digits and `_.-`."""


class Presigner:
    """Makes presigned links, by AWS Signature Version 4 in the query.

    Args:
        bucket: the bucket's own address.
        region: in which the store is.
        seconds: for which a link holds.
    """

    def __init__(self, bucket: str, region: str, seconds: int) -> None:
        self._bucket = bucket
        self._region = region
        self._seconds = seconds
        # botocore finds it out twice for each link
        signer = S3SigV4QueryAuth(Credentials("", ""), _SERVICE, region, seconds)
        self._headers = {"Host": signer.headers_to_sign(AWSRequest("GET", bucket))["host"]}

    def sign(
        self, method: str, key: str, query: Mapping[str, str], credentials: Credentials | ReadOnlyCredentials
    ) -> str:
        """Return a link for a method at a key, or at the bucket itself where the key is empty."""
        address = f"{self._bucket.rstrip('/')}/{quote(key, safe=_SAFE)}" if key else self._bucket
        request = AWSRequest(method, address, headers=self._headers, params=dict(query))
        S3SigV4QueryAuth(credentials, _SERVICE, self._region, self._seconds).add_auth(request)
        return str(request.url)
