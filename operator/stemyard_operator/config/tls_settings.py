"""The settings of TLS inside the installation: the desk's certificate, and the authorities that are trusted."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode

from stemyard_contract.validation import split_commas


class TlsSettings(BaseSettings):
    """Settings for TLS."""

    desk_tls_dir: Path | None = None
    """Folder with tls.crt and tls.key of the desk, read again when they change; without it the desk speaks HTTP."""
    separator_ca_config_map: str = ""
    """ConfigMap in every watched namespace whose key `ca.crt` has the CAs of the desk and the object store."""
    separator_ca_secrets: Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)] = ()
    """Secrets in every watched namespace of which separators get the key `ca.crt` only, for the same purpose."""
    s3_ca_file: str | None = None
    """PEM file of the CAs that verify the object store's endpoint for pods, instead of the system's."""
