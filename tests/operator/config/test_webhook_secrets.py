"""Secrets that sign webhooks: from variables, or from files that may change."""

from pathlib import Path

import pytest

from stemyard_contract.webhook_signature import SecretError
from stemyard_operator.config.settings import load_settings
from stemyard_operator.config.webhook_secrets import default_secrets
from stemyard_operator.errors import ConfigurationError
from tests.operator.world import INSTALL, settings


def test_secrets_in_a_folder_are_reloaded(tmp_path: Path) -> None:
    configured = settings(webhook_secrets_dir=tmp_path, webhook_secret="from-env")
    assert default_secrets(configured) == ()
    (tmp_path / "WEBHOOK_SECRET").write_text("one\n")
    assert default_secrets(configured) == ("one",)
    (tmp_path / "WEBHOOK_SECRET_PREVIOUS").write_text("one")
    (tmp_path / "WEBHOOK_SECRET").write_text("two")
    assert default_secrets(configured) == ("two", "one")
    (tmp_path / "WEBHOOK_SECRET").unlink()
    with pytest.raises(SecretError, match="without WEBHOOK_SECRET"):
        default_secrets(configured)


@pytest.mark.parametrize(
    ("secret", "words"), [("whsec_%%%", "not base64"), ("whsec_" + "A" * 43, "lacks its padding: append =")]
)
def test_an_invalid_secret_prevents_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, secret: str, words: str
) -> None:
    monkeypatch.setenv("STEMYARD_INSTALL_ID", INSTALL)
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    with pytest.raises(ConfigurationError, match=f"WEBHOOK_SECRET.*{words}"):
        load_settings()
    monkeypatch.delenv("WEBHOOK_SECRET")
    (tmp_path / "WEBHOOK_SECRET").write_text(secret)
    monkeypatch.setenv("WEBHOOK_SECRETS_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match=f"WEBHOOK_SECRET.*{words}"):
        load_settings()


def test_secrets_are_not_in_reprs() -> None:
    shown = repr(settings(webhook_secret="s3cret-1", webhook_secret_previous="s3cret-2"))
    assert "s3cret" not in shown
