"""Licences of an image's third-party software: `python3 notices.py /opt/stemyard` writes THIRD_PARTY.txt there.

It runs in the image build with the standard library only. A package or native library whose licence is unknown, or not
accepted, ends the build; `make licences` finds it before.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from email.message import Message
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final, NamedTuple, cast

FILE: Final = "THIRD_PARTY.txt"
_ACCEPTED: Final = (
    "0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause BSL-1.0 CC0-1.0 GPL-2.0-or-later HPND ISC LGPL-2.1-or-later "
    "LGPL-3.0-or-later LicenseRef-NVIDIA-Proprietary MIT MIT-0 MPL-2.0 PSF-2.0 Unlicense Zlib"
)
ACCEPTED: Final = frozenset(_ACCEPTED.split())
"""SPDX identifiers that an image may contain."""
_SPDX: Final = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD 3-Clause": "BSD-3-Clause",
    "Dual License": "Apache-2.0 OR BSD-3-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "MIT-CMU": "HPND",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
    "Other/Proprietary License": "LicenseRef-NVIDIA-Proprietary",
    "Python Software Foundation License": "PSF-2.0",
    "Apache Software License": "Apache-2.0",
}
"""Names of licences in package metadata, which are no SPDX identifiers."""
_UNSTATED: Final = {"cuda-toolkit": "LicenseRef-NVIDIA-Proprietary", "sphn": "MIT OR Apache-2.0"}
"""Licences of packages whose metadata name none, as their repositories state them."""
_CLASSIFIER: Final = "License :: OSI Approved :: "
_TEXTS: Final = re.compile(r"(?i)(licen[cs]e|copying|notice|authors)[^/]*$")


class Library(NamedTuple):
    """A native library that a wheel contains."""

    name: str
    licence: str
    source: str


_FFMPEG: Final = Library("FFmpeg", "LGPL-3.0-or-later", "https://ffmpeg.org/releases/")
_XCB: Final = Library("libxcb", "MIT", "https://xcb.freedesktop.org/dist/")
_NETTLE: Final = Library("Nettle", "LGPL-3.0-or-later", "https://ftp.gnu.org/gnu/nettle/")
_WEBP: Final = Library("libwebp", "BSD-3-Clause", "https://chromium.googlesource.com/webm/libwebp")
_AMR: Final = Library("opencore-amr", "Apache-2.0", "https://sourceforge.net/projects/opencore-amr/")
LIBRARIES: Final = {
    **dict.fromkeys(
        ("libavcodec", "libavdevice", "libavfilter", "libavformat", "libavutil", "libswresample", "libswscale"), _FFMPEG
    ),
    **dict.fromkeys(("libxcb", "libxcb-shape", "libxcb-shm", "libxcb-xfixes"), _XCB),
    **dict.fromkeys(("libhogweed", "libnettle"), _NETTLE),
    **dict.fromkeys(("libsharpyuv", "libwebp", "libwebpmux"), _WEBP),
    **dict.fromkeys(("libopencore-amrnb", "libopencore-amrwb"), _AMR),
    "libSvtAv1Enc": Library("SVT-AV1", "BSD-3-Clause", "https://gitlab.com/AOMediaCodec/SVT-AV1"),
    "libXau": Library("libXau", "MIT", "https://xorg.freedesktop.org/archive/individual/lib/"),
    "libasound": Library("alsa-lib", "LGPL-2.1-or-later", "https://www.alsa-project.org/files/pub/lib/"),
    "libdav1d": Library("dav1d", "BSD-2-Clause", "https://code.videolan.org/videolan/dav1d"),
    "libdrm": Library("libdrm", "MIT", "https://dri.freedesktop.org/libdrm/"),
    "libgfortran": Library("GNU Fortran runtime", "GPL-3.0-or-later WITH GCC-exception-3.1", "https://gcc.gnu.org/"),
    "libquadmath": Library("GNU quadmath", "LGPL-2.1-or-later", "https://gcc.gnu.org/"),
    "libgmp": Library("GMP", "LGPL-3.0-or-later", "https://gmplib.org/download/gmp/"),
    "libgnutls": Library("GnuTLS", "LGPL-2.1-or-later", "https://www.gnupg.org/ftp/gcrypt/gnutls/"),
    "libmp3lame": Library("LAME", "LGPL-2.1-or-later", "https://lame.sourceforge.io/"),
    "libopus": Library("Opus", "BSD-3-Clause", "https://downloads.xiph.org/releases/opus/"),
    "libscipy_openblas": Library("OpenBLAS", "BSD-3-Clause", "https://github.com/OpenMathLib/OpenBLAS"),
    "libscipy_openblas64_": Library("OpenBLAS", "BSD-3-Clause", "https://github.com/OpenMathLib/OpenBLAS"),
    "libunistring": Library("libunistring", "LGPL-3.0-or-later", "https://ftp.gnu.org/gnu/libunistring/"),
    "libvpl": Library("oneVPL", "MIT", "https://github.com/intel/libvpl"),
    "libvpx": Library("libvpx", "BSD-3-Clause", "https://chromium.googlesource.com/webm/libvpx"),
    "libx264": Library("x264", "GPL-2.0-or-later", "https://code.videolan.org/videolan/x264"),
    "libx265": Library("x265", "GPL-2.0-or-later", "https://bitbucket.org/multicoreware/x265_git"),
}
"""Native libraries of the wheels (in `*.libs`), by the first part of the file name."""


class UnknownLicenceError(Exception):
    """The licence of a package or native library is unknown or not accepted; the message names all of them."""


def licence(metadata: Message) -> str:
    """Return a package's licence as an SPDX expression, or as its metadata name it; empty if they name none."""
    if expression := metadata.get("License-Expression"):
        return expression
    stated = metadata.get("License") or _UNSTATED.get(metadata.get("Name", ""), "")
    classified = [text.removeprefix(_CLASSIFIER) for text in metadata.get_all("Classifier", [])]
    known = [_SPDX[text] for text in classified if text in _SPDX]
    if len(stated) > 80 or not stated or (not _accepted(_SPDX.get(stated, stated)) and known):
        return " OR ".join(known)
    return _SPDX.get(stated, stated)


