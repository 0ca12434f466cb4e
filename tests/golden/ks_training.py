"""Writes ks_training.safetensors: random features, and what s3prl's own downstream model for keyword spotting learns of them.

    python tests/golden/ks_training.py S3PRL

S3PRL is a checkout of https://github.com/s3prl/s3prl at ec8064b5889f81ca460fbe2c094ce576a6f120b7. Needs torch, safetensors.
200 updates as in s3prl/downstream/speech_commands/config.yaml, but at a rate of 1e-3 (Adam, clip 1, batches of 32, 256 projected
channels, mean pooling), on two layers of which one is noise, from several seeds of the weights; the order of rows is the
same for all.
"""
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

CLASSES, WIDTH, LAYERS, ROWS, DEV_ROWS, SEEDS, UPDATES, BATCH = 6, 8, 2, 96, 120, 8, 200, 32


def features(random):
    """Rows of 2 to 5 frames, around a direction for each class, in noise."""
    directions = 0.9 * torch.randn(CLASSES, WIDTH, generator=random)
    xs, labels = [], []
    for row in range(ROWS + DEV_ROWS):
        label = row % CLASSES
        frames = int(torch.randint(2, 6, (1,), generator=random))
        signal = directions[label] + 1.5 * torch.randn(frames, WIDTH, generator=random)
        noise = torch.randn(frames, WIDTH, generator=random)
        xs.append(torch.stack([noise, signal]).half().float())
        labels.append(label)
    return xs, torch.tensor(labels)


def main(s3prl):
    sys.path.insert(0, s3prl)
    from s3prl.downstream.model import UtteranceLevel

    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(5)
    xs, labels = features(random)
    order = torch.stack([torch.randperm(ROWS, generator=random)[:BATCH] for _ in range(UPDATES)])
    lengths = torch.tensor([x.shape[1] for x in xs])

    def padded(rows):
        return torch.nn.utils.rnn.pad_sequence([xs[row].transpose(0, 1) for row in rows], batch_first=True)

    accuracies, losses = [], []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        weights = torch.nn.Parameter(torch.zeros(LAYERS))
        projector = torch.nn.Linear(WIDTH, 256)
        model = UtteranceLevel(input_dim=256, output_dim=CLASSES, pooling="MeanPooling")
        parameters = [weights, *projector.parameters(), *model.parameters()]
        adam = torch.optim.Adam(parameters, lr=1e-3)

        def logits(rows):
            x = (torch.softmax(weights, 0)[:, None] * padded(rows)).sum(2)
            return model(projector(x), lengths[rows])[0]

        for rows in order:
            loss = torch.nn.functional.cross_entropy(logits(rows), labels[rows])
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1)
            adam.step()
        dev = torch.arange(ROWS, ROWS + DEV_ROWS)
        with torch.no_grad():
            found = logits(dev)
        accuracies.append((found.argmax(-1) == labels[dev]).float().mean())
        losses.append(torch.nn.functional.cross_entropy(found, labels[dev]))
    print(torch.stack(accuracies), torch.stack(losses))
    tensors = {
        "features": torch.cat([x.transpose(0, 1) for x in xs]),  # (frames, layers, width)
        "lengths": lengths.float(),
        "labels": labels.float(),
        "order": order.float(),
        "accuracy": torch.stack(accuracies),
        "loss": torch.stack(losses),
    }
    save_file({k: v.contiguous() for k, v in tensors.items()}, Path(__file__).parent / "ks_training.safetensors")


main(sys.argv[1])
