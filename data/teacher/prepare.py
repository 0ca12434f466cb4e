"""The teacher's training set: manifests, labels and phones, and each training utterance at three speeds.

    python prepare.py SPEECH LABELS.km OUT

SPEECH/manifest.tsv is a table with a header: path (from SPEECH), source, split, speaker and phones of each utterance.
Test utterances are left out of OUT/train.tsv; dev utterances of the sources in HELD are OUT/dev.tsv. OUT/all.tsv has both,
and OUT/labels.km their labels in its order: those of LABELS.km (the order of SPEECH/manifest.tsv), those of other speeds
from the frame that was there before. OUT/phones.tsv is for `pipeline probe`. Needs numpy, scipy, soundfile.
"""

import csv
import os
import sys
from fractions import Fraction
from multiprocessing import Pool

import numpy as np
import soundfile
from scipy.signal import resample_poly

SPEEDS = {"0.9": Fraction(9, 10), "1.0": Fraction(1), "1.1": Fraction(11, 10)}
HELD = ("ls100", "so762")


def faster(labels, samples, speed):
    """Labels of an utterance that now has so many samples."""
    at = [round(((320 * i + 200) * float(speed) - 200) / 320) for i in range((samples - 400) // 320 + 1)]
    return [labels[min(max(0, j), len(labels) - 1)] for j in at]


def at_all_speeds(task):
    speech, out, path, labels = task
    audio = soundfile.read(os.path.join(speech, path), dtype="float32")[0]
    lines = []
    for name, speed in SPEEDS.items():
        y = audio if speed == 1 else resample_poly(audio, speed.denominator, speed.numerator)
        to = os.path.join(name, path)
        os.makedirs(os.path.dirname(os.path.join(out, to)), exist_ok=True)
        soundfile.write(os.path.join(out, to), np.clip(y, -1, 1 - 2**-15), 16000, subtype="PCM_16")
        lines.append((to, len(y), faster(labels, len(y), speed)))
    return lines


def main(speech, km, out):
    speech, out = os.path.abspath(speech), os.path.abspath(out)
    rows = list(csv.DictReader(open(os.path.join(speech, "manifest.tsv"), encoding="utf-8"), delimiter="\t"))
    labels = dict(zip((row["path"] for row in rows), (line.split() for line in open(km, encoding="utf-8"))))
    dev = [row["path"] for row in rows if row["split"] == "dev" and row["source"] in HELD]
    train = [row["path"] for row in rows if row["split"] != "test" and row["path"] not in dev]
    with Pool() as pool:
        tasks = [(speech, out, path, labels[path]) for path in train]
        made = [line for lines in pool.map(at_all_speeds, tasks, chunksize=16) for line in lines]
    held = [(os.path.join(speech, path), soundfile.info(os.path.join(speech, path)).frames) for path in dev]
    for name, lines in [("train", made), ("dev", held), ("all", [line[:2] for line in made] + held)]:
        with open(os.path.join(out, f"{name}.tsv"), "w", encoding="utf-8") as file:
            print(out, *(f"{line[0]}\t{line[1]}" for line in lines), sep="\n", file=file)
    with open(os.path.join(out, "labels.km"), "w", encoding="utf-8") as file:
        for line in [line[2] for line in made] + [labels[path] for path in dev]:
            print(*line, file=file)
    with open(os.path.join(out, "phones.tsv"), "w", encoding="utf-8") as file:
        print("path\tsplit\tspeaker\tphones", file=file)
        for row in (row for row in rows if row["phones"]):
            split = "train" if row["split"] == "train" else f"{row['source']}-{row['split']}"
            print(os.path.join(speech, row["path"]), split, row["speaker"], row["phones"], sep="\t", file=file)


if __name__ == "__main__":
    main(*sys.argv[1:])
