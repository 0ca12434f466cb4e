"""Holds runs with data and a cache at az:// against runs with the same on a disk.

tests/store/azure starts the server and runs this; its account and key are those of every emulator.
"""
import hashlib, os, subprocess, time, unittest
from pathlib import Path

import pyarrow.parquet
from azure.storage.blob import BlobServiceClient

ROOT = Path(__file__).resolve().parents[2]
SCRATCH = Path(os.environ["SCRATCH"])
SAMPLE = ROOT / "data/sample"
CONTAINER = "corpora"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def pipeline(*arguments):
    """Runs the program. Returns what it prints on both streams."""
    done = subprocess.run([os.environ["PIPELINE"], *map(str, arguments)], cwd=ROOT, text=True, capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def fill(name, cache, *more):
    return pipeline("run", "graphs/targets.json", "--out", SCRATCH / name, "--set", f"teacher.cache={cache}",
                    "--set", "teacher.layers=[1,3]", *more)


def files(folder):
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "files.json"]
    return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest() for path in paths}


class Azure(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        service = BlobServiceClient("http://127.0.0.1:10000/devstoreaccount1", credential=KEY)
        for _ in range(100):
            try:
                cls.container = service.create_container(CONTAINER)
                break
            except OSError:
                time.sleep(0.1)
            except Exception as error:  # the SDK's own, while nobody answers
                if "onnection" not in str(error):
                    raise
                time.sleep(0.1)
        else:
            raise RuntimeError("the server does not answer")
        lines = (SAMPLE / "train.tsv").read_text().splitlines()[1:]
        cls.names = [line.split("\t")[0] for line in lines]
        for name in cls.names:
            cls.container.upload_blob(f"audio/{name}", (SAMPLE / "audio" / name).read_bytes())
        text = "\n".join([f"az://{CONTAINER}/audio", *lines, ""])
        cls.container.upload_blob("train.tsv", text.encode())

    def blobs(self, prefix):
        found = {}
        for blob in self.container.list_blobs(name_starts_with=prefix):
            body = self.container.download_blob(blob.name).readall()
            found[blob.name.removeprefix(prefix)] = hashlib.md5(body).hexdigest()
        return found

    def test_audio_is_that_of_the_disk(self):
        def tap(name, manifest):
            out = SCRATCH / f"{name}.parquet"
            pipeline("tap", "graphs/targets.json", "speech.speech", "--steps", 3, "--out", out, "--set",
                     f"speech.manifest={manifest}", "--set", "speech.dev=null", "--set", "teacher.cache=null")
            return pyarrow.parquet.read_table(out)
        local = tap("local", "data/sample/train.tsv")
        for manifest in [f"az://{CONTAINER}/train.tsv", f"az://{CONTAINER}/audio"]:
            remote = tap("remote", manifest)
            if manifest.endswith("audio"):  # batches of the same files in another order
                self.assertLessEqual(set(remote["id"].to_pylist()), set(self.names))
            else:
                self.assertTrue(remote.equals(local))

    def test_a_cache_is_that_of_the_disk(self):
        fill("disk", SCRATCH / "cache")
        cache = f"az://{CONTAINER}/cache"
        fill("store", cache)
        self.assertEqual(self.blobs("cache/"), files(SCRATCH / "cache"))
        fill("again", cache)
        self.assertEqual(self.blobs("cache/"), files(SCRATCH / "cache"))
        self.assertIn("0 damaged", pipeline("cache", "verify", cache))

    def test_shards_are_merged_and_removed(self):
        cache = f"az://{CONTAINER}/shards"
        for shard in ["1/2", "2/2"]:
            fill(f"store-{shard[0]}", cache, "--shard", shard)
            fill(f"disk-{shard[0]}", SCRATCH / "shards", "--shard", shard)
        self.assertIn("joined 4 parts into 2", pipeline("cache", "merge", cache))
        pipeline("cache", "merge", SCRATCH / "shards")
        self.assertEqual(self.blobs("shards/"), files(SCRATCH / "shards"))
        pipeline("cache", "remove", cache)
        self.assertEqual(self.blobs("shards/"), {})


if __name__ == "__main__":
    unittest.main()
