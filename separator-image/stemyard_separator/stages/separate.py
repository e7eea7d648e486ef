"""The separate stage: downloads the audio, separates it, uploads the stems and then the manifest."""

import math
from concurrent.futures import Future
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

from pydantic import ValidationError

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Stem
from stemyard_contract.handover import (
    AUDIO_FILE,
    SOURCE_MARK_FILE,
    Asked,
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
from stemyard_separator.engines.protocol import SeparationEngine
from stemyard_separator.errors import ConfigurationError, PublishError
from stemyard_separator.logs import log
from stemyard_separator.stages.context import StageContext
from stemyard_separator.stages.timings import Stopwatch
from stemyard_separator.transfer.object_store import LocalFile
from stemyard_separator.transfer.streamed_file import OnBytes, StreamedFile

_MAX_MARK_BYTES: Final = 1 << 20
_DOWNLOADED, _LOADED, _SEPARATED = 0.02, 0.04, 0.97
"""The stage's progress once reading the audio can start, the model is loaded, and the stems are encoded."""


def separate(context: StageContext, loading: "Future[SeparationEngine]") -> MarkReference:
    """Separate fetch's audio and upload the stems; return the manifest's reference.

    Args:
        context: the execution of the stage.
        loading: the engine being loaded.

    Raises:
        StageError: any failure of the table's separate stage.
    """
    stopwatch = Stopwatch()
    context.reporter.update("download", 0.0)
    source = _download_mark(context)
    audio = _start_download(context, source, stopwatch)
    stopwatch.lap("download")
    context.reporter.update("load", _DOWNLOADED)
    engine = loading.result()
    stopwatch.lap("load")
    rendering = _render_verified(context, engine, source, audio, stopwatch)
    stopwatch.lap("separate")
    context.reporter.update("upload", _SEPARATED)
    files = _stem_files(context, rendering)
    context.store.upload([file for pair in files.values() for file in pair])
    stopwatch.lap("upload")
    log("separated", samples=source.samples, gain=round(rendering.gain, 4), timings=stopwatch.seconds)
    stems = {stem: _stem_file(*pair, rendering.levels[stem], source) for stem, pair in files.items()}
    return context.commit(_manifest(context, source, engine, rendering, stems, stopwatch))


def _stem_files(context: StageContext, rendering: Rendering) -> dict[Stem, tuple[LocalFile, LocalFile]]:
    """Return audio and waveform file of every stem."""
    content_type = context.assignment.output.content_type
    return {
        stem: (LocalFile(path, content_type), LocalFile(rendering.peaks[stem], "application/json"))
        for stem, path in rendering.files.items()
    }


def _render_verified(
    context: StageContext, engine: SeparationEngine, source: SourceMark, audio: StreamedFile, stopwatch: Stopwatch
) -> Rendering:
    """Separate the audio and verify its digest; a wrong digest takes precedence over a failed separation."""
    try:
        rendering = _render(context, engine, source, audio, stopwatch)
    except Exception:
        _check_digest(audio, source)
        raise
    _check_digest(audio, source)
    return rendering


def _render(
    context: StageContext, engine: SeparationEngine, source: SourceMark, audio: StreamedFile, stopwatch: Stopwatch
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

    def on_progress(fraction: float) -> None:
        stopwatch.record("first_block")
        audio.need_rest()
        context.reporter.update("separate", _LOADED + (_SEPARATED - _LOADED) * fraction)

    assignment = context.assignment
    options = RenderOptions(assignment.stems, assignment.output, assignment.model)
    return render_stems(engine, fetched, context.folder, options, on_progress)


def _download_mark(context: StageContext) -> SourceMark:
    """Download the source mark; its digest must be that of the mark the operator accepted."""
    fetched = context.assignment.fetched
    if fetched is None:
        raise ConfigurationError("The Assignment contains no source mark.")
    path = context.folder / SOURCE_MARK_FILE
    missing = _mismatch("The source mark is gone.")
    stored = context.store.download(SOURCE_MARK_FILE, path, _MAX_MARK_BYTES, missing)
    if stored.sha256 != fetched.sha256:
        raise _mismatch("The source mark is not the one that was accepted.")
    try:
        return SourceMark.model_validate_json(path.read_bytes())
    except ValidationError:
        raise _mismatch("The source mark cannot be parsed.") from None


def _start_download(context: StageContext, source: SourceMark, stopwatch: Stopwatch) -> StreamedFile:
    """Start to download the audio, which is separated while it arrives."""
    path = context.folder / AUDIO_FILE

    def download(on_bytes: OnBytes) -> StoredFile:
        missing = _mismatch("The audio is gone.")
        stored = context.store.download(AUDIO_FILE, path, source.audio.bytes, missing, on_bytes)
        stopwatch.record("downloaded")
        return stored

    return StreamedFile(path, download)


def _check_digest(audio: StreamedFile, source: SourceMark) -> None:
    if audio.result().sha256 != source.audio.sha256:
        raise _mismatch("The audio does not match its mark.")


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


def _manifest(
    context: StageContext,
    source: SourceMark,
    engine: SeparationEngine,
    rendering: Rendering,
    stems: dict[Stem, StemFile],
    stopwatch: Stopwatch,
) -> Manifest:
    assignment = context.assignment
    return Manifest(
        uid=assignment.uid,
        run=assignment.run,
        pod_uid=context.settings.pod_uid,
        stems=stems,
        source_audio_sha256=source.audio_sha256,
        media=source.media,
        engine=engine.name,
        model=assignment.model,
        model_digest=engine.digest,
        device=engine.device,
        output=assignment.output,
        gain_db=round(20 * math.log10(rendering.gain), 4),
        real_time_factor=round(stopwatch.seconds["separate"] / source.duration_seconds, 5),
        timings=stopwatch.seconds,
        versions={"stemyard": version("stemyard"), **library_versions(), **engine.versions},
        parameters=engine.parameters,
        source_mark_sha256=assignment.fetched.sha256 if assignment.fetched else None,
        asked=Asked(
            namespace=assignment.namespace,
            name=assignment.name,
            source=assignment.source,
            quality=assignment.quality,
            owner=assignment.owner,
        ),
        published_at=datetime.now(UTC),
    )
