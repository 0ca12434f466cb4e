"""What the tests share: the folder that they run in, and a short run.

The working directory is one that `pipeline new --sample` wrote, with a run of twenty updates.
"""

import importlib.util
import shutil
import tempfile
import unittest
from pathlib import Path

FIRST = Path("runs/first")
GRAPH = "graphs/dphubert.json"
SHORT: dict[str, object] = {
    "step.steps": 3,
    "step.schedule.warmup_steps": 1,
    "speech.dev": None,
    "gates.warmup_steps": 1,
}

needs_torch = unittest.skipUnless(importlib.util.find_spec("torch"), "needs torch")


class InFolder(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ssl-compression-"))
        self.addCleanup(shutil.rmtree, self.folder)
