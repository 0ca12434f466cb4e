"""Time and peak memory of `check`, and of `run` up to its first batch, on a list of many utterances:

    python tests/speed/manifest.py [ROWS [FORMAT [PARTS [PIPELINE]]]]      # 10000000 tsv check,run; FORMAT: tsv, scp, jsonl, parquet

All rows are one file of a second, under as many names as there are rows (links). `check` reads the list alone; `run` hashes it,
reads it, and opens every file for its header. Its lines are printed as they come, with the time and the memory so far.
"""
import itertools, json, os, re, subprocess, sys, tempfile, time, wave
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = ["10000000", "tsv", "check,run", str(ROOT / "target/release/pipeline")]
ROWS, FORMAT, PARTS, PIPELINE = [*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1:]]
ROWS = int(ROWS)
SAMPLES = 16_000
SPEAKERS, CHAPTERS, FILES = 1000, 100, 100


def make_audio(folder):
    """Writes one file that has SPEAKERS x CHAPTERS x FILES paths."""
    files = folder / ".files"
    chapters = folder / ".chapters"
    files.mkdir()
    chapters.mkdir()
    with wave.open(str(files / "0000.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * SAMPLES))
    for i in range(1, FILES):
        os.link(files / "0000.wav", files / f"{i:04}.wav")
    for i in range(CHAPTERS):
        (chapters / f"{i:05}").symlink_to("../.files")
    for i in range(SPEAKERS):
        (folder / f"{i:04}").symlink_to(".chapters")


def paths():
    for row in range(ROWS):
        chapter, file = divmod(row, FILES)
        speaker, chapter = divmod(chapter, CHAPTERS)
        yield f"{speaker % SPEAKERS:04}/{chapter:05}/{file:04}.wav"


def cut(path, folder):
    recording = {"id": path, "sources": [{"type": "file", "channels": [0], "source": f"{folder}/{path}"}],
                 "sampling_rate": 16_000, "num_samples": SAMPLES, "duration": SAMPLES / 16_000, "channel_ids": [0]}
    supervision = {"id": path, "recording_id": path, "start": 0.0, "duration": SAMPLES / 16_000, "channel": 0,
                   "text": "a line of some words as a corpus of speech has it", "language": "English", "speaker": "SPEAKER"}
    return json.dumps({"id": path, "start": 0.0, "duration": SAMPLES / 16_000, "channel": 0, "supervisions": [supervision],
                       "recording": recording, "type": "MonoCut"})


def make_list(folder):
    if FORMAT == "parquet":
        return make_table(folder)
    name = {"tsv": "list.tsv", "scp": "wav.scp", "jsonl": "list.jsonl"}[FORMAT]
    pattern = cut("PATH", folder)
    line = {"tsv": lambda path: f"{path}\t{SAMPLES}", "scp": lambda path: f"{path[:-4].replace('/', '-')} {folder}/{path}",
            "jsonl": lambda path: pattern.replace("PATH", path).replace("SPEAKER", path[:4])}[FORMAT]
    with open(folder / name, "w") as file:
        if FORMAT == "tsv":
            file.write(f"{folder}\n")
        file.writelines(f"{line(path)}\n" for path in paths())
    return folder / name


def make_table(folder):
    """Writes the paths of the files, as datasets does without the files' bytes."""
    import pyarrow, pyarrow.parquet
    audio = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("audio", audio), ("text", pyarrow.string())])
    rows = ({"bytes": None, "path": f"{folder}/{path}"} for path in paths())
    with pyarrow.parquet.ParquetWriter(folder / "list.parquet", schema) as writer:
        while group := list(itertools.islice(rows, 100_000)):
            texts = ["a line of some words as a corpus of speech has it"] * len(group)
            writer.write_table(pyarrow.table([pyarrow.array(group, audio), texts], schema))
    return folder / "list.parquet"


def sets(manifest):
    return ["--set", f"speech.manifest={manifest}", "--set", "speech.dev=null"]


def check(manifest):
    command = [PIPELINE, "check", "graphs/dphubert.json", *sets(manifest)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    print(f"check: {time.perf_counter() - begun:.1f} s, {usage.ru_maxrss / 1e6:.2f} GB")


def peak(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) * 1024 / 1e9


def run(manifest, folder):
    """Runs to the first line of progress."""
    command = [PIPELINE, "run", "graphs/targets.json", "--out", folder / "out", *sets(manifest),
               "--set", f"teacher.cache={folder / 'cache'}"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "dumb"})
    for line in process.stderr:
        print(f"run: {time.perf_counter() - begun:.1f} s, {peak(process):.2f} GB: {line.strip()}", flush=True)
        if line.startswith("main "):
            break
    process.kill()
    process.wait()


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        make_audio(folder)
        manifest = make_list(folder)
        print(f"{ROWS} rows, {manifest.stat().st_size / 1e9:.2f} GB of {FORMAT}", flush=True)
        if "check" in PARTS:
            check(manifest)
        if "run" in PARTS:
            run(manifest, folder)


main()
