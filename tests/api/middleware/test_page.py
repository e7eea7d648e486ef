"""Serving of the page: without a key, with caching headers and a strict Content-Security-Policy."""

import gzip
import re
from pathlib import Path

import httpx
import pytest

from stemyard_api.app import create_app
from stemyard_api.middleware.page import load_page, store_origins
from stemyard_api.settings import DOCS_URL
from tests.api.settings_for_tests import settings

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
SITE = load_page(settings(s3_endpoint_url="http://store.example.com:9000"))


PAGES = {"/": "app.js", "/admin": "admin.js"}
"""The pages, and the module that each starts with."""
HOME = SITE.pages["/"]


def loaded_by(path: str) -> set[str]:
    """Return the names of the files that a page loads."""
    names = set(re.findall(r'/web/[0-9a-f]{16}/([a-z.]+)"', SITE.pages[path].content.decode()))
    left = [*names]
    while left:
        text = SITE.assets[left.pop()].content.decode(errors="replace")
        found = set(re.findall(r'from "\./([a-z]+\.js)"', text)) - names
        names |= found
        left += found
    return names


def base_of(page: httpx.Response) -> str:
    [base] = set(re.findall(r'"(/web/[0-9a-f]{16})/', page.text))
    return str(base)


@pytest.mark.parametrize("accept", [BROWSER["Accept"], "*/*", None])
async def test_the_page_needs_no_key(anonymous: httpx.AsyncClient, accept: str | None, nowhere: str) -> None:
    response = await anonymous.get("/", headers={} if accept is None else {"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert policy["script-src"] == policy["style-src"] == policy["img-src"] == "'self'"
    assert policy["connect-src"] == policy["media-src"] == f"'self' {nowhere}"
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-request-id"]


async def test_the_admin_page_is_served_alike_but_not_indexed(anonymous: httpx.AsyncClient) -> None:
    home, admin = await anonymous.get("/", headers=BROWSER), await anonymous.get("/admin", headers=BROWSER)
    assert admin.status_code == 200
    assert "<h1>All separations</h1>" in admin.text
    assert "{{" not in admin.text
    for name in ("content-security-policy", "cache-control", "content-type", "cross-origin-opener-policy"):
        assert admin.headers[name] == home.headers[name]
    assert admin.headers["x-robots-tag"] == "noindex, nofollow"
    assert "x-robots-tag" not in home.headers
    assert admin.headers["etag"] != home.headers["etag"]
    for path in ("/admin/", "/admin/nothing", "/administration"):
        assert (await anonymous.get(path, headers=BROWSER)).status_code == 401


def test_every_file_is_loaded_by_a_page() -> None:
    for path, module in PAGES.items():
        assert {module, "style.css", "icon.svg", "client.js"} <= loaded_by(path)
    assert set(SITE.assets) == {*loaded_by("/"), *loaded_by("/admin"), "silence.flac"}


@pytest.mark.parametrize("path", PAGES)
async def test_clients_that_accept_json_do_not_get_the_page(anonymous: httpx.AsyncClient, path: str) -> None:
    response = await anonymous.get(path, headers={"Accept": "application/json"})
    assert (response.status_code, response.json()["code"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_than_reading_are_405(anonymous: httpx.AsyncClient, method: str) -> None:
    for path in ["/", "/admin", "/s/dG9rZW4", f"{SITE.base}/app.js", "/web/0123456789abcdef/app.js"]:
        refused = await anonymous.request(method, path, headers={"Accept": "application/json"})
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD"), path
        assert refused.json()["code"] == "METHOD_NOT_ALLOWED"
    elsewhere = await anonymous.request(method, "/web/0123456789abcdef/none.js")
    assert elsewhere.status_code == 401


async def test_files_of_the_page_are_cached_permanently(anonymous: httpx.AsyncClient) -> None:
    base = base_of(page := await anonymous.get("/", headers=BROWSER))
    names = set(re.findall(rf'"{base}/([a-z.]+)"', page.text))
    for name in [*names]:
        names |= set(re.findall(r'from "\./([a-z]+\.js)"', (await anonymous.get(f"{base}/{name}")).text))
    assert {"app.js", "style.css", "icon.svg", "client.js"} <= names
    for name in names:
        response = await anonymous.get(f"{base}/{name}")
        assert response.status_code == 200, name
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert response.headers["cross-origin-resource-policy"] == "same-origin"


async def test_files_of_another_version_are_served_but_not_cached(anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.get("/web/0123456789abcdef/app.js")
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize("path", ["/web/", "/web/x/nothing.js", "/web/../page.py", "/web/x/index.html", "/nothing"])
async def test_nothing_else_is_served(anonymous: httpx.AsyncClient, path: str) -> None:
    assert (await anonymous.get(path, headers=BROWSER)).status_code == 401


async def test_an_unchanged_page_is_304(anonymous: httpx.AsyncClient) -> None:
    first = await anonymous.get("/", headers=BROWSER)
    again = await anonymous.get("/", headers={**BROWSER, "If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = await anonymous.get("/", headers={**BROWSER, "If-None-Match": 'W/"other"'})
    assert other.status_code == 200


async def test_files_are_compressed_for_clients_that_accept_gzip(anonymous: httpx.AsyncClient) -> None:
    plain = await anonymous.get("/", headers={**BROWSER, "Accept-Encoding": "identity"})
    zipped = await anonymous.get("/", headers={**BROWSER, "Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) < int(plain.headers["content-length"])
    assert zipped.text == plain.text
    assert "Accept-Encoding" in plain.headers["vary"]


async def test_head_has_no_body(anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.head("/", headers=BROWSER)
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0


async def test_the_page_can_be_disabled(nowhere: str) -> None:
    app = create_app(settings(web_enabled=False))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://stemyard") as visitor:
            for path in PAGES:
                assert (await visitor.get(path, headers=BROWSER)).status_code == 401
            assert (await visitor.get("/web/x/app.js")).status_code == 401


def test_the_policy_allows_the_clients_store_endpoint() -> None:
    inner = {"s3_endpoint_url": "http://inside:7070"}
    assert store_origins(settings()) == ()
    assert store_origins(settings(**inner)) == ("http://inside:7070",)
    assert store_origins(settings(**inner, s3_public_endpoint_url="https://s3.example.com/base")) == (
        "https://s3.example.com",
    )
    assert store_origins(settings(cloudflare_account_id="abc", r2_public_domain="media.example.com")) == (
        "https://abc.r2.cloudflarestorage.com",
        "https://media.example.com",
    )
    assert store_origins(settings(s3_endpoint_url="https://s3.eu-west-1.amazonaws.com", r2_bucket="songs")) == (
        "https://s3.eu-west-1.amazonaws.com",
        "https://songs.s3.eu-west-1.amazonaws.com",
    )


def test_the_page_does_not_ask_for_a_key_without_authentication() -> None:
    open_to_all = load_page(settings(api_secret_key=None, stemyard_insecure_dev=True))
    for path in PAGES:
        assert b'data-key="needed"' in SITE.pages[path].content
        assert b'data-key="open"' in open_to_all.pages[path].content


def test_the_page_names_the_contact_and_the_documentation() -> None:
    body = re.search(rb"<body [^>]+>", HOME.content)
    assert body is not None
    assert b'data-contact="" data-docs="https://github.com/stemyard/stemyard/' in body[0]
    for contact, link in (("a&b@example.com", "mailto:a&amp;b@example.com"), ("https://x.example/?a&b", None)):
        site = load_page(settings(web_contact=contact, web_docs_url='https://x.example/"><b>'))
        page = site.pages["/"].content.decode()
        assert f'data-contact="{link or "https://x.example/?a&amp;b"}"' in page
        assert "<b>" not in page[page.index("data-docs") : page.index("data-docs") + 60]


@pytest.mark.parametrize("contact", ["javascript:alert(1)", "somebody", "a@b <c@d>", "a@", "ftp://x.example"])
def test_a_contact_that_is_no_address_is_refused(contact: str) -> None:
    with pytest.raises(ValueError, match="e-mail address"):
        settings(web_contact=contact)


def test_the_page_is_small() -> None:
    for path, limit in {"/": 50_000, "/admin": 30_000}.items():
        page = SITE.pages[path]
        names = loaded_by(path) | ({"silence.flac"} if path == "/" else set())
        sent = len(page.zipped) + sum(len(SITE.assets[name].zipped) for name in names)
        assert sent < limit, path
        assert gzip.decompress(page.zipped) == page.content


def test_the_page_uses_no_other_host_and_no_inner_html() -> None:
    docs = DOCS_URL  # a link, which visitors follow if they choose
    allowed = {"http://www.w3.org/2000/svg", "https://www.youtube.com/watch?v=${id}", docs}
    for name, asset in {**SITE.pages, **SITE.assets}.items():
        text = asset.content.decode(errors="replace")
        assert set(re.findall(r"https?://[\w][^\s\"'`<]*", text)) <= allowed, name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), name
        assert not re.search(r"<script(?![^>]*src=)|\son[a-z]+=\"|style=\"", text), name


def test_every_file_of_the_folder_has_a_served_type() -> None:
    folder = Path(__file__).parents[3] / "api" / "stemyard_api" / "web"
    assert {path.name for path in folder.iterdir()} == {"index.html", "admin.html", *SITE.assets}
