"""Writes pr_training.safetensors: random features, and what s3prl's own downstream model for phoneme recognition learns of them.

    python tests/golden/pr_training.py S3PRL

S3PRL is a checkout of https://github.com/s3prl/s3prl at ec8064b5889f81ca460fbe2c094ce576a6f120b7. Needs torch, PyYAML, safetensors.
200 updates of s3prl/downstream/ctc/libriphone.yaml (Adam 1e-2, clip 1, two batches of 16 an update), on two layers of which one is
noise, from several seeds of the weights; the order of rows is the same for all.
"""
import collections
import sys
import types
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

CLASSES, WIDTH, LAYERS, ROWS, DEV_ROWS, SEEDS, UPDATES, BATCH = 8, 8, 2, 64, 24, 8, 200, 16


def edits(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        last, row[0] = row[0], i + 1
        for j, y in enumerate(b):
            last, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, last + (x != y))
    return row[-1]


def s3prl_expert(folder):
    """The downstream model without what it imports and does not need here."""
    sys.modules["editdistance"] = types.SimpleNamespace(eval=edits)
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    sys.path.insert(0, str(folder))
    from s3prl.downstream.ctc.expert import DownstreamExpert

    return DownstreamExpert


def features(random):
    """Rows of phones of 2 to 4 frames, a direction for each phone, in noise; and the phones, 1 to CLASSES."""
    directions = 1.4 * torch.randn(CLASSES, WIDTH, generator=random)
    xs, labels = [], []
    for _ in range(ROWS + DEV_ROWS):
        phones = torch.randint(CLASSES, (int(torch.randint(4, 9, (1,), generator=random)),), generator=random)
        frames = phones.repeat_interleave(torch.randint(2, 5, (len(phones),), generator=random))
        signal = directions[frames] + torch.randn(len(frames), WIDTH, generator=random)
        noise = torch.randn(len(frames), WIDTH, generator=random)
        xs.append(torch.stack([noise, signal]).half().float())
        labels.append(phones + 1)
    return xs, labels


def main(folder):
    torch.set_num_threads(1)
    expert = s3prl_expert(folder)
    vocabulary = Path(__file__).with_name("pr_vocabulary.tmp")
    vocabulary.write_text("".join(f"P{i}\n" for i in range(CLASSES)))
    config = yaml.safe_load((Path(folder) / "s3prl/downstream/ctc/libriphone.yaml").read_text())
    settings = config["downstream_expert"]
    settings["text"]["vocab_file"] = str(vocabulary)
    random = torch.Generator().manual_seed(3)
    xs, labels = features(random)
    order = torch.stack([torch.randperm(ROWS, generator=random)[:BATCH] for _ in range(2 * UPDATES)])
    rates = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model = expert(WIDTH, 320, settings, "")
        weights = torch.nn.Parameter(torch.zeros(LAYERS))
        parameters = [weights, *model.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=config["optimizer"]["lr"])

        def run(rows, records):
            mixed = [(torch.softmax(weights, 0)[:, None, None] * xs[row]).sum(0) for row in rows]
            # Ours are phone + 1; s3prl has <pad>, <eos> and <unk> before the first phone, and ends rows with <eos>.
            targets = [[*(int(phone) + 2 for phone in labels[row]), 1] for row in rows]
            return model("train", mixed, targets, [""] * len(rows), records)

        for update in range(UPDATES):
            for batch in order[2 * update : 2 * update + 2]:
                (run(batch.tolist(), collections.defaultdict(list)) / 2).backward()
            torch.nn.utils.clip_grad_norm_(parameters, config["runner"]["gradient_clipping"])
            optimizer.step()
            optimizer.zero_grad()
        records = collections.defaultdict(list)
        with torch.no_grad():
            for row in range(ROWS, ROWS + DEV_ROWS):
                run([row], records)
        pairs = list(zip(records["hypothesis"], records["groundtruth"]))
        errors = sum(edits(hypothesis.split(), truth.split()) for hypothesis, truth in pairs)
        rates.append(errors / sum(len(truth.split()) for _, truth in pairs))
        print(seed, rates[-1], torch.softmax(weights, 0).tolist())
    vocabulary.unlink()
    lengths = torch.tensor([x.shape[1] for x in xs])
    save_file({
        **{f"layers/{i}": torch.cat([x[i] for x in xs]).half() for i in range(LAYERS)},
        "frames": lengths.float(),
        "labels": torch.cat(labels).float(),
        "label_lengths": torch.tensor([float(len(row)) for row in labels]),
        "order": order.float(),
        "per": torch.tensor(rates),
    }, Path(__file__).with_name("pr_training.safetensors"))


main(sys.argv[1])
