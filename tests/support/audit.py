"""The API server's audit log."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts"]
  - level: None
"""

Right = tuple[str, str, str]
"""Verb, API group and resource, as a Role names them."""


@dataclass(frozen=True)
class Call:
    """One call of a service account."""

    account: str
    right: Right
    code: int


@dataclass
class Audit:
    """An audit log in its own folder; `flags` configure an API server to write it."""

    folder: Path
    _seen: int = field(default=0)

    @property
    def flags(self) -> Sequence[str]:
        policy = self.folder / "policy.yaml"
        policy.write_text(POLICY)
        return [f"--audit-policy-file={policy}", f"--audit-log-path={self._log}", "--audit-log-mode=blocking"]

    @property
    def _log(self) -> Path:
        return self.folder / "audit.log"

    def new(self) -> list[Call]:
        """Return the calls logged since the last call of this method."""
        lines = self._log.read_text().splitlines()
        fresh, self._seen = lines[self._seen :], len(lines)
        return list(_calls(fresh))


def _calls(lines: Sequence[str]) -> Iterator[Call]:
    for line in lines:
        event = json.loads(line)
        asked = event.get("objectRef")
        if asked is None:  # such as /version
            continue
        part = f"/{asked['subresource']}" if "subresource" in asked else ""
        right = (event["verb"], asked.get("apiGroup", ""), asked["resource"] + part)
        account = event["user"]["username"].rpartition(":")[2]
        yield Call(account, right, event.get("responseStatus", {}).get("code", 0))
