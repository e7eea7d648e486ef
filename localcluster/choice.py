"""Which kind of cluster a machine gets; pure."""

from enum import Enum

from localcluster.errors import MissingPrerequisiteError
from localcluster.machine import Facts

OLDEST_KERNEL = (5, 13)


class Kind(Enum):
    """The two ways to a cluster."""

    KIND = "kind"
    LOCAL = "localcluster"


def choose(facts: Facts) -> Kind:
    """kind where Docker's engine answers, else our own cluster where root on Linux.

    Raises:
        MissingPrerequisiteError: neither is possible; the message is one sentence that says what to install or do.
    """
    if facts.docker_answers:
        return Kind.KIND
    obstacle = _obstacle(facts)
    if obstacle is None:
        return Kind.LOCAL
    raise MissingPrerequisiteError(obstacle)


def _obstacle(facts: Facts) -> str | None:
    if facts.system != "Linux":
        return "Install Docker and start it: without its engine a cluster runs only on Linux."
    if not facts.root:
        return "Install Docker and start it, or run this command as root: a cluster without Docker needs root."
    if not facts.may_unshare:
        return "Install Docker and start it, or run this in a privileged container: this one may not make namespaces."
    if facts.kernel < OLDEST_KERNEL:
        return f"Install Docker and start it, or boot a kernel from {OLDEST_KERNEL[0]}.{OLDEST_KERNEL[1]} on."
    if facts.missing_packages and not facts.has_apt:
        return f"Install Docker and start it, or install these programs: {', '.join(facts.missing_packages)}."
    return None


def complaints(facts: Facts) -> list[str]:
    """What the machine lacks, one sentence each; an empty list when a cluster can be started."""
    try:
        kind = choose(facts)
    except MissingPrerequisiteError as error:
        return [str(error)]
    if kind is Kind.LOCAL and facts.missing_packages:
        packages = " ".join(facts.missing_packages)
        return [f"`apt-get install {packages}` is still to be done; `up` and `prepare` do it."]
    return []
