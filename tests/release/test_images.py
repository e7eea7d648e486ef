"""No file that is removed from the images is imported or opened by a part."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from images.slim import main, unused

PACKAGES = Path(sysconfig.get_paths()["purelib"])
PROGRAM = """
import contextlib, importlib, json, pkgutil, sys

opened = set()
sys.addaudithook(lambda event, given: opened.add(str(given[0])) if event == "open" else None)
part = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(part.__path__, f"{part.__name__}."):
    if not found.name.endswith("__main__"):
        # torch is in another environment
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(found.name)
if "boto3" in sys.modules:
    import boto3
    keys = {"region_name": "auto", "aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    store = boto3.client("s3", endpoint_url="http://127.0.0.1:9", **keys)
    store.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "key"})
    store.get_paginator("list_objects_v2")
    boto3.client("sts", **keys)
files = {str(module.__file__) for module in sys.modules.values() if getattr(module, "__file__", None)}
print(json.dumps(sorted(opened | files)))
"""


def touched(part: str) -> set[Path]:
    """Files that a part imports and opens when all its modules are imported and its clients are created."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, part], capture_output=True, text=True, timeout=120, check=True
    )
    return {Path(name) for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("part", "seen"),
    [
        ("stemyard_api", "botocore/data/s3/2006-03-01/service-2.json.gz"),
        ("stemyard_operator", "kubernetes/client/models/v1_object_meta.py"),
        ("stemyard_separator", "onnxruntime/capi/onnxruntime_inference_collection.py"),
    ],
)
def test_nothing_that_a_part_touches_is_removed(part: str, seen: str) -> None:
    found = touched(part)
    assert PACKAGES / seen in found
    assert found & unused(PACKAGES) == set()


def test_what_weighs_most_is_removed() -> None:
    removed = {path.relative_to(PACKAGES).as_posix() for path in unused(PACKAGES)}
    assert "kubernetes/aio/client/models/v1_pod.py" in removed
    assert "botocore/data/ec2/2016-11-15/service-2.json.gz" in removed
    assert not any("dist-info" in name for name in removed), "the metadata of installed packages is kept"


def test_compiled_files_go_with_their_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    names = [
        "botocore/data/ec2/1/service-2.json",
        "botocore/data/endpoints.json",
        "botocore/data/s3/1/service-2.json",
        "kubernetes/aio/client/api/__init__.py",
        "kubernetes/aio/client/api/__pycache__/__init__.cpython-311.pyc",
        "kubernetes/aio/client/api/__pycache__/core_v1_api.cpython-311.pyc",
        "kubernetes/aio/client/api/core_v1_api.py",
        "numpy/lib/tests/data/one.npy",
        "stemyard_api/tests/kept.py",
    ]
    for name in names:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_bytes(bytes(2**19))
    main(tmp_path)
    assert sorted(path.relative_to(packages).as_posix() for path in packages.rglob("*") if path.is_file()) == [
        "botocore/data/endpoints.json",
        "botocore/data/s3/1/service-2.json",
        "kubernetes/aio/client/api/__init__.py",
        "kubernetes/aio/client/api/__pycache__/__init__.cpython-311.pyc",
        "stemyard_api/tests/kept.py",
    ]
    assert capsys.readouterr().out == "removed 2 MiB of unused files\n"
