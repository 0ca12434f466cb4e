"""What each codec of a cache costs and does, as two tables in Markdown:

    python tests/speed/codecs.py [STEPS [PIPELINE [FOLDER]]]      # 200; needs numpy and pyarrow; about ten minutes

The first is of hidden states: bytes for an hour of speech and a layer of width 768, and GB of decoded f32 a second that are
stored and served, on noise (the bench `cache`, with the parquet crate on the same files); the relative error of the sample's
targets, and the dev loss of the student of graphs/distil.json after STEPS updates, measured on targets in f32 whatever it was
trained on. The second is of logits: speeds of 768 classes, the bytes of the 100 of graphs/lstm-dkd.json, how far the softmax of
what comes back is from the teacher's, and the dev loss of that graph's student, measured likewise. What is in FOLDER already (the
output of the bench, speeds.txt; finished runs) is not measured again, so that a run that was stopped goes on.
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
HIDDENS, LOGITS = "graphs/distil.json", "graphs/lstm-dkd.json"
FRAMES_AN_HOUR, WIDTH, CLASSES = 180_000, 768, 100
os.environ["CARGO_TERM_QUIET"] = "true"


def run(graph, out, *arguments):
    """Runs a graph, or goes on with it; a finished run stays as it is."""
    command = [PIPELINE, "run", graph, "--out", out, "--resume", *arguments]
    subprocess.run([*map(str, command)], cwd=ROOT, check=True, capture_output=True, text=True)


def sets(**options):
    return [word for name, value in options.items()
            for word in ("--set", f"{name.replace('__', '.')}={json.dumps(value)}")]


def speeds(folder):
    """Returns by codec: GB/s stored, served, served from the disk, by the parquet crate; bytes for a decoded byte."""
    file = folder / "speeds.txt"
    if not file.exists():
        command = ["cargo", "bench", "-p", "nodes", "--bench", "cache"]
        file.write_text(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    rows = [line.split() for line in file.read_text().splitlines() if line]
    return {name: tuple(map(float, numbers)) for name, *numbers in rows}


def fit(folder, books):
    graph = json.loads((ROOT / "graphs/targets.json").read_text())
    layers = json.loads((ROOT / HIDDENS).read_text())["nodes"]["teacher"]["layers"]
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


def train(folder, graph, name, codec, inits):
    """Trains a student and returns its dev loss on targets in f32. `inits` are the options by which what the run has learnt is
    loaded again, from its folder."""
    out = folder / name
    options = dict(teacher__codec=codec, teacher__cache=str(folder / f"cache-{name}"))
    run(graph, out, *sets(**options, step__steps=int(STEPS)))
    rates = {node: 0 for node in json.loads((ROOT / graph).read_text())["nodes"]["step"]["rates"]}
    again = folder / f"{name}-f32"
    exact = name.split(".")[0] + ".f32"
    inits = {option: str(out / file) if file else None for option, file in inits.items()}
    run(graph, again, "--steps", 1,
        *sets(teacher__cache=str(folder / f"cache-{exact}"), step__rates=rates, **inits))
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


def softmax(logits):
    shifted = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def divergence(exact, kept):
    """Returns KL(softmax of the logits || softmax of those that come back), nats a frame."""
    found = dict(rows(kept, "logits"))
    nats = frames = 0.0
    for key, values in rows(exact, "logits"):
        logits, left = values.astype("f8"), found[key].astype("f8")
        target = softmax(logits)
        nats += float((target * (numpy.log(target) - numpy.log(softmax(left)))).sum())
        frames += len(values)
    return nats / frames


def hiddens(folder, speed):
    codecs = {"f32": "f32", "f16": "f16", "bf16": "bf16", "int8-frame": "int8",
              "int8-channel": {"type": "int8", "scale": "channel"},
              "multi-codebook-8": fit(folder, 8), "multi-codebook-16": fit(folder, 16)}
    inits = dict(student__init="student", student__architecture=None, student__init_layers=None,
                 heads__init="heads/heads.safetensors")
    print("| codec | MB an hour and layer | stored | served | from the disk | parquet crate | relative error | dev loss |")
    print("|---|---|---|---|---|---|---|---|")
    for name, codec in codecs.items():
        loss = train(folder, HIDDENS, f"hiddens.{name}", codec, inits)
        error = relative_error(Cache(folder / "cache-hiddens.f32"), Cache(folder / f"cache-hiddens.{name}"))
        *gigabytes, share = speed[name]
        bytes_an_hour = share * 4 * WIDTH * FRAMES_AN_HOUR
        numbers = " | ".join(f"{value:.2f} GB/s" for value in gigabytes)
        print(f"| {name} | {bytes_an_hour / 1e6:.1f} | {numbers} | {error:.5f} | {loss:.4f} |", flush=True)


def logits(folder, speed):
    inits = dict(student__init="student", student__architecture=None, logits__init="logits")
    print("| codec of logits | MB an hour | stored | served | from the disk | parquet crate | nats a frame | dev loss |")
    print("|---|---|---|---|---|---|---|---|")
    for kept in (None, 20, 10, 5):
        name = f"top-{kept}" if kept else "f32"
        loss = train(folder, LOGITS, f"logits.{name}", {"type": "top-k", "k": kept} if kept else "f32", inits)
        nats = divergence(Cache(folder / "cache-logits.f32"), Cache(folder / f"cache-logits.{name}"))
        bytes_an_hour = (8 * kept + 4 if kept else 4 * CLASSES) * FRAMES_AN_HOUR
        measured = {None: "f32", 20: "top-k-20"}.get(kept)
        numbers = " | ".join(f"{value:.2f} GB/s" for value in speed[measured][:4]) if measured else "| | |"
        print(f"| {name} | {bytes_an_hour / 1e6:.1f} | {numbers} | {nats:.4f} | {loss:.4f} |", flush=True)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = FOLDER or Path(temporary)
        folder.mkdir(exist_ok=True)
        speed = speeds(folder)
        hiddens(folder, speed)
        print()
        logits(folder, speed)


main()
