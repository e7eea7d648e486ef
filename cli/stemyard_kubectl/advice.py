"""What to do about a separation, by what its conditions and its failure say."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.remedies import REMEDIES, Fault
from stemyard_contract.separationjob import Condition, Phase, Reason
from stemyard_kubectl.separations import Separation

_AT_WORK: Final = "Nothing: it is at work."
_DONE: Final = "Nothing: this is done."

BY_REASON: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.VALID: _DONE,
        Reason.INVALID: "Create another SeparationJob; the message says what this deployment does not serve.",
        Reason.WAITING: "Wait for a pod. If the Job has none, its own events say why, often a ResourceQuota.",
        Reason.RUNNING: _AT_WORK,
        Reason.STARTING: _AT_WORK,
        Reason.RETRYING: "Wait: it is tried again at the time above. The failed attempt's log says more.",
        Reason.UNSCHEDULABLE: "Give the cluster a node that fits, or use a profile that fits its nodes. The message is "
        "the scheduler's; a node without a free GPU needs its device plugin, or more GPUs.",
        Reason.IMAGE_PULL: "Correct image or pull secret in the chart's values, or let nodes reach the registry.",
        Reason.CONCURRENCY_LIMIT: "Wait for a slot; a higher spec.priority goes first. The chart's maxActive, "
        "maxActivePerNamespace and the profile's maxActive set the number of slots.",
        Reason.JOB_REFUSED: "Change the quota, admission policy or profile that the message names. It is tried again.",
        Reason.REQUEUED: "Wait: it is tried again at the time above. For a node that fits see the scheduler's events.",
        Reason.SCHEDULED: _AT_WORK,
        Reason.SUCCEEDED: _DONE,
        Reason.VERIFIED: _DONE,
        Reason.TESTED: _DONE,
        Reason.DELIVERING: "Wait for the delivery of its webhooks.",
        Reason.DELIVERED: _DONE,
        Reason.UNDELIVERED: "Look at status.webhooks, repair the consumer, and have them redelivered.",
        Reason.CANCELLED: "Run it again with `kubectl stemyard retry {name} -n {namespace}`.",
        Reason.SUSPENDING: "Wait until its pods are removed.",
        Reason.SUSPENDED: "Resume it: kubectl -n {namespace} patch sepjob {name} --type=merge "
        """-p '{{"spec":{{"suspend":false}}}}'.""",
        Reason.RESUMED: _AT_WORK,
        Reason.DUPLICATE: "Wait for the SeparationJob that the message names: its stems will be copied.",
        Reason.COPIED: _DONE,
        Reason.WAITING_FOR_QUOTA: "Wait for Kueue, or give its ClusterQueue more quota; the message is its Workload's.",
        Reason.ADMITTED: _AT_WORK,
        Reason.WAITING_FOR_WORKER: "Wait for a worker; the message says why none has taken it.",
        Reason.LEASED: _AT_WORK,
        Reason.EVICTED: "Wait: Kueue has taken its quota back, and admits it again.",
        Reason.SUSPENDED_EXTERNALLY: "Find out who suspended the Job (its managed fields), and have it resumed.",
    }
)
"""What to do about a condition's reason; `{name}` and `{namespace}` are the separation's."""

_UNREAD: Final = (
    "No operator has read it. Create it in a namespace of the chart's watchNamespaces, and look whether the operator "
    "runs: kubectl get deployments -A -l app.kubernetes.io/component=operator."
)
_WHO: Final[Mapping[Fault, str]] = {
    Fault.CALLER: "the request",
    Fault.SOURCE: "the site or server of the audio",
    Fault.DEPLOYMENT: "this installation",
    Fault.STEMYARD: "Stemyard itself, if it happens again",
}


def what_to_do(one: Separation) -> str:
    """Return what to do about a separation now."""
    if one.phase is None:
        return _UNREAD
    if one.phase is Phase.COMPLETED:
        return f"Listen to it with `kubectl stemyard play {one.name} -n {one.namespace}`."
    if one.phase is Phase.FAILED:
        return _about_failure(one)
    if one.phase is Phase.CANCELLED:
        return BY_REASON[Reason.CANCELLED].format(name=one.name, namespace=one.namespace)
    blocking = what_blocks(one)
    if blocking is None or blocking.reason not in set(Reason):
        return _AT_WORK
    return BY_REASON[Reason(blocking.reason)].format(name=one.name, namespace=one.namespace)


def what_blocks(one: Separation) -> Condition | None:
    """Return the condition that says what a separation does or waits for: the first stage that is not done."""
    by_type = {condition.type: condition for condition in one.status.conditions}
    if one.phase is Phase.SUSPENDED and "Suspended" in by_type:
        return by_type["Suspended"]
    stages = [by_type[kind] for kind in ("Fetched", "Admitted", "Separated", "Published") if kind in by_type]
    return next((stage for stage in stages if stage.status != "True"), None)


def _about_failure(one: Separation) -> str:
    failure = one.status.failure
    again = f"`kubectl stemyard retry {one.name} -n {one.namespace}` runs it again."
    if failure is None:
        return again
    if failure.code not in set(FailureCode):
        return (
            f"This program does not know {failure.code}: see docs/16-failure-codes.md of the installed version. {again}"
        )
    remedy = REMEDIES[FailureCode(failure.code)]
    advised = f"{remedy.action} The cause is {_WHO[remedy.fault]}."
    return f"{advised} {again}" if failure.retryable else f"{advised} A retry alone does not help."
