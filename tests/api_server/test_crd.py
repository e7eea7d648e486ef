"""A real API server accepts the CRD, stores valid SeparationJobs and refuses others with a clear message."""

import copy
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from pydantic import ValidationError

from localcluster.control_plane import ControlPlane
from localcluster.errors import ApiRefusedError
from stemyard_contract.separationjob import SeparationJobSpec
from tests.operator.world import World

GOOD: dict[str, Any] = {"source": {"searchQuery": "Queen - Bohemian Rhapsody"}}
LONGEST = "https://example.com/".ljust(1024, "x")
UPLOAD = {"id": "0b1f2f3e-0000-4000-8000-000000000000", "owner": "default"}


def path(namespace: str, name: str = "") -> str:
    return f"/apis/stemyard.dev/v1alpha1/namespaces/{namespace}/separationjobs" + (f"/{name}" if name else "")


def manifest(spec: Any, name: str = "song") -> dict[str, Any]:
    found = {"apiVersion": "stemyard.dev/v1alpha1", "kind": "SeparationJob", "metadata": {"name": name}}
    return found if spec is None else {**found, "spec": spec}


def create(plane: ControlPlane, namespace: str, spec: Any, name: str = "song") -> dict[str, Any]:
    return plane.api.post(path(namespace), manifest(spec, name))


def test_the_names_are_served(control_plane: ControlPlane) -> None:
    resources = control_plane.api.get("/apis/stemyard.dev/v1alpha1")["resources"]
    served = {resource["name"]: resource for resource in resources}
    assert served["separationjobs"]["shortNames"] == ["sepjob"]
    assert served["separationjobs"]["categories"] == ["stemyard"]
    assert "separationjobs/status" in served


def test_defaults_are_the_types_own(control_plane: ControlPlane, namespace: str) -> None:
    stored = create(control_plane, namespace, GOOD)["spec"]
    assert SeparationJobSpec.model_validate(stored) == SeparationJobSpec.model_validate(GOOD)
    assert stored["run"] == 1
    assert stored["cancel"] is False
    assert stored["deadlines"]["separate"] == 3600


@pytest.mark.parametrize(
    "spec",
    [
        GOOD,
        {"source": {"url": "https://example.com/song.mp3"}},
        {"source": {"upload": UPLOAD}},
        {"source": {"object": {"key": "incoming/" + "x" * 1015}}, "quality": "best"},
        {**GOOD, "stems": ["vocals"], "output": {"format": "mp3", "bitrate": 128}, "profile": "gpu"},
        {**GOOD, "claims": [{"key": f"key-{n}", "metadata": "{}"} for n in range(64)]},
        {**GOOD, "claims": [{"key": f"key-{n}", "webhook": LONGEST} for n in range(64)]},
        {**GOOD, "webhooks": [{"url": LONGEST} for _ in range(16)]},
    ],
)
def test_valid_separation_jobs_are_accepted(control_plane: ControlPlane, namespace: str, spec: dict[str, Any]) -> None:
    assert create(control_plane, namespace, spec)["metadata"]["uid"]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (None, "spec: Required value"),
        ({}, "spec.source: Required value"),
        ({"source": {}}, "exactly one of searchQuery, url, upload"),
        ({"source": {"searchQuery": "a", "url": "https://example.com/a"}}, "exactly one of searchQuery, url, upload"),
        ({"source": {"searchQuery": "a", "upload": UPLOAD}}, "exactly one of searchQuery, url, upload"),
        ({"source": {"searchQuery": ""}}, "at least 1 chars long"),
        ({"source": {"searchQuery": "x" * 501}}, "may not be more than 500"),
        ({"source": {"searchQuery": "a\x00b"}}, "give some text without control characters"),
        ({"source": {"url": "https://example.com:99999/"}}, "give a whole URL without spaces"),
        ({"source": {"url": "file:///etc/passwd"}}, "give a whole URL without spaces"),
        ({"source": {"upload": {"id": "../../other", "owner": "default"}}}, "spec.source.upload.id"),
        ({**GOOD, "stems": []}, "should have at least 1 items"),
        ({**GOOD, "stems": ["vocals", "vocals"]}, "Duplicate value"),
        ({**GOOD, "stems": ["kazoo"]}, "Unsupported value"),
        ({**GOOD, "output": {"format": "exe"}}, "Unsupported value"),
        ({**GOOD, "output": {"bitrate": 9000}}, "Unsupported value"),
        ({**GOOD, "run": 0}, "spec.run"),
        ({**GOOD, "priority": 1001}, "spec.priority"),
        ({**GOOD, "claims": [{"key": "a"}, {"key": "a"}]}, "Duplicate value"),
        ({**GOOD, "claims": [{"key": f"k{n}"} for n in range(65)]}, "must have at most 64 items"),
        ({**GOOD, "claims": [{"key": "a", "metadata": "x" * 1025}]}, "may not be more than 1024"),
        ({**GOOD, "claims": [{"key": "a", "webhook": LONGEST + "x"}]}, "may not be more than 1024"),
        ({**GOOD, "webhooks": [{"url": LONGEST + "x"}]}, "may not be more than 1024"),
        ({**GOOD, "webhooks": [{"url": "ftp://example.com"}]}, "spec.webhooks[0].url: Invalid value"),
        ({**GOOD, "webhooks": [{"url": "ftp://example.com"}]}, "give a whole URL without spaces"),
        ({**GOOD, "claims": [{"key": "a", "webhook": "ftp://example.com"}]}, "give a whole URL without spaces"),
        ({**GOOD, "webhooks": [{}]}, "spec.webhooks[0].url: Required value"),
        ({**GOOD, "webhooks": [{"url": LONGEST}] * 17}, "must have at most 16 items"),
        ({**GOOD, "retryPolicy": {"limit": 99}}, "spec.retryPolicy.limit"),
        ({**GOOD, "deadlines": {"queue": 604801}}, "spec.deadlines.queue"),
        ({**GOOD, "ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished"),
        ({**GOOD, "profile": "No Such"}, "spec.profile"),
        ({**GOOD, "model": "Nope!"}, "spec.model"),
    ],
)
def test_invalid_separation_jobs_are_refused(
    control_plane: ControlPlane, namespace: str, spec: Any, complaint: str
) -> None:
    with pytest.raises(ApiRefusedError) as refused:
        create(control_plane, namespace, spec)
    assert complaint in str(refused.value)
    assert "https?" not in str(refused.value), "a sentence, not a pattern"


