"""Write masks.json: what fairseq's compute_mask_indices draws, in numbers.

    git clone https://github.com/facebookresearch/fairseq
    python tests/golden/masks.py fairseq        # needs numpy; under a minute

The function is taken out of the checkout and run, not copied; nothing else of fairseq is imported. For each setting:
how many frames are masked and in how many runs (mean, standard deviation), and the share of draws that mask each frame.
"""

import ast
import json
import sys
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np

DRAWS = 20000
SETTINGS = [  # frames, options of the node
    (249, dict()),
    (249, dict(probability=0.4)),
    (60, dict(lengths="static", min_space=3)),
    (249, dict(probability=0.65, lengths="static", overlap=True)),
    (100, dict(probability=0.3, length=4, overlap=True, min_masks=0)),
    (9, dict(length=3)),
]


def sampler(checkout):
    tree = ast.parse((Path(checkout) / "fairseq/data/data_utils.py").read_text())
    function = next(node for node in tree.body if getattr(node, "name", "") == "compute_mask_indices")
    np.int = int  # numpy has dropped the name
    np.random.default_rng = lambda seed: np.random  # whose Generator has no `randint`, which the function calls
    scope = {"np": np, "torch": __import__("types").SimpleNamespace(Tensor=None), "List": List, "Optional": Optional,
             "Tuple": Tuple}
    exec(compile(ast.Module([function], []), "data_utils.py", "exec"), scope)
    return scope["compute_mask_indices"]


def main():
    draw, found = sampler(sys.argv[1]), []
    np.random.seed(0)
    for frames, options in SETTINGS:
        known = dict(probability=0.8, length=10, lengths="uniform", overlap=False, min_space=1, min_masks=2) | options
        masks = np.concatenate([draw(
            (1, frames), None, known["probability"], known["length"], known["lengths"], min_masks=known["min_masks"],
            no_overlap=not known["overlap"], min_space=known["min_space"]) for _ in range(DRAWS)])
        masked, runs = masks.sum(1), (np.diff(masks.astype(int), axis=1, prepend=0) == 1).sum(1)
        found.append({"frames": frames, "options": known, "masked": [masked.mean(), masked.std()],
                      "runs": [runs.mean(), runs.std()], "by_frame": masks.mean(0).round(4).tolist()})
        print(frames, options, masked.mean() / frames, runs.mean())
    text = json.dumps({"draws": DRAWS, "settings": found})
    (Path(__file__).parent / "masks.json").write_text(text + "\n")


main()
