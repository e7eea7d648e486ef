"""`webhooks`: a consumer for development, test deliveries and redeliveries."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Final

import typer

from stemyard_cli.output import print_json, print_line, print_table, say
from stemyard_cli.session import session_of
from stemyard_client import VerificationError, verify

_LONGEST_BODY: Final = 1 << 20
_SILENCE_SECONDS: Final = 10
webhooks = typer.Typer(help="Webhooks: receive them here, test and repeat them.", no_args_is_help=True)
Track = Annotated[str, typer.Argument(metavar="TRACK_ID")]


@webhooks.command("listen")
def listen(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any.")] = 8899,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Receive webhooks and print each as JSON on one line.

    With STEMYARD_WEBHOOK_SECRET set, the signature is verified, and what fails is answered with 401.
    """
    secret = os.environ.get("STEMYARD_WEBHOOK_SECRET", "")
    with ThreadingHTTPServer((host, port), _handler(secret)) as server:
        say(
            f"listening on http://{host}:{server.server_port}/, {'verifying' if secret else 'not verifying'} signatures"
        )
        server.serve_forever()


def _handler(secret: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Takes any POST."""

        timeout = _SILENCE_SECONDS

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > _LONGEST_BODY:
                self._answer(413)
                return
            body = self.rfile.read(int(length))
            try:
                payload = verify(body, dict(self.headers), secret).payload if secret else json.loads(body)
            except (VerificationError, ValueError) as error:
                say(f"refused: {error}")
                self._answer(401)
                return
            self._answer(204)
            print_json({"event": self.headers.get("X-Webhook-Event"), "id": self.headers.get("webhook-id"), **payload})

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the standard library
            """Print nothing but the webhooks."""

    return Handler


@webhooks.command("show")
def show(context: typer.Context, track: Track) -> None:
    """Show the webhooks of a track's last run."""
    with session_of(context).client() as client:
        found = client.deliveries(track).deliveries
    rows = [(one.id, one.event, one.state, str(one.attempts), str(one.last_status or ""), one.url) for one in found]
    print_table(("ID", "EVENT", "STATE", "ATTEMPTS", "STATUS", "URL"), rows)


@webhooks.command("test")
def test(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="A track, or with the scope admin a URL.", metavar="TRACK_ID|URL")],
) -> None:
    """Have the service send a test webhook, and print what came of it."""
    name = "url" if target.lower().startswith(("http://", "https://")) else "track_id"
    with session_of(context).client() as client:
        delivery = client.test_webhook(**{name: target})
    if delivery is None:
        print_line("not sent yet")
        return
    print_line(f"{delivery.state}\t{delivery.last_status or ''}\t{delivery.last_error or ''}")
    if delivery.state != "delivered":
        raise typer.Exit(1)


@webhooks.command("redeliver")
def redeliver(
    context: typer.Context,
    track: Track,
    webhook_id: Annotated[str, typer.Option("--id", help="The webhook-id, or all.")] = "all",
) -> None:
    """Have webhooks of a track sent again, and print their ids."""
    with session_of(context).client() as client:
        for found in client.redeliver(track, webhook_id):
            print_line(found)