_HOSTS = [
    "example.com",
    "[::1]",
    "[::1",
    "[1.2]",
    "a:b",
    "a\u3000b",
    "a\u0085",
    "1.2.3.4",
    "ex\u2100mple",
    "user@h",
    "",
    "\u00fc.de",
]
_PORTS = ["", ":", ":0", ":443", ":65535", ":65536", ":99999", ":port", ":-1", ":\u0661"]
_RESTS = st.sampled_from(["", "/", "/a b", "/a\u3000b", "/%zz", "?q", "#f", "/a\\b", "/\ufeff"]) | st.text(max_size=8)
URLS = st.builds(
    lambda scheme, host, port, rest: f"{scheme}{host}{port}{rest}",
    st.sampled_from(["http://", "https://", "Https://", "ftp://", "//", ""]),
    st.sampled_from(_HOSTS) | st.text(max_size=8),
    st.sampled_from(_PORTS),
    _RESTS,
)
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["a\x00b", "\u3000", " ", "a\tb\nc", "a\x85b", "\u200b", "x" * 500, "x" * 501]
)
NAMES = TEXTS | st.from_regex(r"\A[a-z0-9][a-z0-9.-]{0,70}\Z")
SPECS = st.fixed_dictionaries(
    {
        "source": st.one_of(
            st.builds(lambda url: {"url": url}, URLS),
            st.builds(lambda query: {"searchQuery": query}, TEXTS),
            st.builds(lambda key: {"object": {"key": key}}, TEXTS),
            st.builds(lambda owner: {"upload": {**UPLOAD, "owner": owner}}, NAMES),
        )
    },
    optional={
        "webhooks": st.lists(st.builds(lambda url: {"url": url}, URLS), max_size=2),
        "claims": st.lists(st.builds(lambda key, url: {"key": key, "webhook": url}, NAMES, URLS), max_size=1),
        "model": NAMES,
        "profile": NAMES,
        "run": st.integers(-1, 100_001),
        "priority": st.integers(-1002, 1002),
        "ttlSecondsAfterFinished": st.integers(-1, 31_536_001),
    },
)


@hypothesis.settings(
    deadline=None, max_examples=400, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(spec=SPECS)
@hypothesis.example(spec={"source": {"url": "https://h:port/"}})
@hypothesis.example(spec={"source": {"url": "https://h:99999/"}})
@hypothesis.example(spec={"source": {"url": "http://[::1/"}})
@hypothesis.example(spec={"source": {"url": "https://example.com/a\u3000b"}})
@hypothesis.example(spec={"source": {"searchQuery": "a\x00b"}})
def test_crd_and_types_accept_the_same(control_plane: ControlPlane, namespace: str, spec: dict[str, Any]) -> None:
    """What only one of them accepts would get no status, or could not be created. And a decision never raises."""
    try:
        control_plane.api.post(path(namespace) + "?dryRun=All", manifest(spec))
        served = True
    except ApiRefusedError:
        served = False
    try:
        typed = SeparationJobSpec.model_validate(spec)
    except ValidationError:
        typed = None
    assert served == (typed is not None)
    if typed is not None:
        World(spec=typed.dump()).step()


def test_a_name_leaves_room_for_its_jobs(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, GOOD, "n" * 40)
    with pytest.raises(ApiRefusedError, match="at most 40 characters"):
        create(control_plane, namespace, GOOD, "n" * 41)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", {"searchQuery": "another"}),
        ("model", "other"),
        ("stems", ["vocals"]),
        ("output", {"bitrate": 128}),
        ("profile", "gpu"),
        ("retryPolicy", {"limit": 1}),
        ("deadlines", {"fetch": 60}),
        ("quality", "fast"),
        ("webhookTest", True),
    ],
)
def test_fields_that_determine_the_result_are_immutable(
    control_plane: ControlPlane, namespace: str, field: str, value: Any
) -> None:
    create(control_plane, namespace, GOOD)
    with pytest.raises(ApiRefusedError, match=f"{field} cannot be changed"):
        control_plane.api.merge(path(namespace, "song"), {"spec": {field: value}})


