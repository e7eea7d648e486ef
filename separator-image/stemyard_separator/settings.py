"""Settings of the process, from its environment."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from stemyard_contract.handover import DESK_TOKEN_PATH, TERMINATION_MESSAGE_PATH
from stemyard_contract.validation import split_commas

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_PREFIX: Final = "STEMYARD_"


class Settings(BaseModel):
    """Environment variables `STEMYARD_<FIELD>`; all have defaults that fit the pod the operator makes.

    Read here and not by pydantic-settings: importing that is a tenth of what a stage needs to start.
    """

    model_config = ConfigDict(frozen=True)

    assignment: str = ""
    """The Assignment, as JSON."""
    pod_uid: str = ""
    """uid of the pod, from the downward API."""
    token_path: Path = Path(DESK_TOKEN_PATH)
    """The projected token shown at the desk."""
    termination_path: Path = Path(TERMINATION_MESSAGE_PATH)
    """Where the Outcome is left."""
    work_dir: Path = Path("/work")
    """A writable folder; everything in it may be lost."""
    model_dir: Path = Path("/models")
    """Folder of model weights with their `models.json`; only read."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of the network; by default as many as the cores granted."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What engines that know GPUs compute on; `cuda` fails where no GPU can be used, `auto` takes one if it can."""
    compile: bool = False
    """Have torch compile the networks: faster on a GPU once it is done, which takes minutes and a C++ compiler."""
    fetch_allowed_cidrs: Annotated[tuple[Network, ...], BeforeValidator(split_commas)] = ()
    """Networks that direct links may lead to although they are not public, comma-separated. For tests."""
    link_deadline_seconds: Annotated[float, Field(gt=0)] = 600
    """Seconds the download of one link may take."""
    youtube_deadline_seconds: Annotated[float, Field(gt=0)] = 600
    """Seconds one search and download may take."""
    youtube_cookies: Path | None = None
    """A cookie file in Netscape's format, which may be read-only: a copy of it is used."""
    private_dir: Path | None = None
    """A folder in memory for that copy; by default it lies with the other files of the work folder."""
    youtube_proxy: SecretStr | None = None
    """Proxy for searches and downloads; it may name a password."""
    youtube_po_token_url: str | None = None
    """Base URL of a provider of PO tokens (bgutil's HTTP server); its plugin for yt-dlp must be installed."""
    youtube_request_interval: Annotated[float, Field(ge=0)] = 0.5
    """Seconds between two requests."""
    youtube_download_delay: Annotated[float, Field(ge=0)] = 0
    """Least seconds to wait before a download."""
    youtube_download_delay_max: Annotated[float, Field(ge=0)] = 0
    """Most seconds to wait before a download, chosen by chance; 0 means the least."""
    extractors: Annotated[tuple[str, ...], BeforeValidator(split_commas)] = ()
    """More extractors of yt-dlp, by their exact names and comma-separated, whose links are accepted (`soundcloud`)."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables that are set; others with the prefix are of no meaning here.

        Raises:
            pydantic.ValidationError: one of them has no sensible value.
        """
        given = {
            name.removeprefix(_PREFIX).lower(): text for name, text in environment.items() if name.startswith(_PREFIX)
        }
        return cls.model_validate(given)
