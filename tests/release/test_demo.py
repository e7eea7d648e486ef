"""What `make demo` prints at its end."""

from pathlib import Path

from demo.__main__ import summary
from demo.service import Service
from demo.system import System

TRACK = "0f0f3c1c-6bb2-5f3c-8a56-0d7b0c0a4a11"
FILES = [Path("demo-stems/Song (Vocals).mp3"), Path("demo-stems/Song (Instrumental).mp3")]


def test_the_summary_is_short_and_contains_the_key_in_a_fragment_only() -> None:
    service = Service("http://192.0.2.7:30550", "the key+of&the#demo")
    printed = summary(System(service, Path("kubeconfig"), "stemyard", "192.0.2.7"), TRACK, FILES)
    key = "the%20key%2Bof%26the%23demo"
    assert f"\n  http://192.0.2.7:30550/#key={key}&track={TRACK}\n" in printed
    assert printed.count(key) == 1
    for file in FILES:
        assert f"\n  {file}\n" in printed
    assert service.api_key not in printed
    assert max(map(len, printed.splitlines())) <= 120, "no signed links"
