"""The command line: `python3 -m localcluster <command>`; answers go to standard output, the rest to standard error."""

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
    """The provider for this machine.

    Raises:
        MissingPrerequisiteError: no cluster can run here; the message says what to install.
    """
    kind = choice.choose(machine.facts())
    return KindProvider(folders) if kind is Kind.KIND else LocalProvider(folders)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, 1 with a sentence when not, 2 for a wrong command line."""
    asked = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace, Folders], int] = asked.command
    try:
        return command(asked, here())
    except LocalClusterError as error:
        print(f"localcluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("localcluster: interrupted; run the same command again to go on", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    root = argparse.ArgumentParser(prog="python3 -m localcluster", description="A real Kubernetes on one machine.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace, Folders], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    up = add("up", _up, "start the cluster; nothing happens to one that runs")
    up.add_argument(
        "--gpus", type=int, default=DEFAULT_GPUS, help="imitated GPUs each node advertises (default %(default)s)"
    )
    up.add_argument(
        "--workers", type=int, default=0, help="nodes beside the control plane's, with Docker (default: that one alone)"
    )
    add("down", _down, "stop everything and remove every trace but the cache")
    add("status", _status, "say how the cluster is; exit status 0 when healthy")
    add("kubeconfig", _kubeconfig, "print the path of the administrator's kubeconfig")
    add("env", _env, "print shell exports for the cluster")
    load = add("load-image", _load_image, "bring OCI archives into the cluster")
    load.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    build = add("build-image", _build_image, "build an image, bring it into the cluster, print its digest")
    build.add_argument("--file", type=Path, required=True, help="Dockerfile")
    build.add_argument("--tag", required=True, metavar="NAME:TAG")
    build.add_argument("--target", default="", help="stage to stop at")
    build.add_argument("--context", type=Path, default=Path(), help="folder the Dockerfile copies from (default: here)")
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    add("base-image", _base_image, "make the base image and print its name")
    add("support-images", _support_images, "bring the S3 server's and Valkey's images into the cluster, print exports")
    prepare = add("prepare", _prepare, "do what needs network and compiling, ahead of `up`")
    prepare.add_argument("--control-plane", action="store_true", help="only what tests of the API server need")
    add("binaries", _binaries, "compile the servers unless they are in the cache, print their folder")
    tool = add("tool", _tool, "print the path of a program, fetched or compiled when absent")
    tool.add_argument("name", choices=sorted(tools.TOOLS))
    add("doctor", _doctor, "say what this machine lacks, one sentence each")
    return root


def _up(asked: argparse.Namespace, folders: Folders) -> int:
    cluster = provider(folders)
    cluster.up(asked.gpus, asked.workers)
    say(f"the cluster is up; export KUBECONFIG={cluster.kubeconfig()}")
    return 0


def _down(_: argparse.Namespace, folders: Folders) -> int:
    if LocalCluster(folders).exists():
        # Docker may have been started since: each kind of cluster is taken down by its own.
        LocalCluster(folders).down()
    provider(folders).down()
    say("nothing of the cluster is left but the cache")
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
    where = {"KUBECONFIG": str(cluster.kubeconfig()), "STEMYARD_NODE_ADDRESS": cluster.node_address()}
    _export(where | cluster.image_names())
    return 0


def _load_image(asked: argparse.Namespace, folders: Folders) -> int:
    cluster = provider(folders)
    for archive in asked.archives:
        print(cluster.load_image(archive))
    return 0


def _build_image(asked: argparse.Namespace, folders: Folders) -> int:
    cluster = provider(folders)
    wrong = [argument for argument in asked.build_arg if "=" not in argument]
    if wrong or ":" not in asked.tag:
        raise LocalClusterError(f"write {wrong[0]} as NAME=VALUE" if wrong else f"write {asked.tag} as NAME:TAG")
    arguments = dict(argument.split("=", 1) for argument in asked.build_arg)
    base = cluster.base_image() if "BASE_IMAGE" not in arguments else ""
    arguments |= {"BASE_IMAGE": base} if base else {}
    print(cluster.build_image(Build(asked.file, asked.tag, asked.context, asked.target, arguments)))
    return 0


def _base_image(_: argparse.Namespace, folders: Folders) -> int:
    print(provider(folders).base_image())
    return 0


def _support_images(_: argparse.Namespace, folders: Folders) -> int:
    _export(provider(folders).support_images())
    return 0


def _prepare(asked: argparse.Namespace, folders: Folders) -> int:
    if asked.control_plane:
        return _binaries(asked, folders)
    provider(folders).prepare()
    return 0


def _binaries(_: argparse.Namespace, folders: Folders) -> int:
    print(binaries.cluster_binaries(folders))
    return 0


def _tool(asked: argparse.Namespace, folders: Folders) -> int:
    print(tools.path_of(asked.name, folders))
    return 0


def _doctor(_: argparse.Namespace, _folders: Folders) -> int:
    complaints = choice.complaints(machine.facts())
    print("\n".join(complaints) if complaints else "Nothing is missing.")
    return 1 if complaints else 0


def _export(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
