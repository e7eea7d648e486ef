"""Credentials of the object store from boto3's default chain, such as those of a workload identity."""

from typing import Any, Final

import boto3
import botocore.session
from botocore.client import BaseClient
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials, ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from stemyard_contract.credential_renewal import KeysUnavailableError, RenewedKeys, SigningKeys

FIRST_KEYS_SECONDS: Final = 20.0
"""Longest wait of a call in a thread for the first credentials."""
_TIMEOUTS: Final = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2, "mode": "standard"})


def load_keys(region: str) -> SigningKeys:
    """Return the credentials of the default chain, as the token service of this region gives them now.

    Raises:
        BotoCoreError: there are none.
        ClientError: the token service refuses this workload's token.
    """
    session = _OneUse()
    session.set_default_client_config(_TIMEOUTS)
    session.set_config_variable("region", region)
    try:
        found = session.get_credentials()
        if found is None:
            raise NoCredentialsError
        frozen = found.get_frozen_credentials()
    finally:
        session.close()
    if not frozen.access_key or not frozen.secret_key:
        raise NoCredentialsError
    # botocore says in no other way when credentials expire
    expiry = getattr(found, "_expiry_time", None)
    expires_at = None if expiry is None else expiry.timestamp()
    return SigningKeys(frozen.access_key, frozen.secret_key, frozen.token, expires_at)


def session_of(keys: RenewedKeys, *, waits: bool) -> boto3.Session:
    """Return a session whose clients sign by the latest keys; `waits` for those called in threads only."""
    session = botocore.session.get_session()
    provider = _Provider(_Latest(keys, FIRST_KEYS_SECONDS if waits else 0))
    session.register_component("credential_provider", CredentialResolver([provider]))
    return boto3.Session(botocore_session=session)


class _OneUse(botocore.session.Session):
    """A session whose clients, which the chain of credentials creates, are closed with it."""

    def __init__(self) -> None:
        super().__init__()
        self._clients: list[BaseClient] = []

    def create_client(self, *args: Any, **kwargs: Any) -> BaseClient:  # noqa: ANN401 - as of the base class
        client: BaseClient = super().create_client(*args, **kwargs)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()


class _Latest(Credentials):
    """Credentials that are never renewed by the caller."""

    def __init__(self, keys: RenewedKeys, wait: float) -> None:
        super().__init__("", "")
        self._keys, self._wait = keys, wait

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        try:
            keys = self._keys.current(self._wait)
        except KeysUnavailableError as error:
            raise CredentialRetrievalError(provider=_Provider.METHOD, error_msg=str(error)) from error
        return ReadOnlyCredentials(keys.access_key, keys.secret_key, keys.token)


class _Provider(CredentialProvider):
    METHOD = "default-chain"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> Credentials:
        return self._credentials
