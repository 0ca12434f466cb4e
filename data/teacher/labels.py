"""Labels of frames from a Whisper encoder: clusters of its third layer, as fairseq's .km.

    python labels.py openai/whisper-tiny.en MANIFEST labels.km CENTROIDS.npy [CLUSTERS]

MANIFEST is fairseq's (a root, then path<TAB>samples, 16 kHz). Label i of an utterance belongs to samples 320 i to
320 i + 400, HuBERT's frame; it is the cluster of the encoder's frame nearest to its centre, each frame brought to zero
mean and unit variance over its channels. CENTROIDS.npy is read if it is there, else fitted on MANIFEST (k-means, 100
clusters) and written. Needs torch, transformers, scikit-learn, soundfile.
"""

import os
import sys

import numpy as np
import soundfile
import torch
from sklearn.cluster import MiniBatchKMeans
from transformers import WhisperFeatureExtractor, WhisperModel

LAYER = 3
SECONDS = 30  # what the encoder sees at once


def features(encoder, extractor, audio):
    """(frames, channels), a row for each of HuBERT's frames."""
    rows = []
    for start in range(0, len(audio), SECONDS * 16000):
        part = audio[start : start + SECONDS * 16000]
        mel = extractor(part, sampling_rate=16000, return_tensors="pt").input_features
        with torch.no_grad():
            states = encoder(mel, output_hidden_states=True).hidden_states[LAYER][0]
        rows.append(states[: -(-len(part) // 320)])
    x = torch.cat(rows)
    x = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True, unbiased=False)
    frames = max(0, (len(audio) - 400) // 320 + 1)
    # Frame j of the encoder has its centre at sample 320 j, HuBERT's frame i at 320 i + 200: nearest is j = i + 1.
    return x[[min(i + 1, len(x) - 1) for i in range(frames)]].numpy()


def main(model, manifest, out, centroids, clusters=100):
    encoder = WhisperModel.from_pretrained(model).encoder.eval()
    extractor = WhisperFeatureExtractor.from_pretrained(model)
    root, *lines = open(manifest, encoding="utf-8").read().splitlines()
    paths = [os.path.join(root, line.split("\t")[0]) for line in lines]
    rows = [features(encoder, extractor, soundfile.read(path, dtype="float32")[0]) for path in paths]
    if not os.path.exists(centroids):
        fit = MiniBatchKMeans(int(clusters), batch_size=10000, n_init=5, random_state=0).fit(np.concatenate(rows))
        np.save(centroids, fit.cluster_centers_.astype(np.float32))
    centres = np.load(centroids).astype(np.float32)
    with open(out, "w", encoding="utf-8") as file:
        for x in rows:
            distance = (centres**2).sum(1) - 2 * x @ centres.T
            print(*distance.argmin(1), file=file)


if __name__ == "__main__":
    main(*sys.argv[1:])
