"""The secrets that webhooks are signed with: from variables, or from files that may change."""

from pathlib import Path

import pytest

from stemyard_contract.webhook import SecretError
from stemyard_operator.config.settings import load_settings
from stemyard_operator.config.webhook_secrets import default_secrets
from stemyard_operator.errors import ConfigurationError
from tests.operator.world import INSTALL, settings


def test_secrets_in_a_folder_are_read_anew(tmp_path: Path) -> None:
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


def test_a_secret_that_cannot_be_used_stops_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEMYARD_INSTALL_ID", INSTALL)
    monkeypatch.setenv("WEBHOOK_SECRET", "whsec_%%%")
    with pytest.raises(ConfigurationError, match=r"WEBHOOK_SECRET.*not base64"):
        load_settings()
    monkeypatch.delenv("WEBHOOK_SECRET")
    (tmp_path / "WEBHOOK_SECRET").write_text("whsec_%%%")
    monkeypatch.setenv("WEBHOOK_SECRETS_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"WEBHOOK_SECRET.*not base64"):
        load_settings()


def test_secrets_do_not_show() -> None:
    shown = repr(settings(webhook_secret="s3cret-1", webhook_secret_previous="s3cret-2"))
    assert "s3cret" not in shown
