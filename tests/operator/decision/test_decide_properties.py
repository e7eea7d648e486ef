"""Whatever happens to Jobs, pods, objects and the operator itself, decisions keep their promises."""

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import Outcome, WorkStage
from stemyard_contract.separationjob import TERMINAL_PHASES, Phase
from stemyard_operator.decision.actions import FindMark
from stemyard_operator.decision.commit_marks import file_sizes
from stemyard_operator.decision.usage import ending_jobs
from stemyard_operator.model.job import job_of
from stemyard_operator.model.observed import Duplicate, FoundManifest, FoundSource
from tests.operator.world import RECORDING, SPEC, World, mark_of, stamp
from tests.operator.world import settings as configured

FETCH, SEPARATE = WorkStage
FAILURES = [
    {"message": Outcome(stage=FETCH, code=FailureCode.SOURCE_NETWORK).dump()},
    {"message": Outcome(stage=FETCH, code=FailureCode.SOURCE_DRM).dump()},
    {"message": Outcome(stage=SEPARATE, code=FailureCode.ARTIFACT_MISMATCH).dump()},
    {"exit_code": 137, "reason": "OOMKilled"},
    {"exit_code": 1},
    {"pod_reason": "DeadlineExceeded"},
    {"pod_reason": "Evicted"},
]
LIMIT = 2
OWN = "https://own.example.com/hook"
SCHEDULE = (0.0, 5.0, 60.0, 600.0)


