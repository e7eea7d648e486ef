"""The separate stage: audio in, stems out, manifest last."""

import math
from concurrent.futures import Future
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Stem
from stemyard_contract.handover import (
    AUDIO_FILE,
    SOURCE_MARK_FILE,
    Asked,
    Assignment,
    Manifest,
    MarkReference,
    SourceMark,
    StemFile,
    StoredFile,
)
from stemyard_separator.audio.loudness import Levels, round_level
from stemyard_separator.audio.media import library_versions
from stemyard_separator.audio.render import Rendering
from stemyard_separator.audio.stems import FetchedAudio, RenderOptions, render_stems
from stemyard_separator.engines.protocol import Engine
from stemyard_separator.errors import ConfigurationError, PublishError
from stemyard_separator.logs import log
from stemyard_separator.stages.context import StageContext
from stemyard_separator.stages.timings import Stopwatch
from stemyard_separator.transfer.object_store import LocalFile
from stemyard_separator.transfer.streamed_file import StreamedFile, Tell

_MARK_LIMIT: Final = 1 << 20
_READ, _LOADED, _SEPARATED = 0.02, 0.04, 0.97
"""Shares of the stage's progress by which the audio is here, the model is loaded, the stems are encoded."""


def separate(stage: StageContext, loading: "Future[Engine]") -> MarkReference:
    """Separate the audio that fetch left and publish the stems; return the manifest's place.

    Args:
        stage: what to do and with what.
        loading: the model's engine, once it is there.

    Raises:
        StageError: whatever the failure table has for this stage.
    """
    watch = Stopwatch()
    stage.reporter.update("download", 0.0)
    source = _read_mark(stage)
    audio = _arriving(stage, source, watch)
    watch.lap("download")
    stage.reporter.update("load", _READ)
    engine = loading.result()
    watch.lap("load")
    rendering = _rendered(stage, engine, source, audio, watch)
    watch.lap("separate")
    stage.reporter.update("upload", _SEPARATED)
    published = _published(stage, rendering)
    stage.store.upload([file for pair in published.values() for file in pair])
    watch.lap("upload")
    log("separated", samples=source.samples, gain=round(rendering.gain, 4), timings=watch.seconds)
    stems = {stem: _stem_file(*pair, rendering.levels[stem], source) for stem, pair in published.items()}
    written = {"stems": stems, "published_at": datetime.now(UTC)}
    return stage.commit(_manifest(stage, source, engine, rendering, watch).model_copy(update=written))


def _published(stage: StageContext, rendering: Rendering) -> dict[Stem, tuple[LocalFile, LocalFile]]:
    """Return audio and outline of every stem."""
    kind = stage.assignment.output.content_type
    return {
        stem: (LocalFile(path, kind), LocalFile(rendering.peaks[stem], "application/json"))
        for stem, path in rendering.files.items()
    }


def _rendered(
    stage: StageContext, engine: Engine, source: SourceMark, audio: StreamedFile, watch: Stopwatch
) -> Rendering:
    """Return the stems of the audio that the mark names; other bytes are told apart from other failures."""
    try:
        rendering = _render(stage, engine, source, audio, watch)
    except Exception:
        _check_digest(audio, source)
        raise
    _check_digest(audio, source)
    return rendering


def _render(
    stage: StageContext, engine: Engine, source: SourceMark, audio: StreamedFile, watch: Stopwatch
) -> Rendering:
    fetched = FetchedAudio(
        flac=audio,
        exponent=source.exponent,
        samples=source.samples,
        peak=source.peak,
        mean=source.mean,
        standard_deviation=source.standard_deviation,
        media=source.media,
    )

    def tell(done: float) -> None:
        watch.note("first_block")
        audio.want_rest()
        stage.reporter.update("separate", _LOADED + (_SEPARATED - _LOADED) * done)

    given = stage.assignment
    return render_stems(engine, fetched, stage.folder, RenderOptions(given.stems, given.output, given.model), tell)


def _read_mark(stage: StageContext) -> SourceMark:
    """Bring the mark here, checking that it is the one that the operator accepted."""
    fetched = stage.assignment.fetched
    if fetched is None:
        raise ConfigurationError("The Assignment does not say what was fetched.")
    path = stage.folder / SOURCE_MARK_FILE
    stored = stage.store.fetch(SOURCE_MARK_FILE, path, _MARK_LIMIT, _mismatch("The source mark is gone."))
    if stored.sha256 != fetched.sha256:
        raise _mismatch("The source mark is not the one that was accepted.")
    return _parsed(path)


def _arriving(stage: StageContext, source: SourceMark, watch: Stopwatch) -> StreamedFile:
    """Return the audio, on its way: an hour of it is separated while it comes."""
    path = stage.folder / AUDIO_FILE

    def bring(tell: Tell) -> StoredFile:
        stored = stage.store.fetch(AUDIO_FILE, path, source.audio.bytes, _mismatch("The audio is gone."), tell)
        watch.note("downloaded")
        return stored

    return StreamedFile(path, bring)


def _check_digest(audio: StreamedFile, source: SourceMark) -> None:
    if audio.result().sha256 != source.audio.sha256:
        raise _mismatch("The audio is not what its mark says.")


def _parsed(path: Path) -> SourceMark:
    try:
        return SourceMark.model_validate_json(path.read_bytes())
    except ValidationError:
        raise _mismatch("The source mark cannot be read.") from None


def _mismatch(detail: str) -> PublishError:
    return PublishError(FailureCode.ARTIFACT_MISMATCH, detail)


def _stem_file(file: LocalFile, peaks: LocalFile, levels: Levels, source: SourceMark) -> StemFile:
    stored = file.stored()
    return StemFile(
        file=stored.file,
        bytes=stored.bytes,
        sha256=stored.sha256,
        samples=source.samples,
        duration_seconds=source.duration_seconds,
        integrated_loudness=round_level(levels.integrated_loudness),
        true_peak=round_level(levels.true_peak),
        peaks=peaks.stored(),
    )


def _asked(assignment: Assignment) -> Asked:
    return Asked(
        namespace=assignment.namespace,
        name=assignment.name,
        source=assignment.source,
        quality=assignment.quality,
        owner=assignment.owner,
    )


def _manifest(
    stage: StageContext, source: SourceMark, engine: Engine, rendering: Rendering, watch: Stopwatch
) -> Manifest:
    assignment = stage.assignment
    return Manifest(
        uid=assignment.uid,
        run=assignment.run,
        pod_uid=stage.settings.pod_uid,
        stems={},
        source_audio_sha256=source.audio_sha256,
        media=source.media,
        engine=engine.name,
        model=assignment.model,
        model_digest=engine.digest,
        device=engine.device,
        output=assignment.output,
        gain_db=round(20 * math.log10(rendering.gain), 4),
        real_time_factor=round(watch.seconds["separate"] / source.duration_seconds, 5),
        timings=watch.seconds,
        versions={"stemyard": version("stemyard"), **library_versions(), **engine.versions},
        parameters=engine.parameters,
        source_mark_sha256=assignment.fetched.sha256 if assignment.fetched else None,
        asked=_asked(assignment),
    )
