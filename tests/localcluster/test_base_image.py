"""Reading this machine's package sources and libraries."""

from pathlib import Path

from localcluster.base_image import mirror_of
from localcluster.support_images import libraries


def test_the_machines_debian_mirror_is_used() -> None:
    sources = (
        "Types: deb\n# old\nURIs: http://mirror.test/debian\nSuites: x\n\nURIs: http://mirror.test/debian-security\n"
    )
    assert mirror_of(sources) == "http://mirror.test/debian"


def test_without_one_debootstrap_decides() -> None:
    assert mirror_of("Types: deb\nURIs: http://mirror.test/ubuntu\n") == ""


def test_shared_libraries_and_the_loader_are_listed() -> None:
    listing = "\tlinux-vdso.so.1 (0x0)\n\tlibc.so.6 => /lib/libc.so.6 (0x01)\n\t/lib64/ld-linux-x86-64.so.2 (0x02)\n"
    assert libraries(listing) == [Path("/lib/libc.so.6"), Path("/lib64/ld-linux-x86-64.so.2")]