class Separations(RuleBasedStateMachine):
    """The world plays against the operator; the operator may crash within any step."""

    @initialize()
    def begin(self) -> None:
        deadlines = {"fetch": 900, "queue": 600, "start": 120, "separate": 900}
        spec: dict[str, Any] = {
            **SPEC,
            "retryPolicy": {"limit": LIMIT},
            "deadlines": deadlines,
            "webhooks": [],
            "claims": [],
        }
        self.world = World(spec=spec, config=configured(webhook_url=OWN, webhook_schedule=SCHEDULE))
        self.final: dict[int, Phase] = {}
        self.arrived: dict[str, str] = {}
        self.named = 0
        self.suspensions: Counter[int] = Counter()
        self.verified: set[str] = set()
        self.reached: dict[tuple[int | None, int, int], int] = {}
        self.used: dict[int | None, float] = {}
        self.forged = 0
        find = self.world.find

        def noted(question: FindMark) -> FoundSource | FoundManifest | None:
            found = find(question)
            if found is not None:
                self.verified |= {found.reference.key, *file_sizes(found)}
            return found

        self.world.find = noted  # type: ignore[method-assign]

    def jobs(self, *, live: bool = True) -> list[dict[str, Any]]:
        typed = [(raw, job_of(raw)) for raw in self.world.jobs.values()]
        return [raw for raw, job in typed if job is not None and job.live is live]

    @rule(crash=st.none() | st.integers(0, 6))
    def operator_steps(self, crash: int | None) -> None:
        decision = self.world.step(crash_after=crash)
        if decision.create is not None and decision.create.stage is SEPARATE:
            reference = job_of({**decision.create.manifest, "metadata": {
                **decision.create.manifest["metadata"], "uid": "u", "resourceVersion": "1",
                "creationTimestamp": stamp(self.world.now)}})  # fmt: skip
            assert reference is not None
            assert reference.fetched is not None

    @rule()
    def operator_settles(self) -> None:
        self.world.settle()

    @rule(seconds=st.sampled_from([1, 6, 31, 130, 700, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.world.wait(seconds)

    @precondition(lambda self: self.jobs())
    @rule(data=st.data())
    def pod_starts(self, data: st.DataObject) -> None:
        self.world.run(data.draw(st.sampled_from(self.jobs())))

    @precondition(lambda self: self.jobs())
    @rule(data=st.data(), outcome=st.booleans())
    def job_succeeds(self, data: st.DataObject, outcome: bool) -> None:
        self.world.succeed(data.draw(st.sampled_from(self.jobs())), outcome=outcome)

    @precondition(lambda self: self.jobs())
    @rule(data=st.data(), how=st.sampled_from(["truly", "too early", "falsely"]))
    def pod_says_that_it_has_finished(self, data: st.DataObject, how: str) -> None:
        """Its Job still lives; it may end well or badly afterwards, or not at all for long."""
        job = data.draw(st.sampled_from(self.jobs()))
        self.world.pod(job)
        reference = self.world.publish(job)
        if how == "too early":
            del self.world.objects[reference.key]
        elif how == "falsely":
            reference = reference.model_copy(update={"sha256": "0" * 64})
        self.world.say_finished(job, reference)

    @precondition(lambda self: self.jobs())
    @rule(data=st.data(), how=st.sampled_from(FAILURES))
    def job_fails(self, data: st.DataObject, how: dict[str, Any]) -> None:
        self.world.end(data.draw(st.sampled_from(self.jobs())), "Failed", **how)

    @precondition(lambda self: self.jobs(live=False))
    @rule(data=st.data())
    def ended_job_is_collected(self, data: st.DataObject) -> None:
        self.world.vanish(data.draw(st.sampled_from(self.jobs(live=False))))

    @precondition(lambda self: any("deletionTimestamp" in job["metadata"] for job in self.jobs()))
    @rule()
    def deleted_jobs_are_gone(self) -> None:
        for job in self.jobs():
            if "deletionTimestamp" in job["metadata"]:
                self.world.vanish(job)

    @precondition(lambda self: self.world.separation.status.job in self.world.jobs)
    @rule()
    def recorded_job_is_deleted_by_another_party(self) -> None:
        self.world.vanish(self.world.jobs[self.world.separation.status.job or ""])

    @rule(pods=st.integers(0, 25))
    def nodes_are_drained(self, pods: int) -> None:
        self.world.disruptions = pods

    @rule(stage=st.sampled_from(WorkStage))
    def room_changes(self, stage: WorkStage) -> None:
        self.world.room ^= {stage}

    @rule(percent=st.none() | st.floats(0, 99))
    def progress_is_reported(self, percent: float | None) -> None:
        """Reports come late, out of order, or not at all."""
        self.world.progress = percent

    @rule(stage=st.sampled_from(WorkStage), run=st.integers(1, 3), how=st.sampled_from(["elsewhere", "incomplete"]))
    def a_mark_that_is_not_to_be_believed_appears(self, stage: WorkStage, run: int, how: str) -> None:
        """Somebody copies a mark below another pod's prefix, or a pod dies before its files are whole."""
        self.forged += 1
        key, content, beside = mark_of(self.world.separation, stage, run, f"forger-{self.forged}")
        if how == "elsewhere":
            other, _, _ = mark_of(self.world.separation, stage, run, f"victim-{self.forged}")
            self.world.objects |= {other: content, **beside}
        else:
            name, body = next(iter(beside.items()))
            self.world.objects |= {key: content, **beside, name: body[:-1]}

    @rule()
    def user_cancels(self) -> None:
        self.world.spec["cancel"] = True

    @precondition(lambda self: self.world.spec.get("run", 1) < 4)
    @rule()
    def user_runs_again(self) -> None:
        self.world.spec.update(run=self.world.spec.get("run", 1) + 1, cancel=False)
        self.world.disruptions = 0

    @precondition(lambda self: not self.world.spec.get("suspend"))
    @rule()
    def user_suspends(self) -> None:
        self.world.spec["suspend"] = True
        self.suspensions[self.world.spec.get("run", 1)] += 1

    @precondition(lambda self: self.world.spec.get("suspend"))
    @rule()
    def user_resumes(self) -> None:
        self.world.spec["suspend"] = False

    @precondition(lambda self: self.world.objects)
    @rule(data=st.data())
    def object_is_lost(self, data: st.DataObject) -> None:
        if self.world.phase() not in TERMINAL_PHASES:
            del self.world.objects[data.draw(st.sampled_from(sorted(self.world.objects)))]

    @rule(claimed=st.booleans())
    def a_target_is_added(self, claimed: bool) -> None:
        self.named += 1
        url = f"https://consumer-{self.named}.example.com/"
        if claimed:
            self.world.spec["claims"].append({"key": f"key-{self.named}", "webhook": url})
        elif len(self.world.spec["webhooks"]) < 16:
            self.world.spec["webhooks"].append({"url": url})
        self.world.generation += 1

    @precondition(lambda self: self.world.in_hand)
    @rule(data=st.data(), status=st.sampled_from([200, 204, 0, 302, 404, 410, 429, 500]), hopeless=st.booleans())
    def consumer_answers(self, data: st.DataObject, status: int, hopeless: bool) -> None:
        url = data.draw(st.sampled_from(sorted(self.world.in_hand.values())))
        self.world.answer(url, status, hopeless=hopeless and status == 0, retry_after=7 if status == 429 else None)

    @rule(first=st.booleans(), there=st.booleans())
    def another_of_the_same_recording_appears(self, first: bool, there: bool) -> None:
        self.named += 1
        uid = f"{self.named:08x}-2222-4222-8333-944455556666"
        other = replace(self.world.separation, uid=uid, name="other", track_id=f"music.other-{self.named}")
        key, content, beside = mark_of(other, SEPARATE, 1, "pod-other", recording=RECORDING)
        if there:
            self.world.objects |= {**beside, key: content}
        self.world.duplicates = [Duplicate("other", uid, "" if first else key, 12.5, first)]

    @rule()
    def the_other_is_deleted(self) -> None:
        self.world.duplicates.clear()

    @rule()
    def operator_is_killed(self) -> None:
        self.world.restart()

    @invariant()
    def nothing_is_sent_after_its_arrival_was_recorded(self) -> None:
        stored = {one.id: one for one in self.world.separation.status.webhooks}
        for message_id in self.world.in_hand:
            assert message_id not in stored or stored[message_id].pending
        for one in stored.values():
            if one.id in self.arrived:
                assert one.delivered_at is not None
            if one.delivered_at is not None:
                self.arrived[one.id] = one.url

    @invariant()
    def the_outbox_is_bounded_and_names_each_address_once(self) -> None:
        status = self.world.separation.status
        assert len({one.url for one in status.webhooks}) == len(status.webhooks) <= 81
        assert all(one.attempts <= len(SCHEDULE) for one in status.webhooks)
        if status.phase in TERMINAL_PHASES:
            assert OWN in {one.url for one in status.webhooks}
        else:
            assert status.webhooks == []

    @invariant()
    def never_two_live_jobs_of_a_stage(self) -> None:
        """A Job that is being deleted and has no pod cannot get one any more."""
        for stage in WorkStage:
            jobs = [self.world.jobs[name]["metadata"] for name in self.world.live(stage)]
            able = [job for job in jobs if "deletionTimestamp" not in job or self.world.pods.get(job["uid"])]
            assert len(able) <= 1

    @invariant()
    def a_terminal_phase_is_final_within_its_run(self) -> None:
        status = self.world.separation.status
        if status.run is None or status.phase is None:
            return
        if status.run in self.final:
            assert status.phase is self.final[status.run]
        elif status.phase in TERMINAL_PHASES:
            self.final[status.run] = status.phase
            assert status.finished_at is not None

    @invariant()
    def a_completed_run_has_its_stems(self) -> None:
        status = self.world.separation.status
        if status.phase is Phase.COMPLETED:
            assert status.result is not None
            assert all(stem.key in self.world.objects for stem in status.result.stems.values())

    @invariant()
    def the_status_names_only_what_was_verified(self) -> None:
        status = self.world.separation.status
        named = {status.source.mark_key} if status.source and status.source.mark_key else set()
        if status.result is not None:
            named |= {status.result.manifest_key, *(stem.key for stem in status.result.stems.values())}
        assert named <= self.verified

    @invariant()
    def progress_never_runs_backwards_within_an_attempt(self) -> None:
        status = self.world.separation.status
        attempts = status.attempts
        at = (status.run, attempts.fetch if attempts else 0, attempts.separate if attempts else 0)
        assert (status.progress or 0) >= self.reached.get(at, 0)
        self.reached[at] = status.progress or 0

    @invariant()
    def usage_never_shrinks_within_a_run(self) -> None:
        status = self.world.separation.status
        used = status.usage.cpu_seconds if status.usage else 0
        assert used >= self.used.get(status.run, 0)
        self.used[status.run] = used

    @invariant()
    def attempts_are_bounded(self) -> None:
        made = Counter(name.rpartition("-")[0] for name in set(self.world.created))
        for name, count in made.items():
            assert count <= LIMIT + 1 + self.suspensions[int(name.rpartition("-")[2][1:])], made

    @invariant()
    def nothing_is_at_work_while_suspended(self) -> None:
        status = self.world.separation.status
        if status.phase is Phase.SUSPENDED:
            at_work = [job for job in self.jobs() if "deletionTimestamp" not in job["metadata"]]
            # the pod of a fetch that is done ends by itself
            assert all(job["metadata"]["name"] in ending_jobs(status) for job in at_work)

    def teardown(self) -> None:
        """Left alone, with all Jobs ending well, every run ends."""
        if not hasattr(self, "world"):
            return
        self.world.room = set(WorkStage)
        self.world.spec["suspend"] = False
        self.world.duplicates = [other for other in self.world.duplicates if not other.first]
        for _ in range(60):
            self.world.settle()
            self.a_terminal_phase_is_final_within_its_run()
            status = self.world.separation.status
            if status.phase in TERMINAL_PHASES and status.run == self.world.spec.get("run", 1):
                self.all_targets_are_notified()
                return
            for job in self.jobs():
                if "deletionTimestamp" in job["metadata"]:
                    self.world.vanish(job)
                else:
                    self.world.succeed(job)
            self.world.wait(max(1.0, self.world.requeue_after or 0))
        raise AssertionError(f"it never ends: {self.world.separation.status}")

    def all_targets_are_notified(self) -> None:
        """Consumers that answer well from now on all know of the end, and then the SeparationJob may go."""
        for _ in range(20):
            for url in list(self.world.in_hand.values()):
                self.world.answer(url)
            self.world.settle()
            status = self.world.separation.status
            if not any(one.pending for one in status.webhooks):
                break
            assert not self.world.deleted
            self.world.wait(max(1.0, self.world.requeue_after or 0))
        assert not any(one.pending for one in status.webhooks), status.webhooks
        delivered = {condition.type: condition for condition in status.conditions}["WebhooksDelivered"]
        assert (delivered.status == "True") is all(one.delivered_at for one in status.webhooks)
        named = [one["url"] for one in self.world.spec["webhooks"]] + [c["webhook"] for c in self.world.spec["claims"]]
        assert {OWN, *named} == {one.url for one in status.webhooks}


TestSeparations = Separations.TestCase
TestSeparations.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
