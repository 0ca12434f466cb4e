"""What version 0.1.0 wrote (tests/data/earlier): its cache, its run and its model."""

import json
import unittest
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from support import needs_torch

import ssl_compression as sc

EARLIER = Path(__file__).parents[1] / "data/earlier"


class Earlier(unittest.TestCase):
    def test_its_cache(self) -> None:
        cache = sc.Cache(EARLIER / "cache")
        self.assertEqual(cache.layers(), [0, 2])
        for layer in cache.layers():
            (part,) = (EARLIER / f"cache/32ffeb92bc3a5b10/layer-{layer:02}").glob("*.parquet")
            rows = pq.ParquetFile(part).read().to_pylist()
            self.assertEqual(len(rows), 3)
            for row in rows:
                stored = np.asarray(row["hidden"], np.float32).reshape(row["frames"], row["width"])
                np.testing.assert_array_equal(cache.hidden(row["id"], layer), stored)

    def test_its_run(self) -> None:
        run = sc.Run(EARLIER / "run")
        lines = (EARLIER / "run/metrics.jsonl").read_text().splitlines()
        stored = [json.loads(line)["value"] for line in lines]
        self.assertEqual(run.metrics.column("value").to_pylist(), stored)
        self.assertEqual(run.phases, ["prune", "distill"])
        self.assertEqual(run.graph["name"], "earlier")
        self.assertEqual(set(run.models), {"prune/student"})

    @needs_torch
    def test_its_pruned_model(self) -> None:
        import torch

        model = sc.load_model(sc.Run(EARLIER / "run").models["prune/student"])
        states = model(torch.zeros(1, 16000)).hidden_states
        self.assertEqual([tuple(state.shape) for state in states], [(1, 49, 24)] * len(states))
        self.assertTrue(all(state.isfinite().all() for state in states))
