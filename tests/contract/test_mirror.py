"""A record tells what the resource says, and newer records win."""

from typing import Any

from stemyard_contract.mirror import MirrorRecord, record_of
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.output import Output
from stemyard_contract.separationjob import LABEL_TRACK, Phase, Stem

TRACK = "0b1f2f3e-0000-5000-8000-000000000000"


CLAIMS = [{"key": "default", "webhook": "https://example.com/hook"}]

PREFIX = f"i/stems/{TRACK}/{'0' * 32}/"


def resource(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"sep-{TRACK}",
            "namespace": "stemyard",
            "uid": "u1",
            "resourceVersion": "41",
            "generation": 1,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {LABEL_TRACK: TRACK},
        },
        "spec": {"source": {"searchQuery": "Queen"}, "claims": CLAIMS, "ttlSecondsAfterFinished": 60},
        "status": status,
    }


def condition(kind: str, status: str, reason: str = "Because") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": "2026-01-02T03:04:06Z"}


def test_a_new_resource_is_pending() -> None:
    record = record_of(resource())
    assert (record.track_id, record.phase, record.query, record.finished) == (TRACK, Phase.PENDING, "Queen", False)
    assert record.created == 1767323045.0
    assert record.claims == ["default"]
    assert record.webhooks == {"default": "https://example.com/hook"}
    assert record.expires_at is None


def test_a_record_tells_what_was_requested() -> None:
    found = resource()
    found["spec"] |= {"stems": ["bass"], "quality": "best", "output": {"format": "flac", "bitDepth": 16}}
    record = MirrorRecord.model_validate_json(record_of(found).dump())
    assert record.output == Output(format="flac", bit_depth=16)
    assert (record.stems, record.quality) == ([Stem.BASS], "best")


def test_a_completed_resource_names_its_stems() -> None:
    stem = {"key": f"{PREFIX}vocals.mp3", "bytes": 1, "sha256": "0" * 64, "duration": 1.0}
    outlined = {**stem, "key": f"{PREFIX}bass.mp3", "peaksKey": f"{PREFIX}bass.peaks.json"}
    result = {
        "stems": {"vocals": stem, "bass": outlined},
        "manifestKey": f"{PREFIX}manifest.json",
        "model": "spleeter-2stems",
        "modelDigest": "d",
        "realTimeFactor": 0.1,
        "device": "cpu",
    }
    record = record_of(
        resource(
            run=1,
            conditions=[condition("Complete", "True")],
            result=result,
            startedAt="2026-01-02T03:04:06.5Z",
            finishedAt="2026-01-02T03:04:36.5Z",
        )
    )
    assert record.finished
    assert record.stem_keys == {Stem.VOCALS: f"{PREFIX}vocals.mp3", Stem.BASS: f"{PREFIX}bass.mp3"}
    assert record.peaks_keys == {Stem.BASS: f"{PREFIX}bass.peaks.json"}
    result["stems"] = {"vocals": {**stem, "key": PREFIX.replace(TRACK, "another") + "vocals.mp3"}}
    assert record_of(resource(run=1, result=result)).stem_keys == {}, "no link to objects of others"
    assert record.ended_at is not None
    assert record.started_at is not None
    assert record.ended_at - record.started_at == 30.0
    assert record.expires_at == record.ended_at + 60


def test_a_rerun_is_not_finished_until_its_own_run_ends() -> None:
    again = resource(run=1, conditions=[condition("Failed", "True", "SourceNetwork")])
    assert record_of(again).finished
    again["spec"]["run"] = 2
    assert not record_of(again).finished


def test_newer_records_win() -> None:
    old = record_of(resource())
    newer = old.model_copy(update={"resource_version": 42})
    reborn = old.model_copy(update={"uid": "u2", "resource_version": 3, "created": old.created + 1})
    assert newer.supersedes(old)
    assert not old.supersedes(newer)
    assert not old.supersedes(old)
    assert reborn.supersedes(newer)
    assert not newer.supersedes(reborn)


def test_a_record_survives_redis() -> None:
    record = record_of(resource())
    assert MirrorRecord.model_validate_json(record.dump()) == record
    assert MirrorKeys("inst").record(TRACK) == f"stemyard:inst:track:{TRACK}"


def test_an_upload_without_tags_is_called_by_its_file() -> None:
    made = resource()
    made["spec"]["source"] = {"upload": {"id": "0" * 36, "owner": "default", "name": "My Song"}}
    assert (record_of(made).title, record_of(made).query) == ("My Song", "My Song")
    made["status"]["source"] = {"title": "The tagged title"}
    assert record_of(made).title == "The tagged title"
    del made["spec"]["source"]["upload"]["name"]
    made["status"] = {}
    assert (record_of(made).title, record_of(made).query) == (None, f"upload {'0' * 36}")