def notices(packages: Path, only: Iterable[str] = ()) -> str:
    """Return the text of THIRD_PARTY.txt: each package and native library with its licence, source and licence texts.

    Args:
        packages: the folder site-packages.
        only: names of packages; all if there are none.

    Raises:
        UnknownLicenceError: a licence is unknown or not accepted.
    """
    names = {_normal(name) for name in only}
    found = [one for one in distributions(path=[str(packages)]) if not names or _normal(one.name) in names]
    found = sorted((one for one in found if one.name != "stemyard"), key=lambda one: one.name.lower())
    libraries = dict(sorted(_libraries(packages)))
    unknown = [f"{one.name} ({_licence(one) or 'none'})" for one in found if not _accepted(_licence(one))]
    unknown += [file for file, library in libraries.items() if library is None or not _accepted(library.licence)]
    if unknown:
        raise UnknownLicenceError(f"licence unknown or not accepted: {', '.join(unknown)}; see images/notices.py")
    shared = sorted({library for library in libraries.values() if library is not None})
    return "\n".join([_PREFACE, *map(_library_notice, shared), *map(_package_notice, found)])


_PREFACE: Final = """\
Third-party software in this image. Stemyard itself is under the Apache License 2.0.

Each program below remains under its own licence. The source of the native libraries, of the versions that the named
wheels were built from, is at the addresses given; for those under the GPL or LGPL, the maintainers of Stemyard provide
it on request for three years after an image was published.
"""


def _licence(package: Distribution) -> str:
    return licence(cast(Message, package.metadata))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _accepted(expression: str) -> bool:
    """Return whether each part of an `AND` is accepted, of an `OR` at least one."""
    if not expression:
        return False
    ands = [part.strip("() ") for part in re.split(r" AND ", expression)]
    return all(any(_is_accepted(one) for one in re.split(r" OR ", part)) for part in ands)


def _is_accepted(name: str) -> bool:
    base, _, exception = name.strip("() ").partition(" WITH ")
    return base in ACCEPTED or bool(exception)


def _libraries(packages: Path) -> Iterator[tuple[str, Library | None]]:
    for path in packages.glob("*.libs/*.so*"):
        name = re.split(r"-[0-9a-f]{8}\b|\.so", path.name)[0]
        yield path.name, LIBRARIES.get(name)


def _library_notice(library: Library) -> str:
    return f"{'-' * 78}\n{library.name} (native library)\nLicence: {library.licence}\nSource: {library.source}\n"


def _package_notice(package: Distribution) -> str:
    texts = [Path(str(file.locate())) for file in package.files or () if _TEXTS.search(str(file))]
    lines = [f"{'-' * 78}", f"{package.name} {package.version}", f"Licence: {_licence(package)}"]
    lines.append(f"Source: https://pypi.org/project/{package.name}/{package.version}/")
    lines += [path.read_text(errors="replace").strip() for path in texts if path.suffix != ".py" and path.is_file()]
    return "\n".join([*lines, ""])


def main() -> int:
    """Write the notices of a virtual environment, or with --check only report unknown licences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; read names of packages from standard input"
    )
    args = parser.parse_args()
    [packages] = args.environment.glob("lib/python3.*/site-packages")
    only = [re.split(r"[=\[; ]", line)[0] for line in sys.stdin if re.match(r"\w", line)] if args.check else []
    try:
        text = notices(packages, only)
    except UnknownLicenceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not args.check:
        (args.environment / FILE).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
