"""The command line: `python3 -m localcluster <command>`; results go to standard output, progress to standard error."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from localcluster import binaries, choice, machine, tools
from localcluster.builder import Build
from localcluster.choice import Kind
from localcluster.cluster import LocalCluster
from localcluster.errors import LocalClusterError
from localcluster.folders import Folders, here
from localcluster.kind_provider import KindProvider
from localcluster.local_provider import LocalProvider
from localcluster.progress import say
from localcluster.provider import Provider

DEFAULT_GPUS = 4


def provider(folders: Folders) -> Provider:
    """Return the provider for this machine.

    Raises:
        MissingPrerequisiteError: no cluster can run here; the message says what to install.
    """
    kind = choice.choose(machine.facts())
    return KindProvider(folders) if kind is Kind.KIND else LocalProvider(folders)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 for success, 1 for an error, 2 for a wrong command line."""
    args = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace, Folders], int] = args.command
    try:
        return command(args, here())
    except LocalClusterError as error:
        print(f"localcluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("localcluster: interrupted; run the same command again to continue", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = argparse.ArgumentParser(prog="python3 -m localcluster", description="A real Kubernetes on one machine.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace, Folders], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    up = add("up", _up, "start the cluster unless it is running")
    up.add_argument(
        "--gpus", type=int, default=DEFAULT_GPUS, help="simulated GPUs that each node advertises (default %(default)s)"
    )
    up.add_argument(
        "--workers",
        type=int,
        default=0,
        help="worker nodes, with Docker only (default: none)",
    )
    add("down", _down, "stop everything and remove all but the cache")
    add("status", _status, "print the cluster's state; exit status 0 when healthy")
    add("kubeconfig", _kubeconfig, "print the path of the administrator's kubeconfig")
    add("env", _env, "print shell exports for the cluster")
    load = add("load-image", _load_image, "load OCI archives into the cluster")
    load.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    build = add("build-image", _build_image, "build an image, load it into the cluster, print its digest")
    build.add_argument("--file", type=Path, required=True, help="Dockerfile")
    build.add_argument("--tag", required=True, metavar="NAME:TAG")
    build.add_argument("--target", default="", help="stage to build")
    build.add_argument("--context", type=Path, default=Path(), help="build context (default: the current folder)")
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    add("base-image", _base_image, "build the base image and print its name")
    add("support-images", _support_images, "load the S3 server's and Valkey's images into the cluster, print exports")
    prepare = add("prepare", _prepare, "download and compile everything that `up` needs")
    prepare.add_argument("--control-plane", action="store_true", help="only what the API server tests need")
    add("binaries", _binaries, "compile the servers unless they are cached, print their folder")
    tool = add("tool", _tool, "print the path of a program; download or compile it if missing")
    tool.add_argument("name", choices=sorted(tools.TOOLS))
    add("doctor", _doctor, "print the missing prerequisites, one sentence each")
    return root


def _up(args: argparse.Namespace, folders: Folders) -> int:
    cluster = provider(folders)
    cluster.up(args.gpus, args.workers)
    say(f"the cluster is up; export KUBECONFIG={cluster.kubeconfig()}")
    return 0


def _down(_: argparse.Namespace, folders: Folders) -> int:
    if LocalCluster(folders).exists():
        # Docker may have been started since the cluster came up, so both kinds are removed.
        LocalCluster(folders).down()
    provider(folders).down()
    say("the cluster is removed; only the cache is kept")
    return 0


def _status(_: argparse.Namespace, folders: Folders) -> int:
    cluster = provider(folders)
    problems = cluster.problems()
    if problems:
        print("\n".join(problems))
        return 1
    print(f"The cluster is healthy.\n  kubeconfig    {cluster.kubeconfig()}\n  node address  {cluster.node_address()}")
    return 0


def _kubeconfig(_: argparse.Namespace, folders: Folders) -> int:
    print(provider(folders).kubeconfig())
    return 0


def _env(_: argparse.Namespace, folders: Folders) -> int:
    cluster = provider(folders)
    problems = cluster.problems()
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    variables = {"KUBECONFIG": str(cluster.kubeconfig()), "STEMYARD_NODE_ADDRESS": cluster.node_address()}
    _export(variables | cluster.image_names())
    return 0


def _load_image(args: argparse.Namespace, folders: Folders) -> int:
    cluster = provider(folders)
    for archive in args.archives:
        print(cluster.load_image(archive))
    return 0


def _build_image(args: argparse.Namespace, folders: Folders) -> int:
    cluster = provider(folders)
    malformed = [argument for argument in args.build_arg if "=" not in argument]
    if malformed or ":" not in args.tag:
        raise LocalClusterError(f"write {malformed[0]} as NAME=VALUE" if malformed else f"write {args.tag} as NAME:TAG")
    arguments = dict(argument.split("=", 1) for argument in args.build_arg)
    base = cluster.base_image() if "BASE_IMAGE" not in arguments else ""
    arguments |= {"BASE_IMAGE": base} if base else {}
    print(cluster.build_image(Build(args.file, args.tag, args.context, args.target, arguments)))
    return 0


def _base_image(_: argparse.Namespace, folders: Folders) -> int:
    print(provider(folders).base_image())
    return 0


def _support_images(_: argparse.Namespace, folders: Folders) -> int:
    _export(provider(folders).support_images())
    return 0


def _prepare(args: argparse.Namespace, folders: Folders) -> int:
    if args.control_plane:
        print(binaries.control_plane_binary(folders).parent)
        return 0
    provider(folders).prepare()
    return 0


def _binaries(_: argparse.Namespace, folders: Folders) -> int:
    print(binaries.cluster_binaries(folders))
    return 0


def _tool(args: argparse.Namespace, folders: Folders) -> int:
    print(tools.path_of(args.name, folders))
    return 0


def _doctor(_: argparse.Namespace, _folders: Folders) -> int:
    missing = choice.missing_prerequisites(machine.facts())
    print("\n".join(missing) if missing else "Nothing is missing.")
    return 1 if missing else 0


def _export(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
