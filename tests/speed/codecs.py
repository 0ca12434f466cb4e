"""What each codec of a cache costs and does, as one table in Markdown:

    python tests/speed/codecs.py [STEPS [PIPELINE [FOLDER]]]      # 200; needs numpy and pyarrow; about half an hour

Bytes for an hour of speech and a layer of width 768, and GB of decoded f32 a second that are stored and served, on noise (the
bench `cache`, with the parquet crate on the same files); the relative error of the sample's targets, and the dev loss of the
sample's student after STEPS updates, measured on targets in f32 whatever it was trained on. What is in FOLDER already (the output
of the bench, speeds.txt; finished runs) is not measured again, so that a run that was stopped goes on.
"""
import json, os, subprocess, sys, tempfile
from pathlib import Path

import numpy

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "pipeline/python"))
from ssl_compression import Cache  # noqa: E402

STEPS = sys.argv[1] if len(sys.argv) > 1 else "200"
PIPELINE = sys.argv[2] if len(sys.argv) > 2 else str(ROOT / "target/release/pipeline")
FOLDER = Path(sys.argv[3]).resolve() if len(sys.argv) > 3 else None
GRAPH = "graphs/distil.json"
FRAMES_AN_HOUR, WIDTH = 180_000, 768
os.environ["CARGO_TERM_QUIET"] = "true"


def run(graph, out, *arguments):
    """Runs a graph, or goes on with it; a finished run stays as it is."""
    command = [PIPELINE, "run", graph, "--out", out, "--resume", *arguments]
    subprocess.run([*map(str, command)], cwd=ROOT, check=True, capture_output=True, text=True)


def sets(**options):
    return [word for name, value in options.items()
            for word in ("--set", f"{name.replace('__', '.')}={json.dumps(value)}")]


def speeds(folder):
    """Returns by codec: GB/s stored, served, by the parquet crate; bytes for a decoded byte."""
    file = folder / "speeds.txt"
    if not file.exists():
        command = ["cargo", "bench", "-p", "nodes", "--bench", "cache"]
        file.write_text(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    rows = [line.split() for line in file.read_text().splitlines() if line]
    return {name: tuple(map(float, numbers)) for name, *numbers in rows}


def fit(folder, books):
    graph = json.loads((ROOT / "graphs/targets.json").read_text())
    layers = json.loads((ROOT / GRAPH).read_text())["nodes"]["teacher"]["layers"]
    graph["nodes"]["teacher"].update(cache=None, layers=layers)
    inputs = {"targets": "teacher.targets"}
    graph["nodes"]["books"] = {"kind": "codebook", "inputs": inputs, "books": books, "frames": 20_000, "passes": 5}
    file = folder / f"fit-{books}.json"
    file.write_text(json.dumps(graph))
    run(file, folder / f"fit-{books}")
    return {"type": "multi-codebook", "file": str(folder / f"fit-{books}/books/codebooks.safetensors")}


def dev_loss(run):
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [line["value"] for line in lines if line["name"] == "dev/loss"]


def train(folder, name, codec):
    """Trains the sample's student and returns its dev loss on targets in f32."""
    out = folder / name
    options = dict(teacher__codec=codec, teacher__cache=str(folder / f"cache-{name}"))
    run(GRAPH, out, *sets(**options, step__steps=int(STEPS)))
    rates = {node: 0 for node in json.loads((ROOT / GRAPH).read_text())["nodes"]["step"]["rates"]}
    inits = dict(student__init=str(out / "student"), student__architecture=None,
                 student__init_layers=None,
                 heads__init=str(out / "heads/heads.safetensors"))
    again = folder / f"{name}-f32"
    run(GRAPH, again, "--steps", 1,
        *sets(teacher__cache=str(folder / "cache-f32"), step__rates=rates, **inits))
    return dev_loss(again)[0]


def relative_error(exact, rounded):
    left = total = 0.0
    for layer in exact.layers():
        found = {key: values for key, values in rows(rounded, layer)}
        for key, values in rows(exact, layer):
            left += float(numpy.square(values.astype("f8") - found[key]).sum())
            total += float(numpy.square(values.astype("f8")).sum())
    return (left / total) ** 0.5


def rows(cache, layer):
    """Returns the rows with keys that tell the crops of an utterance apart."""
    for key, place in cache._places(layer, None).items():
        yield key, cache._read(place)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = FOLDER or Path(temporary)
        folder.mkdir(exist_ok=True)
        speed = speeds(folder)
        codecs = {"f32": "f32", "f16": "f16", "bf16": "bf16", "int8-frame": "int8",
                  "int8-channel": {"type": "int8", "scale": "channel"},
                  "multi-codebook-8": fit(folder, 8), "multi-codebook-16": fit(folder, 16)}
        print("| codec | MB an hour and layer | stored | served | parquet crate | relative error | dev loss |")
        print("|---|---|---|---|---|---|---|")
        for name, codec in codecs.items():
            loss = train(folder, name, codec)
            error = relative_error(Cache(folder / "cache-f32"), Cache(folder / f"cache-{name}"))
            stored, served, parquet, share = speed[name]
            bytes_an_hour = share * 4 * WIDTH * FRAMES_AN_HOUR
            numbers = f"{bytes_an_hour / 1e6:.1f} | {stored:.2f} GB/s | {served:.2f} GB/s | {parquet:.2f} GB/s"
            print(f"| {name} | {numbers} | {error:.5f} | {loss:.4f} |", flush=True)


main()
