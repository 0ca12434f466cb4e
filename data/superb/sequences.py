"""The small sets for phones and for speaker verification, from a folder of labelled speech.

    python sequences.py SPEECH DATA

SPEECH/manifest.tsv is a table with a header: id, path (from SPEECH), source, speaker, split (by speaker), seconds and phones of
each utterance. DATA is this repository's data: it has sample/, and superb/sid as subset.py makes it.

DATA/superb/phones: train.tsv and dev.tsv list the sample's utterances that have phones; test.tsv lists audio/, the shortest
utterances of other LibriSpeech speakers, unchanged. phones.txt has the phones of all, without silence.

DATA/superb/asv trains on pieces of the sample's train utterances of 8 seconds or more, one speaker each: the last 5 seconds are two
pieces of dev, what is before them is train. test.tsv lists all of superb/sid. Trials are all pairs of test, and of dev those of one speaker and every eleventh other. labels.tsv has the speakers of train
and dev. Needs soundfile.
"""

import csv
import itertools
import os
import shutil
import sys

import soundfile

TEST_UTTERANCES = 12
DEV_PIECES = 2
DEV_SECONDS = 2.5
MIN_TRAIN_SECONDS = 3


def read_manifest(path):
    root, *lines = open(path, encoding="utf-8").read().splitlines()
    return root, lines


def write_lines(folder, name, lines):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        print(*lines, sep="\n", file=file)


def phones(speech, data, rows):
    out = os.path.join(data, "superb", "phones")
    os.makedirs(os.path.join(out, "audio"), exist_ok=True)
    with open(os.path.join(data, "sample", "phones.tsv"), encoding="utf-8") as file:
        sequences = {os.path.basename(row["path"]): row["phones"] for row in csv.DictReader(file, delimiter="\t")}
    in_sample = set()
    for part in ("train", "dev"):
        root, lines = read_manifest(os.path.join(data, "sample", f"{part}.tsv"))
        in_sample.update(line.split("\t")[0] for line in lines)
        write_lines(out, f"{part}.tsv", [root] + [line for line in lines if line.split("\t")[0] in sequences])
    others = [row for row in rows if row["source"] == "ls100" and row["split"] == "test" and row["phones"]]
    others = [row for row in others if os.path.basename(row["path"]) not in in_sample]
    lines = []
    for row in sorted(others, key=lambda row: float(row["seconds"]))[:TEST_UTTERANCES]:
        name = os.path.basename(row["path"])
        shutil.copyfile(os.path.join(speech, row["path"]), os.path.join(out, "audio", name))
        sequences[name] = row["phones"]
        lines.append(f"{name}\t{soundfile.info(os.path.join(out, 'audio', name)).frames}")
    write_lines(out, "test.tsv", ["data/superb/phones/audio", *sorted(lines)])
    texts = []
    for name, aligned in sorted(sequences.items()):
        said = [phone.split(":")[2] for phone in aligned.split()]
        texts.append(" ".join([os.path.splitext(name)[0], *(phone for phone in said if phone != "SIL")]))
    write_lines(out, "phones.txt", texts)


def asv(data):
    out = os.path.join(data, "superb", "asv")
    root, lines = read_manifest(os.path.join(data, "sample", "train.tsv"))
    segments = {"train": [], "dev": []}
    speakers = {}
    for line in lines:
        path, samples = line.split("\t")
        recording = os.path.splitext(path)[0]
        end = int(samples) / 16000
        middle = end - DEV_PIECES * DEV_SECONDS
        if middle < MIN_TRAIN_SECONDS:
            continue
        cuts = [("train", 0, middle)]
        cuts += [("dev", middle + i * DEV_SECONDS, middle + (i + 1) * DEV_SECONDS) for i in range(DEV_PIECES)]
        for number, (part, start, stop) in enumerate(cuts):
            name = f"{recording}-{number}"
            segments[part].append(f"{name} {recording} {start:.2f} {stop:.2f}")
            speakers[name] = recording.split("-")[0]
    for part, lines_of_part in segments.items():
        recordings = [f"{os.path.splitext(line.split()[0])[0]} {root}/{line.split()[0]}" for line in lines]
        write_lines(os.path.join(out, part), "wav.scp", recordings)
        write_lines(os.path.join(out, part), "segments", lines_of_part)
    write_lines(out, "labels.tsv", [f"{name}\t{speaker}" for name, speaker in sorted(speakers.items())])
    write_trials(out, "dev", [line.split()[0] for line in segments["dev"]], speakers, keep_of_others=11)
    sid = os.path.join(data, "superb", "sid")
    parts = [read_manifest(os.path.join(sid, f"{part}.tsv")) for part in ("train", "dev", "test")]
    write_lines(out, "test.tsv", [parts[0][0], *sorted(line for _, lines in parts for line in lines)])
    with open(os.path.join(sid, "labels.tsv"), encoding="utf-8") as file:
        speakers = dict(line.split("\t") for line in file.read().splitlines())
    write_trials(out, "test", sorted(speakers), speakers)


def write_trials(out, part, names, speakers, keep_of_others=1):
    """Writes all pairs of one speaker, and of two every `keep_of_others`th."""
    pairs = list(itertools.combinations(names, 2))
    same = [pair for pair in pairs if speakers[pair[0]] == speakers[pair[1]]]
    others = [pair for pair in pairs if speakers[pair[0]] != speakers[pair[1]]][::keep_of_others]
    write_lines(out, f"{part}_trials.txt", [f"{int(pair in same)} {pair[0]} {pair[1]}" for pair in same + others])


def main(speech, data):
    with open(os.path.join(speech, "manifest.tsv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    phones(speech, data, rows)
    asv(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
