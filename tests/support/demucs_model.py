"""HTDemucs networks with random weights in a model folder. Needs torch."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

from stemyard_separator.models.folder import ModelRecord, add_record, file_sha256

FOUR = ["drums", "bass", "other", "vocals"]
RELEASED: dict[str, Any] = {"bottom_channels": 512, "dconv_mode": 3, "t_layers": 5}
"""Parameters of the published htdemucs."""
SMALL: dict[str, Any] = {"channels": 8, "bottom_channels": 32, "t_heads": 4, "t_layers": 3, "dconv_mode": 3}


def save_network(folder: Path, name: str, sources: list[str], seed: int, **shape: Any) -> HTDemucs:
    """Add a network with random weights to a model folder; return it."""
    torch.manual_seed(seed)
    kwargs = {"sources": sources, "samplerate": 44_100, "segment": Fraction(39, 5), **shape}
    network = HTDemucs(**kwargs).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1 and parameter.abs().max() < 0.01:
                parameter.fill_(0.3)  # layer scales start near zero and would hide half of the network
    segment = {"_type": "fraction", "numerator": 39, "denominator": 5}
    metadata = {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": "[]",
        "kwargs": json.dumps({**kwargs, "segment": segment}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, str(path), metadata)
    digest = file_sha256(path)
    record = ModelRecord(
        file=path.name, sha256=digest, bytes=path.stat().st_size, licence="-", source="random", source_sha256=digest
    )
    add_record(folder, name, record)
    return network
