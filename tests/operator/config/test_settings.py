"""Settings come from the environment, and errors name the invalid variables."""

from pathlib import Path

import pytest

from stemyard_contract.models import Flavour
from stemyard_operator.config.settings import load_settings
from stemyard_operator.errors import ConfigurationError
from tests.operator.world import settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMYARD_INSTALL_ID", "install-1")
    monkeypatch.setenv("POD_NAMESPACE", "stemyard")


def test_defaults() -> None:
    found = load_settings()
    assert found.namespaces == ("stemyard",)
    assert found.models == ("spleeter-2stems",)
    assert (found.max_active, found.namespace_limit, found.max_bytes) == (1, 1, 50 * 2**20)
    assert found.profiles["default"].separate.gpu is None


def test_the_original_services_concurrency_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_CONCURRENCY", "3")
    assert load_settings().max_active == 3
    monkeypatch.setenv("MAX_ACTIVE", "8")
    assert load_settings().max_active == 8
    assert settings(max_active=5).max_active == 5


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCH_NAMESPACES", "a, b,")
    monkeypatch.setenv("SEPARATOR_EXTRA_ENV", '{"A": "b"}')
    monkeypatch.setenv("MAX_ACTIVE", "8")
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("SEPARATOR_IMAGE_CUDA", "x:cuda")
    found = load_settings()
    assert found.namespaces == ("a", "b")
    assert found.separator_extra_env == {"A": "b"}
    assert found.namespace_limit == 8
    assert found.redis_url is None
    assert found.image(Flavour.CUDA) == "x:cuda"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STEMYARD_INSTALL_ID", "a/b"),
        ("MAX_ACTIVE", "0"),
        ("ENABLED_MODELS", "spleeter-2stems,unheard-of"),
        ("DEFAULT_MODEL", "unheard-of"),
        ("PROFILES_FILE", "/nowhere/profiles.yaml"),
        ("SEPARATOR_FETCH_VOLUMES_FILE", "/nowhere/volumes.json"),
    ],
)
def test_invalid_settings_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        load_settings()


def test_endpoints() -> None:
    assert settings(cloudflare_account_id="abc").endpoint_url == "https://abc.r2.cloudflarestorage.com"
    assert settings(cloudflare_account_id="abc", s3_endpoint_url="http://s3:7070/").endpoint_url == "http://s3:7070"
    assert settings().endpoint_url is None


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr(settings(r2_secret_access_key="hunter2"))


def test_no_module_shadows_the_standard_library() -> None:
    assert not (Path(__file__).parents[3] / "operator" / "__init__.py").exists()


def test_a_missing_key_of_a_secret_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMYARD_SECRET_VARIABLES", "R2_ACCESS_KEY_ID=bucket,REDIS_URL=redis")
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@cache:6379")
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert str(refused.value).startswith("R2_ACCESS_KEY_ID is empty: the Secret bucket does not exist or has no key")
    assert "hunter2" not in str(refused.value)


def test_a_missing_secret_for_webhooks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEBHOOK_SECRETS_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match="neither the key WEBHOOK_SECRET nor"):
        load_settings()


def test_separators_must_be_told_that_the_desk_speaks_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DESK_TLS_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match="DESK_URL must begin with https://"):
        load_settings()
    monkeypatch.setenv("DESK_URL", "https://desk:8085")
    assert load_settings().desk_tls_dir == tmp_path
