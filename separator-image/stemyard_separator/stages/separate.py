"""The separate stage: downloads the audio, separates it, uploads the stems and then the manifest."""

import math
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

from pydantic import ValidationError

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Stem
from stemyard_contract.handover import (
    AUDIO_FILE,
    LOADED_FRACTION,
    SEPARATE_STEP,
    SEPARATED_FRACTION,
    SOURCE_MARK_FILE,
    UPLOAD_STEP,
    JobRequest,
    Link,
    Manifest,
    MarkReference,
    SourceMark,
    StemFile,
    StoredFile,
)
from stemyard_separator.audio.loudness import Levels, round_level
from stemyard_separator.audio.media import library_versions
from stemyard_separator.audio.render import Rendering
from stemyard_separator.audio.stems import FetchedAudio, Mix, RenderOptions, render_stems
from stemyard_separator.engines.metering import MeteredEngine
from stemyard_separator.engines.protocol import BlockEngine, SeparationEngine
from stemyard_separator.errors import ConfigurationError, LeaseLostError, PublishError
from stemyard_separator.logs import log
from stemyard_separator.stages.context import StageContext
from stemyard_separator.stages.model_loading import Loading
from stemyard_separator.stages.timings import Stopwatch
from stemyard_separator.transfer.object_store import LocalFile
from stemyard_separator.transfer.streamed_file import OnBytes, StreamedFile

_MAX_MARK_BYTES: Final = 1 << 20
_DOWNLOADED: Final = 0.02
"""The stage's progress once reading the audio can start."""


def separate(context: StageContext, loading: Loading) -> MarkReference:
    """Separate fetch's audio and upload the stems; return the manifest's reference.

    Args:
        context: the execution of the stage.
        loading: the engine being loaded.

    Raises:
        StageError: any failure of the table's separate stage.
    """
    stopwatch = Stopwatch(context.age)
    context.reporter.update("download", 0.0)
    mark_link, audio_link = context.store.links_to_read(SOURCE_MARK_FILE, AUDIO_FILE)
    source = _download_mark(context, mark_link)
    audio = _start_download(context, audio_link, source, stopwatch)
    stopwatch.lap("download")
    context.reporter.update("load", _DOWNLOADED)
    with Mix(_fetched(audio, source)) as mix:
        engine = loading.result()
        metered = MeteredEngine(engine)
        stopwatch.lap("load")
        rendering = _render_verified(context, metered, source, audio, mix, stopwatch)
    stopwatch.lap(SEPARATE_STEP)
    context.reporter.update(UPLOAD_STEP, SEPARATED_FRACTION)
    files = _stem_files(context, rendering)
    stems = {stem: _stem_file(*pair, rendering.levels[stem], source) for stem, pair in files.items()}

    def manifest() -> Manifest:
        timings = {**stopwatch.seconds, UPLOAD_STEP: stopwatch.elapsed}
        found = _manifest(context, source, engine, rendering, stems, timings)
        return found.model_copy(update={"network_seconds": round(metered.seconds, 3)})

    reference = context.publish([file for pair in files.values() for file in pair], manifest)
    stopwatch.lap(UPLOAD_STEP)
    log("separated", samples=source.samples, gain=round(rendering.gain, 4), timings=stopwatch.seconds)
    return reference


def _stem_files(context: StageContext, rendering: Rendering) -> dict[Stem, tuple[LocalFile, LocalFile]]:
    """Return audio and waveform file of every stem."""
    content_type = context.assignment.output.content_type
    return {
        stem: (LocalFile(path, content_type), LocalFile(rendering.peaks[stem], "application/json"))
        for stem, path in rendering.files.items()
    }


def _render_verified(
    context: StageContext,
    engine: BlockEngine,
    source: SourceMark,
    audio: StreamedFile,
    mix: Mix,
    stopwatch: Stopwatch,
) -> Rendering:
    """Separate the audio and verify its digest; a wrong digest takes precedence over a failed separation."""
    try:
        rendering = _render(context, engine, audio, mix, stopwatch)
    except LeaseLostError:
        raise
    except Exception:
        _check_digest(audio, source)
        raise
    _check_digest(audio, source)
    return rendering


def _fetched(audio: StreamedFile, source: SourceMark) -> FetchedAudio:
    return FetchedAudio(
        flac=audio,
        exponent=source.exponent,
        samples=source.samples,
        peak=source.peak,
        mean=source.mean,
        standard_deviation=source.standard_deviation,
        level=source.level,
        media=source.media,
        sha256=source.audio_sha256,
        tags=source.tags,
        source_rate=source.source_sample_rate or source.sample_rate,
        is_mono=source.is_mono,
    )


def _render(
    context: StageContext, engine: BlockEngine, audio: StreamedFile, mix: Mix, stopwatch: Stopwatch
) -> Rendering:
    def on_progress(fraction: float) -> None:
        stopwatch.record("first_block")
        audio.need_rest()
        context.reporter.update(SEPARATE_STEP, LOADED_FRACTION + (SEPARATED_FRACTION - LOADED_FRACTION) * fraction)

    assignment = context.assignment
    options = RenderOptions(assignment.stems, assignment.output, assignment.model)
    return render_stems(engine, mix, context.folder, options, on_progress)


def _download_mark(context: StageContext, link: Link) -> SourceMark:
    """Download the source mark; its digest must be that of the mark the operator accepted."""
    fetched = context.assignment.fetched
    if fetched is None:
        raise ConfigurationError("The Assignment contains no source mark.")
    path = context.folder / SOURCE_MARK_FILE
    missing = _mismatch("The source mark is gone.")
    stored = context.store.download(link, path, _MAX_MARK_BYTES, missing)
    if stored.sha256 != fetched.sha256:
        raise _mismatch("The source mark is not the one that was accepted.")
    try:
        return SourceMark.model_validate_json(path.read_bytes())
    except ValidationError:
        raise _mismatch("The source mark cannot be parsed.") from None


def _start_download(context: StageContext, link: Link, source: SourceMark, stopwatch: Stopwatch) -> StreamedFile:
    """Start to download the audio, which is separated while it arrives."""
    path = context.folder / AUDIO_FILE

    def download(on_bytes: OnBytes) -> StoredFile:
        missing = _mismatch("The audio is gone.")
        stored = context.store.download(link, path, source.audio.bytes, missing, on_bytes)
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
    timings: dict[str, float],
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
        real_time_factor=round(timings[SEPARATE_STEP] / source.duration_seconds, 5),
        timings=timings,
        versions={"stemyard": version("stemyard"), **library_versions(), **engine.versions},
        parameters=engine.parameters,
        source_mark_sha256=assignment.fetched.sha256 if assignment.fetched else None,
        request=JobRequest(
            namespace=assignment.namespace,
            name=assignment.name,
            source=assignment.source,
            quality=assignment.quality,
            owner=assignment.owner,
        ),
        published_at=datetime.now(UTC),
    )