@pytest.mark.parametrize("field", ["model", "stems", "output", "profile", "retryPolicy", "deadlines"])
def test_removing_a_field_sets_its_default(control_plane: ControlPlane, namespace: str, field: str) -> None:
    """A removed field is defaulted before the rules are evaluated, so only a change of value is refused."""
    create(control_plane, namespace, GOOD)
    assert control_plane.api.merge(path(namespace, "song"), {"spec": {field: None}})["spec"][field] is not None


@pytest.mark.parametrize(
    "patch", [{"run": 2}, {"cancel": True}, {"claims": [{"key": "b"}]}, {"priority": -7}, {"suspend": True}]
)
def test_mutable_fields_can_be_changed(control_plane: ControlPlane, namespace: str, patch: dict[str, Any]) -> None:
    create(control_plane, namespace, GOOD)
    changed = control_plane.api.merge(path(namespace, "song"), {"spec": patch})["spec"]
    assert {key: changed[key] for key in patch} == patch


def test_what_git_may_still_say_is_not_refused(control_plane: ControlPlane, namespace: str) -> None:
    """An older run, a cancellation taken back, other webhooks: refused, they would fail every later sync."""
    one, two = {"url": "https://example.com/1"}, {"url": "https://example.com/2"}
    create(control_plane, namespace, {**GOOD, "run": 2})
    song = path(namespace, "song")
    stated: tuple[dict[str, Any], ...] = (
        {"webhooks": [one, two]},
        {"webhooks": [two]},
        {"webhooks": []},
        {"run": 1},
        {"cancel": True},
        {"cancel": False},
        {"cancel": True, "run": 3},
        {"ttlSecondsAfterFinished": 60},
    )
    for spec in stated:
        stored = control_plane.api.merge(song, {"spec": spec})["spec"]
        assert spec.items() <= stored.items()
    removed = control_plane.api.merge(song, {"spec": {"ttlSecondsAfterFinished": None, "webhooks": None}})["spec"]
    assert "ttlSecondsAfterFinished" not in removed
    assert removed["webhooks"] == []


def test_status_is_a_subresource_with_every_field_declared(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, GOOD)
    moment = "2026-01-02T03:04:05Z"
    status = {
        "observedGeneration": 1,
        "run": 1,
        "trackId": "t",
        "phase": "Separating",
        "progress": 40,
        "conditions": [{"type": "Fetched", "status": "True", "reason": "Succeeded", "lastTransitionTime": moment}],
        "source": {"title": "T", "candidates": [{"mediaId": "youtube:x", "title": "T", "score": 1.5, "chosen": True}]},
        "attempts": {
            "fetch": 1,
            "separate": 1,
            "disruptions": 0,
            "failed": 0,
            "requeued": 1,
            "ephemeralStorage": "1Gi",
        },
        "pendingSince": moment,
        "startedAt": moment,
        "webhooks": [
            {"id": "0" * 36, "url": LONGEST, "attempts": 2, "lastStatus": 503, "nextAttemptAt": moment},
            {"id": "1" * 36, "url": LONGEST, "attempts": 1, "lastStatus": 200, "deliveredAt": moment},
        ],
    }
    song = path(namespace, "song")
    stored = control_plane.api.merge(f"{song}/status", {"status": copy.deepcopy(status), "spec": {"run": 9}})
    assert stored["spec"]["run"] == 1
    assert stored["status"]["source"] == status["source"]
    assert stored["status"]["attempts"] == status["attempts"]
    assert stored["status"]["webhooks"] == status["webhooks"]
    wrong = {"status": {"phase": "Dancing"}}
    with pytest.raises(ApiRefusedError, match="Unsupported value"):
        control_plane.api.merge(f"{song}/status", wrong)


def test_a_status_newer_than_the_definition_is_refused_as_the_runbook_says(
    control_plane: ControlPlane, namespace: str
) -> None:
    create(control_plane, namespace, GOOD)
    newer = {**manifest(None), "status": {"phase": "Completed", "ofALaterVersion": "x"}}
    with pytest.raises(ApiRefusedError, match=r"answered 500.*field not declared in schema"):
        control_plane.api.apply(f"{path(namespace, 'song')}/status", newer)
    assert "phase" not in control_plane.api.get(path(namespace, "song")).get("status", {})


def test_the_columns_are_printed(control_plane: ControlPlane, namespace: str) -> None:
    crd = control_plane.api.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/separationjobs.stemyard.dev")
    columns = crd["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [c["name"] for c in columns if not c.get("priority")] == [
        "Phase",
        "Progress",
        "Reason",
        "Title",
        "Model",
        "Age",
    ]
