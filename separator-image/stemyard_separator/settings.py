"""Settings of the separator, from environment variables."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from stemyard_contract.handover import DESK_TOKEN_PATH, TERMINATION_MESSAGE_PATH
from stemyard_contract.validation import split_commas

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_PREFIX: Final = "STEMYARD_"
_VERSION: Final = r"^[0-9]+(\.[0-9]+)+$"


class SeparatorSettings(BaseModel):
    """Environment variables `STEMYARD_<FIELD>`; the defaults fit the operator's pods.

    Not pydantic-settings: its import takes a tenth of a stage's start-up time.
    """

    model_config = ConfigDict(frozen=True)

    assignment: str = ""
    """The Assignment, as JSON."""
    worker: str = ""
    """The WorkerAssignment, as JSON, instead of an Assignment."""
    pod_uid: str = ""
    """uid of the pod, from the downward API."""
    token_path: Path = Path(DESK_TOKEN_PATH)
    """The projected token for the desk."""
    termination_path: Path = Path(TERMINATION_MESSAGE_PATH)
    """Termination message file, for the Outcome."""
    work_dir: Path = Path("/work")
    """A writable scratch folder."""
    ca_dir: Path | None = None
    """Folder of PEM files `*.crt`: CAs that are trusted for the desk and the object store, beside the public ones."""
    model_dir: Path = Path("/models")
    """Folder of model weights and `models.json`; read-only."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of the network; by default the available cores."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of engines with GPU support; `cuda` fails without a usable GPU, `auto` uses one if there is one."""
    compile: bool = False
    """Compile the networks with torch: faster on a GPU, but takes minutes and needs a C++ compiler."""
    residual: bool = True
    """Make `other` of demucs what all other stems leave, if all are requested, so that they sum to the mix."""
    fetch_allowed_cidrs: Annotated[tuple[Network, ...], BeforeValidator(split_commas)] = ()
    """Networks that direct links may lead to although they are not public, comma-separated. For tests."""
    link_deadline_seconds: Annotated[float, Field(gt=0)] = 600
    """Timeout of one link's download in seconds."""
    youtube_deadline_seconds: Annotated[float, Field(gt=0)] = 600
    """Timeout of one search and download in seconds."""
    youtube_cookies: Path | None = None
    """A cookie file in Netscape format; may be read-only, as a copy of it is used."""
    private_dir: Path | None = None
    """An in-memory folder for that copy; by default it is in the work folder."""
    youtube_proxy: SecretStr | None = None
    """Proxy for searches and downloads; the URL may contain a password."""
    youtube_proxy_file: Path | None = None
    """File that holds that proxy's URL, instead of the variable."""
    youtube_po_token_url: str | None = None
    """Base URL of a PO token provider (bgutil's HTTP server); its yt-dlp plugin must be installed."""
    youtube_request_interval: Annotated[float, Field(ge=0)] = 0.5
    """Seconds between two requests."""
    youtube_download_delay: Annotated[float, Field(ge=0)] = 0
    """Minimum seconds to wait before a download."""
    youtube_download_delay_max: Annotated[float, Field(ge=0)] = 0
    """Maximum of the randomly chosen delay in seconds; 0 means always the minimum."""
    youtube_overlay: Path | None = None
    """A folder with a newer `yt_dlp` and the matching `yt_dlp_ejs`, used instead of the installed ones."""
    youtube_overlay_least: Annotated[str, Field(pattern=_VERSION)] | None = None
    """Oldest version of yt-dlp accepted there; by default the installed one."""
    youtube_overlay_greatest: Annotated[str, Field(pattern=_VERSION)] | None = None
    """Newest version accepted there; by default a year newer than the installed one."""
    extractors: Annotated[tuple[str, ...], BeforeValidator(split_commas)] = ()
    """Exact names of further yt-dlp extractors whose links are accepted (`soundcloud`), comma-separated."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables that are set; unknown ones with the prefix are ignored.

        Raises:
            pydantic.ValidationError: a value is invalid.
        """
        fields = {
            name.removeprefix(_PREFIX).lower(): text for name, text in environment.items() if name.startswith(_PREFIX)
        }
        return cls.model_validate(fields)

    @model_validator(mode="after")
    def _proxy_is_given_once(self) -> Self:
        if self.youtube_proxy is not None and self.youtube_proxy_file is not None:
            raise ValueError("STEMYARD_YOUTUBE_PROXY and STEMYARD_YOUTUBE_PROXY_FILE are both set; keep one")
        return self

    @property
    def proxy(self) -> str | None:
        """The proxy for searches and downloads.

        Raises:
            OSError: its file cannot be read.
        """
        if self.youtube_proxy_file is not None:
            return self.youtube_proxy_file.read_text().strip()
        return self.youtube_proxy.get_secret_value() if self.youtube_proxy is not None else None
