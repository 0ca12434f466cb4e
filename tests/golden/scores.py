"""Writes scores.json: edits and error rates of random texts by jiwer, equal error rates of random trials by
scikit-learn's roc_curve and scipy's brentq, as s3prl computes them."""
import json
from pathlib import Path

import jiwer
import numpy as np
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

random = np.random.default_rng(1)
WORDS = ["a", "an", "the", "then", "cat", "cart", "sat", "on", "mat"]


def text(most):
    return " ".join(random.choice(WORDS, random.integers(1, most)))


def changed(words):
    """Drops, doubles and replaces some words."""
    out = []
    for word in words.split():
        out += [[word], [], [word, word], [str(random.choice(WORDS))]][random.choice(4, p=[0.6, 0.15, 0.1, 0.15])]
    return " ".join(out)


def equal_error_rate(labels, scores):
    false, true, _ = roc_curve(labels, scores)
    return brentq(lambda x: 1 - x - interp1d(false, true)(x), 0, 1)


texts = []
for _ in range(12):
    reference = text(9)
    hypothesis = changed(reference) or "mat"
    words = jiwer.process_words(reference, hypothesis)
    texts.append([reference, hypothesis, words.substitutions + words.deletions + words.insertions])
sides = [[pair[side] for pair in texts] for side in (0, 1)]

trials = []
for targets, others, digits in [(7, 9, 3), (20, 5, 1), (13, 40, 1), (1, 3, 3), (15, 15, 0)]:
    labels = [1] * targets + [0] * others
    scores = np.concatenate([random.normal(0.6, 0.5, targets), random.normal(0, 0.5, others)]).round(digits)
    trials.append({"labels": labels, "scores": scores.tolist(), "eer": equal_error_rate(labels, scores)})

result = {"texts": texts, "wer": jiwer.wer(*sides), "cer": jiwer.cer(*sides), "trials": trials}
Path(__file__).with_name("scores.json").write_text(json.dumps(result) + "\n")
