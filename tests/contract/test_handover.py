"""What passes between operator and separator survives the way there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import (
    OUTCOME_LIMIT,
    Assignment,
    Limits,
    LinkRequest,
    LinksRequest,
    MarkReference,
    Outcome,
    WorkStage,
    overall_progress,
    parse_outcome,
    peaks_file,
)
from stemyard_contract.separationjob import Output, Source, Stem


def assignment(stage: WorkStage, fetched: MarkReference | None = None) -> Assignment:
    return Assignment(
        stage=stage,
        uid="u",
        name="sep-x",
        namespace="ns",
        track_id="t",
        run=1,
        source=Source(search_query="q"),
        model="spleeter-2stems",
        stems=[Stem.VOCALS],
        output=Output(),
        limits=Limits(max_bytes=1, max_duration_seconds=1),
        desk_url="http://desk",
        fetched=fetched,
    )


def test_an_assignment_survives_the_environment() -> None:
    sent = assignment(WorkStage.SEPARATE, MarkReference(key="k", sha256="0" * 64))
    assert Assignment.model_validate_json(sent.dump()) == sent
    assert '"trackId"' in sent.dump()


def test_separate_needs_what_fetch_left() -> None:
    with pytest.raises(ValidationError, match="fetched"):
        assignment(WorkStage.SEPARATE)


def test_a_put_states_its_length() -> None:
    with pytest.raises(ValidationError, match="bytes"):
        LinkRequest(file="vocals.mp3", method="PUT")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A.mp3", ".hidden", "x" * 65])
def test_a_file_name_is_no_path(name: str) -> None:
    with pytest.raises(ValidationError):
        LinkRequest(file=name, method="GET")


@given(st.text(max_size=6000))
def test_an_outcome_always_fits(message: str) -> None:
    text = Outcome(stage=WorkStage.FETCH, code=FailureCode.SOURCE_NETWORK, message=message).dump()
    assert len(text.encode()) <= OUTCOME_LIMIT
    read = parse_outcome(text)
    assert read is not None
    assert read.code is FailureCode.SOURCE_NETWORK
    assert message.startswith(read.message or "")


@pytest.mark.parametrize("text", [None, "", "Killed", "{}", '{"stage":"dance"}'])
def test_what_is_no_outcome_is_none(text: str | None) -> None:
    assert parse_outcome(text) is None


def test_progress_only_grows_from_stage_to_stage() -> None:
    steps = [
        overall_progress(stage, fraction) for stage in (WorkStage.FETCH, WorkStage.SEPARATE) for fraction in (0, 0.5, 1)
    ]
    assert steps == sorted(steps)
    assert steps[0] == 0
    assert steps[-1] < 100


def test_one_request_holds_the_links_of_all_files_of_a_stage() -> None:
    names = [f"{stem}.mp3" for stem in Stem] + [peaks_file(stem) for stem in Stem] + [WorkStage.SEPARATE.mark_file]
    files = [LinkRequest(file=name, method="PUT", bytes=1, content_type="audio/mpeg") for name in names]
    assert len(LinksRequest(files=files).files) == 15
