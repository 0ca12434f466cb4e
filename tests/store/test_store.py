"""Holds runs with data and caches in an object store against runs with the same on a disk.

tests/store/run starts the server, names it in the environment, and runs this.
"""
import hashlib, json, os, subprocess, time, unittest, urllib.request
from pathlib import Path

import boto3
import pyarrow
import pyarrow.parquet

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = os.environ["PIPELINE"]
SCRATCH = Path(os.environ["SCRATCH"])
SAMPLE = ROOT / "data/sample"
BUCKET = "speech.corpus"
GRAPH = ROOT / "graphs/targets.json"


def client():
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1")


def wait_for_server():
    for _ in range(100):
        try:
            return urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"])
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server does not answer")


def pipeline(*arguments, code=0, environment=()):
    """Runs the program. Returns what it prints on both streams."""
    done = subprocess.run([PIPELINE, *map(str, arguments)], cwd=ROOT, text=True, capture_output=True,
                          env={**os.environ, **dict(environment)})
    if done.returncode != code:
        raise AssertionError(f"exit code {done.returncode} in place of {code}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def sets(**options):
    return [word for name, value in options.items() for word in ("--set", f"{name.replace('__', '.')}={value}")]


def objects(prefix):
    """Returns size and MD5 of the objects below a prefix, by the rest of their key."""
    found = {}
    for page in client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
        for item in page.get("Contents", []):
            body = client().get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
            found[item["Key"].removeprefix(prefix)] = (len(body), hashlib.md5(body).hexdigest())
    return found


def requests():
    """Returns what the server was asked so far: lines with method, path and status."""
    return (SCRATCH / "server.log").read_text().splitlines()


def files(folder):
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in ("files.json", "merging.lock"):
            body = path.read_bytes()
            found[str(path.relative_to(folder))] = (len(body), hashlib.md5(body).hexdigest())
    return found


def rows():
    """Returns names and lengths of the train set."""
    lines = (SAMPLE / "train.tsv").read_text().splitlines()[1:]
    return [(name, int(samples)) for name, samples in (line.split("\t") for line in lines)]


def cut(name, samples):
    source = {"type": "url", "channels": [0], "source": f"s3://{BUCKET}/audio/{name}"}
    recording = {"id": name, "sources": [source], "sampling_rate": 16000, "num_samples": samples,
                 "duration": samples / 16000}
    return json.dumps({"id": name, "start": 0, "duration": samples / 16000, "channel": 0, "recording": recording,
                       "type": "MonoCut"})


def put_lists():
    """Puts the sample's audio, and each form of list of its train set, into the bucket."""
    s3 = client()
    s3.create_bucket(Bucket=BUCKET)
    for name, _ in rows():
        s3.upload_file(str(SAMPLE / "audio" / name), BUCKET, f"audio/{name}")
    lines = [f"{name}\t{samples}" for name, samples in rows()]
    lists = {
        "train.tsv": "\n".join([f"s3://{BUCKET}/audio", *lines, ""]),
        "kaldi/wav.scp": "".join(f"{name} s3://{BUCKET}/audio/{name}\n" for name, _ in rows()),
        "cuts.jsonl": "".join(cut(*row) + "\n" for row in rows()),
    }
    for key, text in lists.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=text.encode())
    audio = [{"bytes": (SAMPLE / "audio" / name).read_bytes(), "path": name} for name, _ in rows()]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({"audio": pyarrow.array(audio, kind)})
    pyarrow.parquet.write_table(table, SCRATCH / "train.parquet", row_group_size=10)
    s3.upload_file(str(SCRATCH / "train.parquet"), BUCKET, "train.parquet")


