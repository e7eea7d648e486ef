"""The pure cores, and the tests that must notice a change of each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_DECISIONS: Final = tuple(
    f"tests/operator/decision/test_{name}.py"
    for name in ("decide", "leases", "pending", "stages", "suspend", "status", "failure_policy")
)
_SHARED: Final = ("tests/operator/decision/test_deduplication.py", "tests/operator/decision/test_webhook_outbox.py")


@dataclass(frozen=True, slots=True)
class Subject:
    """One module.

    Attributes:
        name: short name, for the command line.
        path: the file, relative to the repository.
        tests: test files that are run against each mutant.
    """

    name: str
    path: str
    tests: tuple[str, ...]

    @property
    def module(self) -> str:
        """The module's name for import."""
        return ".".join(Path(self.path).with_suffix("").parts[1:])

    @property
    def source(self) -> str:
        """The module's source."""
        return (ROOT / self.path).read_text()


SUBJECTS: Final = (
    Subject("identity", "contract/stemyard_contract/identity.py", ("tests/contract/test_identity.py",)),
    Subject("webhook", "contract/stemyard_contract/webhook.py", ("tests/contract/test_webhook.py",)),
    Subject(
        "webhook_signature",
        "contract/stemyard_contract/webhook_signature.py",
        ("tests/contract/test_webhook_signature.py",),
    ),
    Subject(
        "failures",
        "contract/stemyard_contract/failures.py",
        ("tests/contract/test_failures.py", "tests/contract/test_remedies.py"),
    ),
    Subject("buckets", "api/stemyard_api/ratelimit/gcra.py", ("tests/api/ratelimit/test_gcra.py",)),
    Subject(
        "webhook_retries",
        "operator/stemyard_operator/decision/webhook_retries.py",
        ("tests/operator/decision/test_webhook_retries.py", "tests/operator/decision/test_webhook_outbox.py"),
    ),
    Subject("pod", "operator/stemyard_operator/model/pod.py", ("tests/operator/model/test_pod.py",)),
    Subject("decide", "operator/stemyard_operator/decision/decide.py", (*_DECISIONS, *_SHARED)),
    Subject("failure_policy", "operator/stemyard_operator/decision/failure_policy.py", _DECISIONS),
    Subject(
        "stages",
        "operator/stemyard_operator/decision/stages.py",
        ("tests/operator/jobs/test_kueue.py", *_DECISIONS, *_SHARED),
    ),
    Subject("pending", "operator/stemyard_operator/decision/pending.py", _DECISIONS),
)
