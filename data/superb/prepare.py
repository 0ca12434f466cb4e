"""Lists the public data sets of SUPERB's tasks as people unpack them.

Where the wheel is installed, `python -m ssl_compression.prepare_superb` is this script.

    python prepare.py ks  OUT TRAIN TEST    Speech Commands 1: the folders of speech_commands_v0.01.tar.gz and
                                            of speech_commands_test_set_v0.01.tar.gz
    python prepare.py ic  OUT FOLDER        Fluent Speech Commands: the folder with data/ and wavs/
    python prepare.py sid OUT FOLDER LIST   VoxCeleb1: the folder with dev/wav/ and test/wav/, or with wav/; iden_split.txt
    python prepare.py er  OUT FOLDER        IEMOCAP: the folder with Session1/ to Session5/
    python prepare.py pr  OUT FOLDER LEXICON...   LibriSpeech: the folder with train-clean-100/, dev-clean/ and
                                            test-clean/; s3prl's librispeech-lexicon-200k-g2p.txt and
                                            librispeech-lexicon-allothers-g2p.txt. The task asr needs the same
    python prepare.py asv OUT FOLDER DEV TEST   VoxCeleb1: the folder with dev/wav/ and test/wav/; s3prl's
                                            dev_meta_data.txt and voxceleb1_test_v2.txt

Writes OUT/TASK/{train,dev,test}.tsv (fairseq's form: a root, then path and samples) and OUT/TASK/labels.tsv (path and
label, or the labels of three slots); of er OUT/er/fold1 to fold5, each tested on one session; of asv the trials beside; of pr
OUT/LibriSpeech, a link to the folder, and OUT/lexicon.txt, all lexicons in one. Needs no packages.
The graphs of graphs/superb read OUT = data/superb/full.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import os
import sys
import wave
from collections.abc import Callable, Iterable

WORDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
UNKNOWN, SILENCE = "_unknown_", "_silence_"
EMOTIONS = {"neu": "neutral", "hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad"}
SECOND = 16000

# By the name of a split, rows of a path and labels.
Splits = dict[str, list[tuple[str, ...]]]


def samples(path: str) -> int:
    with wave.open(path, "rb") as file:
        assert file.getframerate() == 16000, f"{path} is not at 16 kHz"
        return file.getnframes()


def write(folder: str, splits: Splits, labelled: Iterable[str] = ("train", "dev", "test")) -> None:
    """splits: name -> list of (path, label, ...). The labels of the splits in labelled are written."""
    os.makedirs(folder, exist_ok=True)
    rows = [row for part in splits.values() for row in part]
    assert all(splits.values()), f"{folder}: nothing found for {[name for name in splits if not splits[name]]}"
    root = os.path.commonpath([os.path.dirname(os.path.abspath(row[0])) for row in rows])
    name = {row[0]: os.path.relpath(os.path.abspath(row[0]), root) for row in rows}
    for split, part in splits.items():
        with open(os.path.join(folder, f"{split}.tsv"), "w", encoding="utf-8") as file:
            print(root, *sorted(f"{name[row[0]]}\t{samples(row[0])}" for row in part), sep="\n", file=file)
        print(f"{folder}/{split}.tsv: {len(part)} utterances")
    with open(os.path.join(folder, "labels.tsv"), "w", encoding="utf-8") as file:
        rows = [row for split in labelled for row in splits[split]]
        print(*sorted({"\t".join([name[row[0]], *row[1:]]) for row in rows}), sep="\n", file=file)


def share(text: str) -> float:
    """Where a name lies between 0 and 1: the same for all names with the same text."""
    return int(hashlib.sha1(text.encode()).hexdigest(), 16) % 2**27 / (2**27 - 1)


def ks(out: str, train: str, test: str) -> None:
    """A word's speaker decides its split, as the data set's authors wrote: a tenth is the dev set, a tenth left out."""
    splits: Splits = {"train": [], "dev": [], "test": []}
    for folder in sorted(glob.glob(os.path.join(train, "*", ""))):
        word = os.path.basename(os.path.dirname(folder))
        if word == "_background_noise_":
            continue
        for path in sorted(glob.glob(os.path.join(folder, "*.wav"))):
            place = share(os.path.basename(path).split("_nohash_")[0])
            label = word if word in WORDS else UNKNOWN
            if place < 0.1:
                splits["dev"].append((path, label))
            elif place >= 0.2:
                splits["train"].append((path, label))
    silence = os.path.join(out, "ks", "silence")
    os.makedirs(silence, exist_ok=True)
    for path in sorted(glob.glob(os.path.join(train, "_background_noise_", "*.wav"))):
        with wave.open(path, "rb") as file:
            for piece in range(file.getnframes() // SECOND):
                to = os.path.join(silence, f"{os.path.basename(path)[:-4]}-{piece:03}.wav")
                with wave.open(to, "wb") as cut:
                    cut.setparams(file.getparams())
                    cut.writeframes(file.readframes(SECOND))
                splits["dev" if piece % 10 == 9 else "train"].append((to, SILENCE))
    for folder in sorted(glob.glob(os.path.join(test, "*", ""))):
        word = os.path.basename(os.path.dirname(folder))
        label = word if word in WORDS or word == SILENCE else UNKNOWN
        splits["test"] += [(path, label) for path in sorted(glob.glob(os.path.join(folder, "*.wav")))]
    write(os.path.join(out, "ks"), splits)


def ic(out: str, folder: str) -> None:
    splits: Splits = {}
    for split, name in [("train", "train"), ("dev", "valid"), ("test", "test")]:
        with open(os.path.join(folder, "data", f"{name}_data.csv"), encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        splits[split] = [
            (os.path.join(folder, row["path"]), row["action"], row["object"], row["location"]) for row in rows
        ]
    write(os.path.join(out, "ic"), splits)


def sid(out: str, folder: str, split_list: str) -> None:
    names = {"1": "train", "2": "dev", "3": "test"}
    splits: Splits = {name: [] for name in names.values()}
    roots = [root for root in ("dev/wav", "test/wav", "wav") if os.path.isdir(os.path.join(folder, root))]
    with open(split_list, encoding="utf-8") as file:
        for number, path in (line.split() for line in file if line.strip()):
            places = [os.path.join(folder, root, path) for root in roots]
            found = next((place for place in places if os.path.exists(place)), None)
            assert found, f"{path} of {split_list} is in none of {roots} below {folder}"
            splits[names[number]].append((found, path.split("/")[0]))
    write(os.path.join(out, "sid"), splits)


def er(out: str, folder: str) -> None:
    sessions: dict[int, list[tuple[str, ...]]] = {}
    for number in range(1, 6):
        session = os.path.join(folder, f"Session{number}")
        rows = sessions[number] = []
        for path in sorted(glob.glob(os.path.join(session, "dialog", "EmoEvaluation", "*.txt"))):
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = [line.split("\t") for line in file if line.startswith("[")]
            for _, name, emotion, *_ in lines:
                if emotion in EMOTIONS:
                    wav = os.path.join(session, "sentences", "wav", name.rsplit("_", 1)[0], f"{name}.wav")
                    rows.append((wav, EMOTIONS[emotion]))
    for fold in sessions:
        others = [row for number, rows in sessions.items() if number != fold for row in rows]
        in_dev = [share(os.path.basename(row[0])) < 0.2 for row in others]
        write(os.path.join(out, "er", f"fold{fold}"), {
            "train": [row for row, dev in zip(others, in_dev) if not dev],
            "dev": [row for row, dev in zip(others, in_dev) if dev],
            "test": sessions[fold],
        })


def pr(out: str, folder: str, *lexicons: str) -> None:
    os.makedirs(out, exist_ok=True)
    link, folder = os.path.join(out, "LibriSpeech"), os.path.realpath(folder)
    if os.path.islink(link):
        os.remove(link)
    os.symlink(folder, link)
    with open(os.path.join(out, "lexicon.txt"), "w", encoding="utf-8") as joined:
        for lexicon in lexicons:
            with open(lexicon, encoding="utf-8") as file:
                joined.write(file.read().rstrip("\n") + "\n")


def asv(out: str, folder: str, dev_trials: str, test_trials: str) -> None:
    def rows(part: str, names: Iterable[str]) -> list[tuple[str, ...]]:
        return [(os.path.join(folder, part, "wav", name), name.split("/")[0]) for name in names]

    root = os.path.join(folder, "dev", "wav")
    found = sorted(glob.glob(os.path.join(root, "*", "*", "*.wav")))
    splits: Splits = {"train": rows("dev", [os.path.relpath(path, root).replace(os.sep, "/") for path in found])}
    os.makedirs(os.path.join(out, "asv"), exist_ok=True)
    for part, trials in [("dev", dev_trials), ("test", test_trials)]:
        with open(trials, encoding="utf-8") as file:
            pairs = [line.split() for line in file if line.strip()]
        splits[part] = rows(part, sorted({name for _, *names in pairs for name in names}))
        with open(os.path.join(out, "asv", f"{part}_trials.txt"), "w", encoding="utf-8") as file:
            print(*(f"{same} {part}/wav/{a} {part}/wav/{b}" for same, a, b in pairs), sep="\n", file=file)
    write(os.path.join(out, "asv"), splits, labelled=("train", "dev"))


TASKS: dict[str, Callable[..., None]] = {"ks": ks, "ic": ic, "sid": sid, "er": er, "pr": pr, "asv": asv}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in TASKS:
        sys.exit(__doc__)
    TASKS[sys.argv[1]](*sys.argv[2:])
