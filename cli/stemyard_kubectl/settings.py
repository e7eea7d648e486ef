"""What the options before the command say."""

from dataclasses import dataclass, field

import typer

from stemyard_cli.session import Session
from stemyard_kubectl.cluster import Cluster
from stemyard_kubectl.kubeconfig import Choice


@dataclass(frozen=True, slots=True)
class Settings:
    """Options of the connection, and the installation's API for what needs it."""

    choice: Choice = field(default_factory=Choice)
    session: Session = field(default_factory=Session)


def settings_of(context: typer.Context) -> Settings:
    """Return the settings of a command."""
    return context.find_object(Settings) or Settings()


def cluster_of(context: typer.Context) -> Cluster:
    """Return the connection of a command, which the caller closes.

    Raises:
        KubeconfigError: there is no usable configuration.
    """
    return Cluster.open(settings_of(context).choice)
