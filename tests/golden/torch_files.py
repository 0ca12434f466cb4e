"""Write the small files of formats/ that show what torch.save and numpy.save can hold.

    python tests/golden/torch_files.py        # needs torch, numpy

values.pt and values_legacy.pt hold the same values in both containers; tiny*.pt are smaller, for damage.
"""

import io
import pathlib
import zipfile
from argparse import Namespace
from decimal import Decimal

import numpy
import torch

OUT = pathlib.Path(__file__).parent / "formats"
OUT.mkdir(exist_ok=True)


def save(value, name, **options):
    torch.save(value, OUT / name, **options)


def repacked(name, out, compression, changes=()):
    """Copy an archive with another compression, and with other bytes in some records."""
    with zipfile.ZipFile(OUT / name) as source, zipfile.ZipFile(OUT / out, "w", compression) as target:
        for record in source.infolist():
            data = dict(changes).get(record.filename.split("/", 1)[1], source.read(record))
            info = zipfile.ZipInfo(record.filename, (1980, 1, 1, 0, 0, 0))
            info.compress_type = compression
            target.writestr(info, data)


def main():
    plain = torch.arange(6) / 2
    values = {
        "tensors": {
            "f32": plain.reshape(2, 3), "f16": plain.half(), "bf16": plain.bfloat16(), "f64": plain.double(),
            "turned": plain.reshape(2, 3).T, "every_second": torch.arange(10)[::4].float() / 4,
            "scalar": torch.tensor(7.0), "i64": torch.arange(3),
            "parameter": torch.nn.Parameter(plain.clone()),
        },
        "config": {
            "name": "base", "layers": 12, "rate": 0.5, "flag": True, "none": None, "list": [1, (2, 3)],
            "namespace": Namespace(arch="hubert", width=768), "big": 2**80,
        },
        "opaque": Decimal("1.5"),
    }
    # Steps that a copy would lose.
    values["tensors"]["every_second"] = (torch.arange(10) / 4)[0:9:4][:3]
    save(values, "values.pt")
    save(values, "values_legacy.pt", _use_new_zipfile_serialization=False)
    tiny = {"a": {"w": torch.ones(3), "t": torch.ones(2, 3).T}, "n": Namespace(x=1, y=[0.5, None])}
    save(tiny, "tiny.pt")
    save(tiny, "tiny_legacy.pt", _use_new_zipfile_serialization=False)
    save({"a": {"w": torch.ones(1).expand(5)}}, "expanded.pt")
    repacked("tiny.pt", "compressed.pt", zipfile.ZIP_DEFLATED)
    repacked("tiny.pt", "big_endian.pt", zipfile.ZIP_STORED, [("byteorder", b"big")])
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), script)
    (OUT / "script.pt").write_bytes(script.getvalue())
    generator = numpy.random.default_rng(5)
    statistics = {"mean": generator.normal(10, 2, 80), "std": generator.uniform(2, 4, 80)}
    numpy.save(OUT / "global_cmvn.npy", statistics)


main()
