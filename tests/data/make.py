"""Makes the files of tests/data that other programs must have written. From the repository's root:

    pip install lhotse datasets soundfile numpy urllib3     # lhotse 1.33.0, datasets 5.2.0
    python tests/data/make.py                               # and ffmpeg 5.1 in the path

audio/: one FLAC in other codecs; audio/audio.tsv: what ffmpeg decodes of every file that is read. The rows of files from
elsewhere were there before and stay. manifests/: the same utterances as each toolkit lists them, paths from the root.
"""
import hashlib, os, shutil, subprocess
import numpy, soundfile
from datasets import Audio, Dataset, Features, Value
from datasets.table import embed_table_storage
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.kaldi import export_to_kaldi

AUDIO, MANIFESTS = "tests/data/audio/", "tests/data/manifests/"
SOURCE = AUDIO + "61-70968-0000.flac"
MADE = {  # name: codec, ffmpeg's options
    "pcm.aiff": ("pcm_s16be", "-t 1"), "pcm.caf": ("pcm_s16be", "-t 1.1"), "mulaw.wav": ("pcm_mulaw", "-t 1"),
    "flac.ogg": ("flac", "-t 1.2"), "vorbis.ogg": ("libvorbis", "-t 2"), "alac.m4a": ("alac", "-t 2"),
    "aac.m4a": ("aac", "-t 2"), "aac-44100.m4a": ("aac", "-t 2 -ar 44100 -ac 2"), "aac.aac": ("aac", "-t 2"),
    "vbr.mp3": ("libmp3lame", "-t 2 -q 4"), "vbr-no-tag.mp3": ("libmp3lame", "-t 2 -q 4 -write_xing 0"),
}


def ffmpeg(*words):
    return subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True, stdout=subprocess.PIPE).stdout


def row(name, codec):
    """Lossless: the MD5 of all samples. Lossy: frames, and the root of the mean square; ffmpeg leaves an M4A's padding."""
    fields = "stream=sample_rate,channels"
    probe = ["ffprobe", "-v", "error", "-show_entries", fields, "-of", "csv=p=0", AUDIO + name]
    rate, channels = map(int, subprocess.check_output(probe, text=True).strip().split(","))
    samples = numpy.frombuffer(ffmpeg("-i", AUDIO + name, "-f", "f32le", "-c:a", "pcm_f32le", "-"), "<f4")
    lossy = codec in ("aac", "libvorbis", "libmp3lame")
    samples = samples[:2 * rate * channels] if name.endswith(".m4a") else samples
    rms = numpy.sqrt((samples.astype("f8") ** 2).mean())
    md5 = "-" if lossy else hashlib.md5(samples.tobytes()).hexdigest()
    return "\t".join(map(str, (name, codec, rate, channels, len(samples) // channels, f"{rms:.6f}", md5)))


def audio():
    lines = open(AUDIO + "audio.tsv").read().splitlines()
    lines = [line for line in lines if line.split("\t")[0] not in MADE]
    for name, (codec, options) in MADE.items():
        ffmpeg("-i", SOURCE, "-bitexact", "-c:a", codec, *options.split(), AUDIO + name)
        lines.append(row(name, codec))
    open(AUDIO + "audio.tsv", "w").write("\n".join(lines) + "\n")


def manifests():
    shutil.rmtree(MANIFESTS, ignore_errors=True)
    os.makedirs(MANIFESTS)
    recordings = [Recording.from_file(AUDIO + name, recording_id=name.split(".")[0])
                  for name in ("61-70968-0000.flac", "common_voice_en_651325.mp3", "sb_24bit.flac", "mono_c0.wav")]
    whole = CutSet.from_cuts(recording.to_cut().with_id(recording.id) for recording in recordings)
    long = whole["61-70968-0000"]
    pieces = CutSet.from_cuts([
        long.truncate(offset=0.5, duration=1.5, preserve_id=False).with_id("long-1"),
        long.truncate(offset=2.123, duration=2.0).with_id("long-2"),
        whole["mono_c0"].truncate(offset=0.1, duration=0.3).with_id("short-1")])
    whole.to_file(MANIFESTS + "whole.jsonl")
    whole.to_file(MANIFESTS + "whole.jsonl.gz")
    pieces.to_file(MANIFESTS + "pieces.jsonl")
    for name, cuts in (("whole", whole), ("pieces", pieces)):
        for cut in cuts:
            cut.supervisions = [SupervisionSegment(cut.id, cut.recording_id, 0, cut.duration, text="-", speaker="-")]
        recordings, supervisions, _ = cuts.decompose()
        export_to_kaldi(recordings, supervisions, MANIFESTS + "kaldi-" + name)
        for other in ("text", "utt2spk", "utt2dur", "reco2dur", "utt2gender"):
            if os.path.exists(path := MANIFESTS + f"kaldi-{name}/{other}"):
                os.remove(path)
        scp = MANIFESTS + f"kaldi-{name}/wav.scp"
        lines = [line.split() for line in open(scp)]
        with open(scp, "w") as file:  # of a command that reads FLAC or MP3 only the file's name stays
            file.writelines(f"{words[0]} {next(w for w in words if w.startswith(AUDIO))}\n" for words in lines)
    os.remove(MANIFESTS + "kaldi-whole/segments")  # its utterances are the recordings
    paths = [recording.sources[0].source for recording in whole.decompose()[0]]
    table = Dataset.from_dict({"audio": paths, "text": ["-"] * len(paths)}).cast_column("audio", Audio())
    table.with_format("arrow").map(embed_table_storage, batched=True).to_parquet(MANIFESTS + "bytes.parquet")
    unread = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}})
    Dataset.from_dict({"audio": [{"bytes": None, "path": p} for p in paths]}, unread).to_parquet(MANIFESTS + "paths.parquet")
    rows = [(os.path.basename(path), len(soundfile.read(path)[0])) for path in paths]
    with open(MANIFESTS + "whole.tsv", "w") as tsv:
        tsv.write(AUDIO + "\n" + "".join(f"{name}\t{samples}\n" for name, samples in rows))


audio()
manifests()
