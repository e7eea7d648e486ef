"""Upload ids: random, and telling by themselves which API key they were given to."""

import hashlib
import hmac
import secrets
from uuid import UUID

_HALF = 8


def mint_upload_id(install_id: str, owner: str) -> str:
    """Return a new id, a UUIDv8: 60 random bits and 62 bits of a digest over them, the installation and the owner.

    The digest is no secret and guards nothing: an upload's object key names its owner. It only lets the API tell
    another key's upload (not found) from one whose bytes have not arrived, without keeping a record of either.
    """
    return _compose(install_id, owner, secrets.token_bytes(_HALF))


def belongs_to(upload_id: str, install_id: str, owner: str) -> bool:
    """Whether this id was given to this owner."""
    try:
        head = UUID(upload_id).bytes[:_HALF]
    except ValueError:
        return False
    return hmac.compare_digest(_compose(install_id, owner, head), upload_id)


def _compose(install_id: str, owner: str, head: bytes) -> str:
    head = head[:6] + bytes([0x80 | head[6] & 0x0F]) + head[7:]
    digest = hashlib.sha256(b"\n".join((install_id.encode(), owner.encode(), head))).digest()
    return str(UUID(bytes=head + bytes([0x80 | digest[0] & 0x3F]) + digest[1:_HALF]))
