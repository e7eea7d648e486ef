"""The command line: `stemyard-operator` runs one replica of the operator, its subcommands do maintenance."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from stemyard_operator import logs
from stemyard_operator.errors import OperatorError

_DEFAULT_DAYS: Final = 14
"""Longer than any separation may wait and be retried; until then the operator cleans up by itself."""
_MIN_DAYS: Final = 8
"""A separation may wait for a week (`deadlines.queue`)."""

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, the replica if none is given; return the exit code."""
    options = _parser().parse_args(arguments)
    logs.configure()
    code = 0
    try:
        options.command(options)
    except* OperatorError as group:
        code = 1
        log.critical("%s: %s", options.failed, "; ".join(map(str, _leaves(group))))
    return code


def deprecated(module: str) -> int:
    """Run the command that has replaced `python -m stemyard_operator.<module>`, and say so; return the exit code."""
    command = module.replace("_", "-")
    sys.stderr.write(f"python -m stemyard_operator.{module} is deprecated, use: stemyard-operator {command}\n")
    return main([command, *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stemyard-operator",
        description="Without a command, run one replica of the operator until a signal ends it. "
        "Settings are environment variables.",
    )
    parser.set_defaults(command=_replica, failed="ended")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    rebuild = commands.add_parser("rebuild", help="create lost SeparationJobs again from the manifests in the bucket")
    rebuild.set_defaults(command=_rebuild, failed="not rebuilt")
    remirror = commands.add_parser("remirror", help="write the read model in Redis again from the SeparationJobs")
    remirror.set_defaults(command=_remirror, failed="the mirror is not rewritten")
    rules = commands.add_parser("bucket-rules", help="create the bucket if missing, and set its lifecycle and CORS")
    rules.add_argument("--days", type=_days, default=_DEFAULT_DAYS, help="age at which uploads and source audio expire")
    rules.add_argument(
        "--origin", type=_origin, action="append", help="page that may read and upload: https://host[:port]; repeatable"
    )
    rules.set_defaults(command=_bucket_rules, failed="the bucket was not set up")
    return parser


# Each command imports what it needs: the replica's memory and the others' start-up time are measured.


def _replica(_: argparse.Namespace) -> None:
    import uvloop

    from stemyard_operator.manager import run

    uvloop.run(run())


def _rebuild(_: argparse.Namespace) -> None:
    from stemyard_operator.maintenance.rebuild import rebuild

    outcomes = asyncio.run(rebuild())
    counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()) if number)
    log.info("rebuilt: %s", counts or "the bucket has no manifests of this installation")


def _remirror(_: argparse.Namespace) -> None:
    from stemyard_operator.maintenance.remirror import remirror

    log.info("the mirror is rewritten", extra={"records": asyncio.run(remirror())})


def _bucket_rules(options: argparse.Namespace) -> None:
    from stemyard_operator.config.settings import load_settings
    from stemyard_operator.maintenance.bucket_rules import set_up

    lines = asyncio.run(set_up(load_settings(), options.days, options.origin))
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _days(text: str) -> int:
    if not text.isdigit() or int(text) < _MIN_DAYS:
        raise argparse.ArgumentTypeError(f"must be at least {_MIN_DAYS}: a separation may wait that long")
    return int(text)


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or text != f"{parts.scheme}://{parts.netloc}":
        raise argparse.ArgumentTypeError("must be https://host or https://host:port, without a path")
    return text


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    sys.exit(main())
