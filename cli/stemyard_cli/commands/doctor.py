"""`doctor`: looks for what is wrong and says what to do."""

from typing import Annotated

import typer

from stemyard_cli.cluster_checks import check_cluster
from stemyard_cli.exit_codes import ExitCode
from stemyard_cli.findings import Finding, Verdict
from stemyard_cli.output import print_json, print_line, print_table
from stemyard_cli.service_checks import check_service
from stemyard_cli.session import session_of


def doctor(
    context: typer.Context,
    cluster: Annotated[bool, typer.Option(help="Also look at the cluster of kubectl's current context.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one finding on a line.")] = False,
) -> None:
    """Check the API, the key, the store and, with kubectl, the cluster."""
    settings = session_of(context).settings()
    findings: list[Finding] = []
    if settings.url:
        findings += check_service(settings)
    else:
        findings.append(Finding("API", Verdict.SKIPPED, "no installation is configured", "Run `stemyard login`."))
    if cluster:
        findings += check_cluster()
    if as_json:
        for one in findings:
            print_json({"check": one.check, "verdict": one.verdict, "detail": one.detail, "advice": one.advice})
    else:
        print_table(("CHECK", "RESULT", "FOUND"), ((one.check, one.verdict, one.detail) for one in findings))
        for one in findings:
            if one.advice:
                print_line(f"{one.check}: {one.advice}")
    raise typer.Exit(ExitCode.FAILED if any(one.verdict is Verdict.FAILED for one in findings) else ExitCode.OK)
