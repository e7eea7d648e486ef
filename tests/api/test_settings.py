"""The environment is validated once; errors name the variable, never its value."""

import pytest

from stemyard_api.settings import Settings, SettingsError, load_settings
from tests.api.settings_for_tests import settings

REQUIRED = {"STEMYARD_INSTALL_ID": "main", "STEMYARD_NAMESPACE": "stemyard", "API_SECRET_KEY": "k\n"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


def test_defaults_are_the_original_services() -> None:
    loaded = load_settings()
    assert (loaded.port, loaded.max_file_size_mb, loaded.queue_name) == (5500, 50, "default")
    assert loaded.models == ("spleeter-2stems",)
    assert not loaded.storage_configured


def test_a_key_read_from_a_file_loses_its_newline() -> None:
    key = load_settings().api_secret_key
    assert key is not None
    assert key.get_secret_value() == "k"


@pytest.mark.parametrize("value", ["", " \n"])
def test_without_a_key_it_refuses_to_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("API_SECRET_KEY", value)
    with pytest.raises(SettingsError, match="API_SECRET_KEY is not set"):
        load_settings()
    monkeypatch.setenv("STEMYARD_INSECURE_DEV", "true")
    assert load_settings().api_secret_key is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STEMYARD_INSTALL_ID", "Not A Name"),
        ("PORT", "99999"),
        ("MAX_FILE_SIZE_MB", "0"),
        ("S3_ENDPOINT_URL", "http://"),
        ("ENABLED_MODELS", "no-such-model"),
        ("CLOUDFLARE_ACCOUNT_ID", "not/an/id"),
        ("CORS_ALLOWED_ORIGINS", "https://app.example.com/"),
        ("CORS_ALLOWED_ORIGINS", "app.example.com"),
    ],
)
def test_errors_name_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_errors_contain_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_SECRET_KEY", "hunter2")
    monkeypatch.setenv("PORT", "http")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
    monkeypatch.delenv("PORT")
    assert "hunter2" not in repr(load_settings())


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_NAMES", "fast, slow")
    monkeypatch.setenv("ENABLED_MODELS", "spleeter-2stems,")
    loaded = load_settings()
    assert (loaded.queue_name, loaded.models) == ("fast", ("spleeter-2stems",))


@pytest.mark.parametrize("domain", ["media.example.com", "https://media.example.com/"])
def test_the_public_domain_may_lack_a_scheme(domain: str) -> None:
    assert settings(r2_public_domain=domain).r2_public_domain == "https://media.example.com"


def test_the_store_is_cloudflares_by_default() -> None:
    keys = {"r2_access_key_id": "a", "r2_secret_access_key": "s"}
    cloudflare = settings(cloudflare_account_id="abc123", **keys)
    assert cloudflare.storage_configured
    assert cloudflare.public_store_endpoint == "https://abc123.r2.cloudflarestorage.com"
    own = settings(cloudflare_account_id="abc123", s3_endpoint_url="http://s3:7070/", **keys)
    assert (own.store_endpoint, own.public_store_endpoint) == ("http://s3:7070", "http://s3:7070")
    two = settings(s3_endpoint_url="http://s3:7070", s3_public_endpoint_url="http://node:30900", **keys)
    assert (two.store_endpoint, two.public_store_endpoint) == ("http://s3:7070", "http://node:30900")
