"""The TypeScript client: its types, its own tests, and the packed package with Node against the live service."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from stemyard_client import Client
from stemyard_contract.event_types import EventType
from stemyard_contract.webhook import completed_body
from stemyard_contract.webhook_signature import signed_headers
from tests.api_server.conftest import install_crd
from tests.support import chromium, client_tools, typescript_client
from tests.support.http_server import Exchange, HttpServer
from tests.support.service_world import Service, service
from tests.support.web_world import allow_pages

SMALL = b"ID3" + bytes(range(256)) * 8
PAGE = b"""<!doctype html><title>page</title>
<script type="module">window.stemyard = import("/dist/index.js");</script>"""
IN_A_PAGE = """async ([url, key]) => {
  const { Client } = await window.stemyard;
  const client = new Client({ url, key });
  const content = new Uint8Array(20 << 20).fill(crypto.getRandomValues(new Uint8Array(1))[0]);
  const parts = [];
  const upload = { onBytes: (done) => parts.push(done) };
  const separation = await client.separate({ file: new File([content], "large.wav") }, {}, { upload });
  await separation.wait({ timeoutSeconds: 60 });
  const files = await separation.download();
  const same = await Promise.all(Object.entries(separation.links).map(async ([stem, link]) =>
    await (await fetch(link)).text() === await files[stem].text()));
  const error = await client.job("00000000-0000-5000-8000-000000000000").catch(({ name, code }) => [name, code]);
  const webhook = await client.registerWebhook({ url: "https://example.com/page" });
  const { enabled } = await client.changeWebhook(webhook.id, { enabled: false });
  await client.removeWebhook(webhook.id);
  return { phase: separation.job.phase, same, title: separation.job.query, parts, error, enabled };
}"""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return typescript_client.packed(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def page(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a page that has the package, at an origin of its own."""
    installed = typescript_client.project(archive, tmp_path_factory.mktemp("page")) / "node_modules/stemyard-client"

    def route(exchange: Exchange) -> None:
        if exchange.route_path == "/":
            exchange.answer(200, PAGE, Content_Type="text/html")
        elif (file := installed / exchange.route_path.removeprefix("/")).is_file():
            exchange.answer(200, file.read_bytes(), Content_Type="text/javascript")
        else:
            exchange.answer(404)

    with HttpServer(route) as server:
        yield server.url


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, page: str) -> Iterator[Service]:
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        install_crd(plane)
        with service(plane, tmp_path_factory.mktemp("service"), CORS_ALLOWED_ORIGINS=page) as found:
            yield found


@pytest.fixture
def project(archive: Path, tmp_path: Path) -> Path:
    return typescript_client.project(archive, tmp_path)


def test_the_types_are_those_of_the_document(tmp_path: Path) -> None:
    package = typescript_client.copied(tmp_path)
    made = tmp_path / "schema.ts"
    document = typescript_client.SOURCE.parents[1] / "api/openapi.json"
    client_tools.call(["node", package / "node_modules/openapi-typescript/bin/cli.js", document, "-o", made])
    committed = typescript_client.SOURCE / "src/schema.ts"
    assert made.read_text() == committed.read_text(), "run `npm run generate` in client/typescript"


def test_its_own_tests_pass(tmp_path: Path) -> None:
    output = client_tools.call(["npm", "test"], typescript_client.copied(tmp_path))
    assert re.search(r"(?m)^\S+ fail 0$", output)


def test_the_archive_has_what_users_need_and_nothing_else(project: Path) -> None:
    installed = project / "node_modules/stemyard-client"
    assert {path.name for path in installed.iterdir()} == {"README.md", "dist", "package.json"}
    assert {path.suffix for path in (installed / "dist").iterdir()} == {".js", ".ts"}
    assert "dependencies" not in json.loads((installed / "package.json").read_text())
    for module in (installed / "dist").glob("*.js"):
        assert module.name == "node.js" or "node:" not in module.read_text(), "a browser has no modules of Node"


