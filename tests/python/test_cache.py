"""Caches: rows as arrays, damage, several fingerprints."""

import json
import shutil
import subprocess
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from support import FIRST, GRAPH, InFolder, needs_torch

import ssl_compression as sc
from ssl_compression._blake3 import numpy_digest

CACHE = Path("data/cache")


def first_part(cache: Path, layer: str) -> Path:
    return sorted(cache.glob(f"*/{layer}/part-*.parquet"))[0]


class Reading(InFolder):
    def test_fingerprints_say_what_was_computed(self) -> None:
        cache = sc.Cache(CACHE)
        ((name, said),) = cache.fingerprints.items()
        self.assertEqual((said["kind"], said["codec"]), ("teacher", "f32"))
        self.assertEqual(cache.layers(), [0, 3, 5])
        one = sc.Cache(CACHE / name)
        self.assertEqual(one.fingerprints, cache.fingerprints)

    def test_rows_are_those_of_the_files(self) -> None:
        rows = list(sc.Cache(CACHE).rows(3))
        table = pq.read_table(first_part(CACHE, "layer-03")).to_pylist()
        for (id_, hidden), row in zip(rows, table):
            self.assertEqual(id_, row["id"])
            self.assertEqual(hidden.shape, (row["frames"], row["width"]))
            self.assertEqual(hidden.dtype, np.float32)
            np.testing.assert_array_equal(hidden.ravel(), np.float32(row["hidden"]))
        self.assertEqual(len(rows), len(list(sc.Cache(CACHE).rows(5))))

    def test_a_row_is_found_by_its_id(self) -> None:
        cache = sc.Cache(CACHE)
        rows = list(cache.rows(0))
        ids = [id_ for id_, _ in rows]
        single = next(id_ for id_ in ids if ids.count(id_) == 1)
        expected = dict(rows)[single]
        np.testing.assert_array_equal(cache.hidden(single, 0), expected)
        with self.assertRaisesRegex(KeyError, "no row of 'nobody'"):
            cache.hidden("nobody", 0)
        with self.assertRaisesRegex(KeyError, r"no layer 4, but \[0, 3, 5\]"):
            cache.hidden(single, 4)

    def test_several_rows_of_an_id_are_listed(self) -> None:
        self.copy()
        part = first_part(self.folder, "layer-00")
        other = self.folder / "other.parquet"
        row = pq.read_table(part).slice(0, 1)
        id_ = row["id"][0].as_py()
        frames = row["frames"][0].as_py()
        key = row.column_names.index("key")
        other_key = pa.array([b"x" * 16], type=row.field("key").type)
        row = row.set_column(key, row.field("key"), other_key)
        pq.write_table(row, other)
        name = numpy_digest(memoryview(other.read_bytes()))[:16]
        other.rename(part.with_name(f"part-{name}.parquet"))
        with self.assertRaisesRegex(ValueError, f"{frames}, {frames} frames"):
            sc.Cache(self.folder).hidden(id_, 0)

    def test_a_damaged_part_is_named(self) -> None:
        self.copy()
        part = first_part(self.folder, "layer-03")
        data = bytearray(part.read_bytes())
        data[len(data) // 2] ^= 1
        part.write_bytes(data)
        cache = sc.Cache(self.folder)
        self.assertGreater(len(list(cache.rows(0))), 0)
        with self.assertRaisesRegex(sc.DamagedPart, part.name):
            list(cache.rows(3))
        part.write_bytes(b"")
        with self.assertRaisesRegex(sc.DamagedPart, part.name):
            list(sc.Cache(self.folder).rows(3))

    def test_no_fingerprint_is_taken_by_guess(self) -> None:
        self.copy()
        (name,) = sc.Cache(self.folder).fingerprints
        shutil.copytree(self.folder / name, self.folder / ("0" * 16))
        cache = sc.Cache(self.folder)
        with self.assertRaisesRegex(ValueError, f"{'0' * 16}, {name}"):
            cache.rows(0)
        self.assertGreater(len(list(cache.rows(0, fingerprint=name))), 0)
        with self.assertRaises(KeyError):
            cache.rows(0, fingerprint="f" * 16)

    def test_logits_have_a_name_for_a_number(self) -> None:
        self.copy()
        (folder,) = (path.parent for path in self.folder.glob("*/fingerprint.json"))
        (folder / "layer-03").rename(folder / "logits")
        cache = sc.Cache(self.folder)
        self.assertEqual(cache.layers(), ["logits", 0, 5])
        (id_, logits), *_ = cache.rows("logits")
        np.testing.assert_array_equal(logits, dict(sc.Cache(CACHE).rows(3))[id_])

    def test_an_unknown_codec_is_refused(self) -> None:
        self.copy()
        (said,) = self.folder.glob("*/fingerprint.json")
        said.write_text(said.read_text().replace('"codec":"f32"', '"codec":"q1"'))
        with self.assertRaisesRegex(ValueError, "codec 'q1'"):
            sc.Cache(self.folder).rows(0)

    def test_another_folder_is_no_cache(self) -> None:
        with self.assertRaisesRegex(FileNotFoundError, "is no cache"):
            sc.Cache(FIRST)

    def copy(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(CACHE, self.folder)


class Codecs(InFolder):
    """Rows of every codec are those that the program sends, bit for bit."""

    def check(self, codec: dict[str, str] | str) -> None:
        sent = self.sent(codec, GRAPH, "teacher.targets")
        cache = sc.Cache(self.folder / "cache")
        layers = cache.layers()
        self.assertGreater(len(sent), 0)
        for row in sent:
            for layer, hidden in zip(layers, row["hidden"]):
                stored = cache.hidden(row["id"], layer)
                self.assertEqual(stored.dtype, np.float32)
                np.testing.assert_array_equal(stored.ravel(), np.float32(hidden))

    def sent(self, codec: object, graph: str, port: str) -> list[dict[str, Any]]:
        """Returns the rows that a port sends in an update, which fills the cache."""
        said = json.dumps(codec)
        settings = [f"teacher.codec={said}", f"teacher.cache={self.folder / 'cache'}"]
        tapped = self.folder / "sent.parquet"
        arguments = ["tap", graph, port, "--steps", "1", "--out", str(tapped)]
        for setting in settings:
            arguments += ["--set", setting]
        run = subprocess.run(["pipeline", *arguments], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        return list(pq.read_table(tapped).to_pylist())

    def test_floats(self) -> None:
        for codec in ["f16", "bf16"]:
            with self.subTest(codec):
                shutil.rmtree(self.folder / "cache", ignore_errors=True)
                self.check(codec)

    def test_int8(self) -> None:
        for scale in ["frame", "channel"]:
            with self.subTest(scale):
                shutil.rmtree(self.folder / "cache", ignore_errors=True)
                self.check({"type": "int8", "scale": scale})

    def test_largest_logits(self) -> None:
        """Those of the classes that are not stored may differ from the program's in the last bit."""
        written = self.folder / "written"
        new = ["pipeline", "new", str(written), "--method", "lstm-dkd"]
        subprocess.run(new, capture_output=True, check=True)
        codec = {"type": "top-k", "k": 5}
        sent = self.sent(codec, str(written / "graphs/lstm-dkd.json"), "teacher.logits")
        cache = sc.Cache(self.folder / "cache")
        self.assertGreater(len(sent), 0)
        for row in sent:
            (logits,) = row["hidden"]
            stored = cache.hidden(row["id"], "logits")
            self.assertEqual(len(np.unique(stored[0])), 6)
            np.testing.assert_allclose(stored.ravel(), np.float32(logits), rtol=1e-6)

    def test_codebooks(self) -> None:
        speech = {"kind": "decode", "manifest": "data/sample/dev.tsv", "seconds_per_batch": 20}
        teacher = {
            "kind": "teacher",
            "inputs": {"speech": "speech.speech"},
            "model": "data/sample/teacher",
            "layers": [0, 3, 5],
        }
        inputs = {"targets": "teacher.targets"}
        books = {"kind": "codebook", "inputs": inputs, "books": 2, "passes": 1, "frames": 2000}
        nodes = {"speech": speech, "teacher": teacher, "books": books}
        graph = {"name": "fit", "nodes": nodes}
        file = self.folder / "fit.json"
        file.write_text(json.dumps(graph), encoding="utf-8")
        for _ in sc.run(file, out=self.folder / "fit"):
            pass
        fitted = self.folder / "fit" / "books" / "codebooks.safetensors"
        self.check({"type": "multi-codebook", "file": str(fitted)})
        cache = self.folder / "cache"
        (kept,) = cache.glob("*/codebooks.safetensors")
        kept.write_bytes(kept.read_bytes() + b"x")
        with self.assertRaisesRegex(sc.UnknownCodec, "not the codebooks"):
            sc.Cache(cache).rows(3)


class Hashes(unittest.TestCase):
    def test_known_hashes(self) -> None:
        """The official test vectors: bytes 0, 1, 2 to 250, again and again."""
        pattern = bytes(range(251)) * 500
        for length, expected in {
            0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
            1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
            1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
            102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
        }.items():
            self.assertEqual(numpy_digest(memoryview(pattern[:length])), expected, length)

    def test_a_part_of_many_chunks(self) -> None:
        part = first_part(CACHE, "layer-03")
        digest = numpy_digest(memoryview(part.read_bytes()))
        self.assertEqual(part.name, f"part-{digest[:16]}.parquet")


@needs_torch
class Datasets(unittest.TestCase):
    def test_items_hold_all_layers(self) -> None:
        import pickle

        cache = sc.Cache(CACHE)
        dataset = cache.dataset([5, 0])
        rows = list(cache.rows(0))
        self.assertEqual(len(dataset), len(rows))
        id_, (fifth, zeroth) = dataset[0]
        self.assertEqual(fifth.shape, zeroth.shape)
        self.assertIn(id_, dict(rows))
        again = pickle.loads(pickle.dumps(dataset))
        self.assertTrue(again[0][1][0].equal(fifth))


if __name__ == "__main__":
    unittest.main()
