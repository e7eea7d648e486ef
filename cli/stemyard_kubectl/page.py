"""The one page about a separation: sections of lines, for a terminal and for a pipe."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from stemyard_cli.output import age
from stemyard_contract.separationjob import requested_run
from stemyard_kubectl.advice import what_blocks, what_to_do
from stemyard_kubectl.facts import Event, Facts

_EVENTS: Final = 8
_NAMES: Final = 22


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is below it."""

    heading: str
    lines: list[str] = field(default_factory=list)


def page(facts: Facts, now: datetime | None = None) -> Iterator[Section]:
    """Yield the sections of the page."""
    now = now or datetime.now(UTC)
    yield Section(_headline(facts), list(_about(facts, now)))
    yield Section("conditions", list(_conditions(facts, now)) or ["none"])
    if facts.separation.status.job:
        yield Section("job", [_job(facts)])
    if facts.separation.status.pod:
        yield Section("pod", list(_pod(facts)))
    if facts.separation.waits:
        yield Section("queue", [_queue(facts)])
    yield Section("events", list(_events(facts, now)))
    if facts.pod is not None:
        yield Section("log", facts.log or [_note(facts, "log", "empty")])
    yield Section("what to do", [what_to_do(facts.separation)])


def _headline(facts: Facts) -> str:
    one = facts.separation
    phase = one.phase or "not read by an operator"
    progress = f" {one.status.progress} %" if one.status.progress is not None and not one.ended else ""
    return f"{one.namespace}/{one.name}: {phase}{progress}"


def _about(facts: Facts, now: datetime) -> Iterator[str]:
    one, status = facts.separation, facts.separation.status
    run = requested_run(one.spec, status)
    yield _row("song", one.title)
    yield _row(
        "requested",
        f"{_ago(one.created, now)}, run {run}, profile {one.spec.profile}, model {status.model or one.spec.model}",
    )
    if one.spec.priority:
        yield _row("priority", str(one.spec.priority))
    if status.failure is not None:
        yield _row("failure", f"{status.failure.code} in {status.failure.stage}: {status.failure.message}")
    elif (blocking := what_blocks(one)) is not None and not one.ended:
        yield _row("now", f"{blocking.reason}: {blocking.message}" if blocking.message else blocking.reason)
    if status.retry_at is not None:
        yield _row("tried again", f"at {status.retry_at:%H:%M:%S %Z}")
    if (tried := status.attempts) is not None:
        counts = (("fetch", tried.fetch), ("separate", tried.separate), ("failed", tried.failed))
        more = (("disrupted", tried.disruptions), ("requeued", tried.requeued))
        shown = [f"{name} {count}" for name, count in (*counts, *(one for one in more if one[1]))]
        yield _row("attempts", ", ".join(shown))
    if status.duration:
        yield _row("took", status.duration)


def _conditions(facts: Facts, now: datetime) -> Iterator[str]:
    for one in facts.separation.status.conditions:
        since = _ago(one.last_transition_time, now)
        message = f": {one.message}" if one.message else ""
        yield _row(one.type, f"{one.status:<8}{since:<12}{one.reason}{message}")


def _job(facts: Facts) -> str:
    name = facts.separation.status.job or ""
    if facts.job is None:
        return _row(name, _note(facts, "job", "it is gone"))
    status = facts.job.get("status") or {}
    ended = [
        one
        for one in status.get("conditions") or []
        if one["status"] == "True" and one["type"] in {"Complete", "Failed"}
    ]
    if ended:
        message = f": {ended[0]['message']}" if ended[0].get("message") else ""
        return f"{name}  {ended[0]['type']}{message}"
    if facts.job["spec"].get("suspend"):
        return f"{name}  suspended"
    if status.get("active"):
        return f"{name}  active"
    return f"{name}  has no pod"


def _pod(facts: Facts) -> Iterator[str]:
    name = facts.separation.status.pod or ""
    if facts.pod is None:
        yield f"{name}  {_note(facts, 'pod', 'it is gone')}"
        return
    status = facts.pod.get("status") or {}
    node = facts.pod["spec"].get("nodeName")
    yield f"{name}  {status.get('phase', 'Unknown')}{f' on {node}' if node else ''}"
    for one in status.get("conditions") or []:
        if one["type"] == "PodScheduled" and one["status"] != "True":
            yield f"not scheduled: {one.get('message') or one.get('reason', '')}"
    for one in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        if (text := _container(one)) is not None:
            yield f"{one['name']}: {text}"


def _container(status: dict[str, Any]) -> str | None:
    """Return why a container does not run."""
    state = status.get("state") or {}
    if waiting := state.get("waiting"):
        return f"waits, {waiting.get('reason', '')} {waiting.get('message') or ''}".rstrip()
    if ended := state.get("terminated"):
        return f"ended with {ended.get('exitCode')}, {ended.get('reason', '')}".rstrip(", ")
    return None


def _queue(facts: Facts) -> str:
    if facts.place is None:
        return _note(facts, "queue", "it has no place")
    place, count = facts.place
    return (
        f"{place}. of {count} that wait like it in {facts.separation.namespace}; {facts.separating} are separated now"
    )


def _events(facts: Facts, now: datetime) -> Iterator[str]:
    if not facts.events:
        yield _note(facts, "events", "none; the cluster keeps them for an hour")
    yield from (_event(one, now) for one in facts.events[-_EVENTS:])


def _event(one: Event, now: datetime) -> str:
    times = f" ({one.count} times)" if one.count > 1 else ""
    warning = "! " if one.is_warning else ""
    return f"{_ago(one.last, now):<12}{warning}{one.kind} {one.reason}: {one.message}{times}"


def _note(facts: Facts, part: str, otherwise: str) -> str:
    return facts.notes.get(part, otherwise)


def _row(name: str, value: str) -> str:
    return f"{name:<{_NAMES}}{value}"


def _ago(moment: datetime, now: datetime) -> str:
    return f"{age(moment.timestamp(), now.timestamp())} ago"
