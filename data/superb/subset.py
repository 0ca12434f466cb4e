"""The small sets for keywords, emotions and speakers, from a folder of labelled speech.

    python subset.py SPEECH OUT

SPEECH/manifest.tsv is a table with a header: id, path (from SPEECH), source, speaker, split (by speaker; of keywords by
file), sid_split (utterances of each speaker), keyword and emotion of each utterance. Of each class and split the smallest
files are taken, unchanged. OUT/TASK has audio/, train.tsv, dev.tsv, test.tsv and labels.tsv. Needs soundfile.
"""

import csv
import os
import shutil
import sys

import soundfile

# Source, column of the class, column of the split, files of each class by split.
TASKS = {
    "ks": ("pvww", "keyword", "split", {"train": 13, "dev": 5, "test": 10}),
    "er": ("emodb2s", "emotion", "split", {"train": 8, "dev": 3, "test": 6}),
    "sid": ("so762", "speaker", "sid_split", {"train": 3, "dev": 1, "test": 3}),
}
# Speakers by the split in which all of their utterances are: others may train and test speaker verification with them.
SPEAKERS = {"train": 8, "test": 6}


def name_of(row):
    return row["id"].split("/", 1)[1].replace("/", "_") + ".flac"


def speakers(rows):
    """The speakers whose files are the smallest, of each split."""
    chosen = set()
    for split, count in SPEAKERS.items():
        sizes = {}
        for row in rows:
            if row["split"] == split:
                sizes.setdefault(row["speaker"], []).append(row["size"])
        smallest = sorted(sizes, key=lambda s: (sum(sorted(sizes[s])[:7]), s))
        chosen.update(smallest[:count])
    return chosen


def main(speech, out):
    with open(os.path.join(speech, "manifest.tsv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        row["size"] = os.path.getsize(os.path.join(speech, row["path"]))
    for task, (source, label, split, counts) in TASKS.items():
        of_source = [row for row in rows if row["source"] == source]
        kept = speakers(of_source) if task == "sid" else {row[label] for row in of_source}
        folder = os.path.join(out, task)
        os.makedirs(os.path.join(folder, "audio"), exist_ok=True)
        labels = []
        for part, count in counts.items():
            lines = []
            for name in sorted(kept):
                of_class = [row for row in of_source if row[label] == name and row[split] == part]
                for row in sorted(of_class, key=lambda row: (row["size"], row["id"]))[:count]:
                    to = os.path.join(folder, "audio", name_of(row))
                    shutil.copyfile(os.path.join(speech, row["path"]), to)
                    lines.append(f"{name_of(row)}\t{soundfile.info(to).frames}")
                    labels.append(f"{name_of(row)}\t{name}")
            with open(os.path.join(folder, f"{part}.tsv"), "w", encoding="utf-8") as file:
                print(f"data/superb/{task}/audio", *sorted(lines), sep="\n", file=file)
        with open(os.path.join(folder, "labels.tsv"), "w", encoding="utf-8") as file:
            print(*sorted(labels), sep="\n", file=file)


if __name__ == "__main__":
    main(*sys.argv[1:])