class Store(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        wait_for_server()
        put_lists()

    def tap(self, name, manifest):
        out = SCRATCH / f"{name}.parquet"
        pipeline("tap", GRAPH, "speech.speech", "--steps", 3, "--out", out,
                 *sets(speech__manifest=manifest, speech__dev="null", teacher__cache="null"))
        return pyarrow.parquet.read_table(out)

    def test_every_form_of_list_gives_the_samples_of_the_disk(self):
        local = self.tap("local", "data/sample/train.tsv")
        for name in ["train.tsv", "kaldi/wav.scp", "cuts.jsonl", "train.parquet", "audio"]:
            with self.subTest(name):
                remote = self.tap(name.replace("/", "-"), f"s3://{BUCKET}/{name}")
                if name == "audio":  # it has the files of the dev set too, were they put there
                    self.assertGreater(remote.num_rows, 0)
                else:
                    self.assertTrue(remote.equals(local))

    def test_check_counts_what_is_there_and_names_what_is_not(self):
        options = lambda manifest: sets(speech__manifest=manifest, speech__dev="null", teacher__cache="null")
        json_of = lambda manifest: json.loads(pipeline(
            "check", GRAPH, "--format", "json", *sets(speech__manifest=manifest, speech__dev="null")))
        local = json_of("data/sample/train.tsv")
        for name in ["train.tsv", "kaldi/wav.scp", "train.parquet", "audio"]:
            self.assertEqual(json_of(f"s3://{BUCKET}/{name}")["cache_bytes"], local["cache_bytes"], name)
        told = pipeline("check", GRAPH, *options(f"s3://{BUCKET}/none.tsv"))
        self.assertIn(f"there is no `s3://{BUCKET}/none.tsv`", told)
        told = pipeline("run", GRAPH, "--out", SCRATCH / "none", *options(f"s3://{BUCKET}/none.tsv"), code=1)
        self.assertIn(f"there is no `s3://{BUCKET}/none.tsv`", told)
        nobody = [("AWS_ACCESS_KEY_ID", "")]
        told = pipeline("check", GRAPH, *options(f"s3://{BUCKET}/train.tsv"), environment=nobody)
        self.assertIn("the environment has no credentials for s3://: set AWS_ACCESS_KEY_ID", told)

    def test_a_missing_object_is_a_bad_file(self):
        s3 = client()
        lines = [f"s3://{BUCKET}/audio", "none.flac\t16000", *[f"{name}\t{samples}" for name, samples in rows()]]
        s3.put_object(Bucket=BUCKET, Key="missing.tsv", Body="\n".join(lines).encode())
        options = sets(speech__manifest=f"s3://{BUCKET}/missing.tsv", speech__dev="null", teacher__cache="null")
        told = pipeline("run", GRAPH, "--out", SCRATCH / "missing", *options, code=1)
        self.assertIn(f"s3://{BUCKET}/audio/none.flac cannot be read: there is no such object", told)

    def fill(self, name, cache, *more, code=0):
        return pipeline("run", GRAPH, "--out", SCRATCH / name, *sets(teacher__cache=cache, teacher__layers="[1,3]"),
                        *more, code=code)

    def test_caches_are_those_of_the_disk(self):
        disk = SCRATCH / "cache"
        self.fill("on-disk", disk)
        self.fill("in-store", f"s3://{BUCKET}/cache")
        self.assertEqual(objects("cache/"), files(disk))
        # Every row is a hit. A part is read as a whole when it first serves one; to index it, its footer is.
        before = len(requests())
        told = self.fill("again", f"s3://{BUCKET}/cache")
        whole = [line for line in requests()[before:] if "GET" in line and line.split('"')[2].split()[0] == "200"]
        for part in (key for key in objects("cache/") if "part-" in key):
            self.assertTrue(any(part in line for line in whole), f"{part} has served no row")
        self.assertRegex(told, rf"s3://{BUCKET}/cache has (\d+) of \1 rows")
        self.assertEqual(objects("cache/"), files(disk))
        rows_and_layers = lambda path: [
            (item["rows"], item["frames"], item["layers"], item["bytes"])
            for item in json.loads(pipeline("cache", "list", path, "--format", "json"))
        ]
        self.assertEqual(rows_and_layers(f"s3://{BUCKET}/cache"), rows_and_layers(disk))
        self.assertIn("0 damaged", pipeline("cache", "verify", f"s3://{BUCKET}/cache"))

    def test_two_processes_fill_one_cache_and_damage_is_found(self):
        cache = f"s3://{BUCKET}/shared"
        command = [PIPELINE, "run", str(GRAPH), *sets(teacher__cache=cache, teacher__layers="[1,3]")]
        processes = [subprocess.Popen([*command, "--shard", f"{i}/2", "--out", str(SCRATCH / f"shard-{i}")], cwd=ROOT,
                                      stderr=subprocess.PIPE, text=True) for i in (1, 2)]
        for process in processes:
            _, told = process.communicate()
            self.assertEqual(process.returncode, 0, told)
        parts = [key for key in objects("shared/") if "part-" in key]
        self.assertEqual(len(parts), 4)  # of two layers by two processes
        s3 = client()
        key = f"shared/{sorted(parts)[0]}"
        body = bytearray(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        body[len(body) // 2] ^= 1
        s3.put_object(Bucket=BUCKET, Key=key, Body=bytes(body))
        told = pipeline("cache", "verify", cache, code=1)
        self.assertIn("1 damaged", told)
        self.assertIn(f"{key.removeprefix('shared/')}.damaged", objects("shared/"))
        self.assertRegex(self.fill("mended", cache), r"has 4\d of 84 rows")
        self.assertIn("0 damaged", pipeline("cache", "verify", cache))

    def test_merging_and_removing(self):
        s3 = client()
        cache = f"s3://{BUCKET}/merged"
        self.fill("merged-1", cache, "--shard", "1/2")
        self.fill("merged-2", cache, "--shard", "2/2")
        others = objects("merged/")
        folder = next(iter(others)).split("/")[0]
        s3.put_object(Bucket=BUCKET, Key=f"merged/{folder}/merging", Body=b"")
        told = pipeline("cache", "merge", cache, code=1)
        self.assertIn(f"{cache}/{folder}/merging is there: another process merges this cache", told)
        self.assertEqual(set(objects("merged/")), {*others, f"{folder}/merging"})
        s3.delete_object(Bucket=BUCKET, Key=f"merged/{folder}/merging")
        told = pipeline("cache", "merge", cache)
        self.assertIn("joined 4 parts into 2", told)
        disk = SCRATCH / "merged"
        for shard in ["1/2", "2/2"]:
            self.fill(f"merged-disk-{shard[0]}", disk, "--shard", shard)
        pipeline("cache", "merge", disk)
        self.assertEqual(objects("merged/"), files(disk))
        self.assertIn("nothing to merge", pipeline("cache", "merge", f"{cache}/{folder}/"))
        self.assertIn("0 damaged", pipeline("cache", "verify", cache))
        s3.put_object(Bucket=BUCKET, Key="merged/mine.txt", Body=b"mine")
        self.assertIn(f"removed {cache}/{folder}", pipeline("cache", "remove", cache))
        self.assertEqual(set(objects("merged/")), {"mine.txt"})
        self.assertIn("this is not a cache", pipeline("cache", "list", cache, code=1))

    def test_caches_with_codebooks(self):
        graph = json.loads(GRAPH.read_text())
        graph["nodes"]["teacher"] |= {"layers": [1, 3], "cache": None}
        books = {"kind": "codebook", "inputs": {"targets": "teacher.targets"}, "books": 2, "passes": 1}
        fit = SCRATCH / "fit.json"
        fit.write_text(json.dumps({**graph, "name": "fit", "nodes": {**graph["nodes"], "books": books}}))
        pipeline("run", fit, "--out", SCRATCH / "fit")
        file = SCRATCH / "fit/books/codebooks.safetensors"
        codec = json.dumps({"type": "multi-codebook", "file": str(file)})
        disk = SCRATCH / "codes"
        cache = f"s3://{BUCKET}/codes"
        self.fill("codes-disk", disk, *sets(teacher__codec=codec))
        self.fill("codes-store", cache, *sets(teacher__codec=codec))
        self.assertEqual(objects("codes/"), files(disk))
        self.assertIn("0 damaged", pipeline("cache", "verify", cache))
        listed = json.loads(pipeline("cache", "list", cache, "--format", "json"))
        self.assertEqual([(item["rows"] > 0, item["unreadable"]) for item in listed], [(True, 0)])
        self.assertIn("nothing to merge", pipeline("cache", "merge", cache))
        # The codebooks themselves may be in the store.
        client().upload_file(str(file), BUCKET, "books.safetensors")
        codec = json.dumps({"type": "multi-codebook", "file": f"s3://{BUCKET}/books.safetensors"})
        self.fill("codes-again", cache, *sets(teacher__codec=codec))
        self.assertEqual(objects("codes/"), files(disk))

    def test_targets_are_those_of_no_cache(self):
        def targets(name, cache):
            out = SCRATCH / f"{name}.parquet"
            pipeline("tap", GRAPH, "teacher.targets", "--steps", 3, "--out", out,
                     *sets(speech__dev="null", teacher__layers="[1,3]", teacher__cache=cache))
            return pyarrow.parquet.read_table(out)
        live = targets("live", "null")
        cache = f"s3://{BUCKET}/tapped"
        self.fill("tapped", cache)
        self.assertTrue(targets("hits", cache).equals(live))


if __name__ == "__main__":
    unittest.main()