def test_it_does_all_that_the_service_offers(running: Service, project: Path) -> None:
    program = (typescript_client.PROGRAMS / "stemyard-client.ts").read_text()
    body = completed_body("t1", {}, 1.0)
    headers = signed_headers("id-1", EventType.COMPLETED, body, int(time.time()), [SECRET])
    signed = json.dumps({"body": body.decode(), "headers": headers, "secret": SECRET})
    keys = [running.key(name) for name in ("default", "team-b", "reader")]
    upload_id = client_tools.call(
        ["node", typescript_client.compiled(project, "program", program), running.url, *keys, str(project), signed]
    )
    store = running.world.store.client()
    bucket = running.world.store.bucket
    keys = [item["Key"] for item in store.list_objects_v2(Bucket=bucket)["Contents"] if upload_id in item["Key"]]
    stored = [store.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
    store.close()
    assert stored == [(project / "large.wav").read_bytes()]


def test_broken_connections_are_repeated(running: Service, project: Path) -> None:
    program = (typescript_client.PROGRAMS / "stemyard-client-broken.ts").read_text()
    compiled = typescript_client.compiled(project, "program", program)
    (project / "song.mp3").write_bytes(SMALL)
    running.api_relay.cut_after[:] = [0, 30, 1500, 700]
    running.store_relay.cut_after[:] = [10, 0, 700]
    track = client_tools.call(["node", compiled, running.url, running.key("default"), str(project)])
    assert running.api_relay.cut_after == running.store_relay.cut_after == []
    (project / "python").mkdir()
    with Client(running.url, running.key("default")) as client:
        files = client.download(track, project / "python")
    assert len(files) == 2
    for path in files.values():
        assert (project / path.name).read_bytes() == path.read_bytes(), "the same names and bytes as in Python"


def test_it_works_in_a_page_of_another_origin(running: Service, page: str) -> None:
    program = chromium.program()
    if program is None:
        pytest.skip("Chromium is not installed")
    allow_pages(running.world, page)
    with chromium.launched(program) as browser:
        tab = browser.new_page()
        tab.goto(page)
        running.api_relay.cut_after[:] = [1500, 700]
        found = tab.evaluate(IN_A_PAGE, [running.url, running.key("default")])
    assert running.api_relay.cut_after == []
    assert found == {
        "phase": "Completed",
        "same": [True, True],
        "title": "large",
        "parts": [16 << 20, 20 << 20],
        "error": ["NotFoundError", "TRACK_NOT_FOUND"],
        "enabled": False,
    }


def test_the_examples_of_the_readme_run(running: Service, project: Path) -> None:
    readme = (typescript_client.SOURCE / "README.md").read_text()
    separating, verifying = re.findall(r"(?ms)^```ts\n(.+?)^```", readme)
    (project / "song.mp3").write_bytes(SMALL)
    variables = {"STEMYARD_URL": running.url, "STEMYARD_API_KEY": running.key("default")}
    compiled = typescript_client.compiled(project, "separating", separating)
    printed = client_tools.call(["node", compiled], project, variables)
    assert "Completed 100" in printed
    assert len(list((project / "stems").iterdir())) == 2
    body = completed_body("t1", {}, 1.0)
    headers = signed_headers("id-1", EventType.COMPLETED, body, int(time.time()), [SECRET])
    given = f"{{ method: 'POST', headers: {json.dumps(headers)}, body: {json.dumps(body.decode())} }}"
    request = f"new Request('http://localhost/', {given})"
    use = f"const found = await receive({request}, process.argv[2]!);\nconsole.log('id' in found && found.id);"
    compiled = typescript_client.compiled(project, "verifying", f"{verifying}{use}\n")
    assert client_tools.call(["node", compiled, SECRET]) == "id-1\n"
    assert client_tools.call(["node", compiled, "another secret"]) == "false\n"
