"""Chooses the kind of cluster for a machine; pure functions."""

from enum import Enum

from localcluster.errors import MissingPrerequisiteError
from localcluster.machine import Facts

OLDEST_KERNEL = (5, 13)


class Kind(Enum):
    """The two kinds of cluster."""

    KIND = "kind"
    LOCAL = "localcluster"


def choose(facts: Facts) -> Kind:
    """Return kind if Docker's engine is running and can build, else the local cluster if this is root on Linux.

    Raises:
        MissingPrerequisiteError: neither is possible; the message is one sentence with what to install or do.
    """
    if facts.docker_answers and facts.docker_builds:
        return Kind.KIND
    obstacle = _obstacle(facts)
    if obstacle is None:
        return Kind.LOCAL
    if facts.docker_answers:
        obstacle = (
            "Install Docker's buildx (the package docker-buildx-plugin or docker-buildx), which builds the images."
        )
    raise MissingPrerequisiteError(obstacle)


def _obstacle(facts: Facts) -> str | None:
    if facts.system != "Linux":
        return "Install Docker and start it: without its engine a cluster runs only on Linux."
    if not facts.root:
        return "Install Docker and start it, or run this command as root: a cluster without Docker needs root."
    if not facts.may_unshare:
        return "Install Docker and start it, or run this in a privileged container: this one may not create namespaces."
    if facts.kernel < OLDEST_KERNEL:
        return f"Install Docker and start it, or boot kernel {OLDEST_KERNEL[0]}.{OLDEST_KERNEL[1]} or later."
    if facts.missing_packages and not facts.has_apt:
        return f"Install Docker and start it, or install these programs: {', '.join(facts.missing_packages)}."
    return None


def missing_prerequisites(facts: Facts) -> list[str]:
    """Return one sentence for each missing prerequisite; an empty list if a cluster can be started."""
    try:
        kind = choose(facts)
    except MissingPrerequisiteError as error:
        return [str(error)]
    if kind is Kind.LOCAL and facts.missing_packages:
        packages = " ".join(facts.missing_packages)
        return [f"Packages are missing: `apt-get install {packages}`; `up` and `prepare` install them."]
    return []
