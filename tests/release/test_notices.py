"""Every package and native library of an image has a known licence, and its notice names it."""

import re
from email.message import Message
from pathlib import Path

import av
import pytest

from images.notices import LIBRARIES, UnknownLicenceError, licence, notices

PACKAGES = Path(av.__file__).parents[1]
DOCKERFILE = Path(__file__).parents[2] / "images/Dockerfile"


def metadata(*classifiers: str, **fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    for classifier in classifiers:
        message["Classifier"] = classifier
    return message


@pytest.mark.parametrize(
    ("found", "expression"),
    [
        (metadata(License_Expression="MIT AND PSF-2.0"), "MIT AND PSF-2.0"),
        (metadata(License_Expression=" AND ".join(["MIT"] * 20)), " AND ".join(["MIT"] * 20)),
        (metadata(Name="sphn"), "MIT OR Apache-2.0"),
        (metadata(License="Apache 2.0"), "Apache-2.0"),
        (metadata("License :: OSI Approved :: ISC License (ISCL)", License="ISC"), "ISC"),
        (metadata("License :: OSI Approved :: BSD License", License="Redistribution and use" * 9), "BSD-3-Clause"),
        (metadata("License :: OSI Approved :: MIT License"), "MIT"),
        (metadata(License="All rights reserved"), "All rights reserved"),
        (metadata(), ""),
    ],
)
def test_the_licence_is_what_the_metadata_names(found: Message, expression: str) -> None:
    assert licence(found) == expression


def distribution(folder: Path, name: str, licence_line: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{licence_line}\n")
    (info / "LICENSE").write_text("The text of the licence.")
    (info / "RECORD").write_text(f"{name}-1.0.dist-info/LICENSE,,\n")


@pytest.mark.parametrize(
    "line",
    [
        "License-Expression: AGPL-3.0-only",
        "License: Proprietary",
        "License-Expression: MIT AND AGPL-3.0-only",
        "Author: nobody",
    ],
)
def test_an_unknown_licence_is_refused(tmp_path: Path, line: str) -> None:
    distribution(tmp_path, "strange", line)
    with pytest.raises(UnknownLicenceError, match="strange"):
        notices(tmp_path)
    assert "strange" not in notices(tmp_path, only=["another"])


def test_either_of_two_licences_is_enough(tmp_path: Path) -> None:
    distribution(tmp_path, "both", "License-Expression: AGPL-3.0-only OR MIT")
    assert "both 1.0\nLicence: AGPL-3.0-only OR MIT" in notices(tmp_path)


def test_an_unknown_native_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "strange.libs").mkdir()
    (tmp_path / "strange.libs/libstrange-01234567.so.1").touch()
    with pytest.raises(UnknownLicenceError, match=r"libstrange-01234567\.so\.1"):
        notices(tmp_path)


def test_the_notices_have_the_licence_texts_and_the_native_libraries() -> None:
    text = notices(PACKAGES, only=["av", "uvicorn", "kopf"])
    for title in ("x264 (native library)\nLicence: GPL-2.0-or-later", "LAME (native", "\nav ", "\nuvicorn ", "\nkopf "):
        assert title in text
    assert "Redistribution and use in source and binary forms" in text
    assert "\nnumpy " not in text


def test_the_label_of_the_separator_names_the_licences_of_its_native_libraries() -> None:
    label = re.search(r"FROM runtime AS separator\n.*?image\.licenses=\"([^\"]+)\"", DOCKERFILE.read_text(), re.DOTALL)
    assert label is not None
    named = set(label[1].split(" AND "))
    assert named == {"Apache-2.0"} | {
        one.licence for one in LIBRARIES.values() if "GPL-" in one.licence and "WITH" not in one.licence
    }


@pytest.mark.parametrize("part", ["api", "operator", "cpu", "cuda"])
def test_every_image_has_the_notices(part: str) -> None:
    stage = DOCKERFILE.read_text().partition(f"FROM tools AS build-{part}\n")[2].partition("\nFROM ")[0]
    assert "images/notices.py /opt/stemyard" in stage
