"""The size of an image in a registry: the sum of its gzip-compressed layers."""

import gzip
import json
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from bench.separation.figures import Figure
from localcluster import oci

_LEVEL: Final = 6
"""The default level of builders and registry clients."""
_BLOCK: Final = 2**20
_GZIP: Final = b"\x1f\x8b"
TARGETS: Final = {"api": 150.0, "operator": 150.0}
"""Targets in MiB; the other images have none."""


def weigh(images: Mapping[str, Path]) -> list[Figure]:
    """Return the compressed size of each image, by name, from their OCI layouts, and of their common base."""
    layers = {name: _layers(layout) for name, layout in images.items()}
    weighed = {"base": [found[0] for found in layers.values()][:1], **layers}
    return [
        Figure(f"images.{name.replace('-', '_')}_compressed", _mebibytes(found), "MiB", TARGETS.get(name))
        for name, found in weighed.items()
    ]


def _layers(layout: Path) -> list[Path]:
    blobs = layout / "blobs" / "sha256"
    manifest = json.loads((blobs / _hex(str(oci.manifest_of(layout)["digest"]))).read_text())
    return [blobs / _hex(layer["digest"]) for layer in manifest["layers"]]


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


def _mebibytes(layers: list[Path]) -> float:
    return sum(_compressed(layer.name, layer) for layer in layers) / 2**20


@cache
def _compressed(_digest: str, layer: Path) -> int:
    packer, size = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16), 0
    with layer.open("rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        content = gzip.GzipFile(fileobj=raw) if packed else raw
        while block := content.read(_BLOCK):
            size += len(packer.compress(block))
    return size + len(packer.flush())
