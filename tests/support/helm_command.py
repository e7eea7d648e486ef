#!/usr/bin/env python
"""Stands for the program `helm` where it is not installed: what the pages call, by Helm's Go SDK, without waiting."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from charts.helm import Helm, Release, read_values  # noqa: E402 - found by the path above
from charts.install import install  # noqa: E402

CHARTS = ("charts/stemyard", "oci://ghcr.io/stemyard/charts/stemyard")
"""How the pages name the chart."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["template", "upgrade", "rollback"])
    parser.add_argument("name")
    parser.add_argument("chart", choices=CHARTS, nargs="?")
    parser.add_argument("-n", "--namespace", required=True)
    parser.add_argument("-f", "--values", type=Path, action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--version", help="ignored: there is only this one")
    for flag in ("--install", "--wait", "--create-namespace"):
        parser.add_argument(flag, action="store_true")
    asked = parser.parse_args()
    release = Release(asked.name, asked.namespace, values=read_values(asked.values), sets=tuple(asked.set))
    assert bool(asked.chart) == (asked.command != "rollback")
    if asked.command == "template":
        print(Helm().template(release))
        return
    assert os.environ["KUBECONFIG"]
    if asked.command == "rollback":
        Helm().rollback(release, timeout=60)
        return
    assert asked.install or Helm().status(release), "an upgrade needs a release, or --install"
    install(release, print, wait=False)
    established = ["kubectl", "wait", "--for=condition=Established", "crd/separationjobs.stemyard.dev", "--timeout=60s"]
    subprocess.run(established, check=True)


if __name__ == "__main__":
    main()
