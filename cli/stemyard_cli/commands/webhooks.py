"""`webhooks`: registered ones, a consumer for development, test deliveries and redeliveries."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Final

import typer

from stemyard_cli.durations import seconds_of
from stemyard_cli.one_by_one import do_each
from stemyard_cli.output import age, print_json, print_line, print_table, say
from stemyard_cli.session import session_of
from stemyard_client import Client, VerificationError, WebhookWithSecret, verify

_LONGEST_BODY: Final = 1 << 20
_SILENCE_SECONDS: Final = 10
_REGISTERED: Final = "wh_"
"""How ids of registered webhooks begin; those of tracks are UUIDs, or begin with a namespace and a dot."""
webhooks = typer.Typer(help="Webhooks: register them, receive them here, test and repeat them.", no_args_is_help=True)
WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK_ID")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Track = Annotated[str, typer.Argument(metavar="TRACK_ID")]


@webhooks.command("register")
def register(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="Where to send to: https, at a public address.", metavar="URL")],
    events: Annotated[
        list[str] | None,
        typer.Option("--event", help="An event to send; may be repeated. By default those that end a run."),
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a webhook for all tracks of this key; print its id and, this once, its secret."""
    with session_of(context).client() as client:
        found = client.register_webhook(url, events=events or None, description=description)
    _print_secret(found, as_json=as_json)


@webhooks.command("list")
def list_webhooks(context: typer.Context, as_json: AsJson = False) -> None:
    """List the webhooks that this key has registered."""
    with session_of(context).client() as client:
        found = client.webhooks()
    if as_json:
        for one in found:
            print_json(one.model_dump(exclude_unset=True))
        return
    rows = [
        (one.id, "on" if one.enabled else "off", ",".join(one.events), age(one.created_at), one.url,
         one.description or "")
        for one in found
    ]  # fmt: skip
    print_table(("ID", "STATE", "EVENTS", "AGE", "URL", "DESCRIPTION"), rows)


@webhooks.command("remove")
def remove(
    context: typer.Context,
    webhook_ids: Annotated[list[str], typer.Argument(metavar="WEBHOOK_ID")],
) -> None:
    """Remove registered webhooks; nothing is sent to them any more."""

    def removed(client: Client, webhook_id: str) -> str:
        client.remove_webhook(webhook_id)
        return "removed"

    do_each(session_of(context), webhook_ids, removed)


@webhooks.command("rotate")
def rotate(
    context: typer.Context,
    webhook_id: WebhookId,
    keep: Annotated[
        str | None,
        typer.Option(help="How long the secret so far signs too, such as 12h; a day by default, 0s ends it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a registered webhook a new secret; print its id and, this once, the secret."""
    try:
        seconds = None if keep is None else seconds_of(keep)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--keep") from None
    with session_of(context).client() as client:
        found = client.rotate_webhook_secret(webhook_id, seconds)
    _print_secret(found, as_json=as_json)


def _print_secret(webhook: WebhookWithSecret, *, as_json: bool) -> None:
    if as_json:
        print_json(webhook.model_dump(exclude_unset=True))
    else:
        print_line(f"{webhook.id}\t{webhook.secret}")
    say("Keep the secret: it is not shown again.")


@webhooks.command("listen")
def listen(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any.")] = 8899,
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
def send_test(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            help="A registered webhook, a track, or with the scope admin a URL.", metavar="WEBHOOK_ID|TRACK_ID|URL"
        ),
    ],
    key: Annotated[str | None, typer.Option(help="Id of the API key for which a test to a URL is signed.")] = None,
) -> None:
    """Have the service send a test webhook, and print what came of it."""
    is_url = target.lower().startswith(("http://", "https://"))
    if key is not None and not is_url:
        raise typer.BadParameter("a track or a registered webhook has a key already", param_hint="--key")
    with session_of(context).client() as client:
        if target.startswith(_REGISTERED):
            delivery = client.test_registered_webhook(target)
        elif is_url:
            delivery = client.test_webhook(url=target, **({} if key is None else {"key": key}))
        else:
            delivery = client.test_webhook(track_id=target)
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
