"""Write the golden file of decoupled distillation of logits.

    python tests/golden/decoupled.py MDISTILLER

MDISTILLER is a checkout of https://github.com/megvii-research/mdistiller. Its own functions compute everything, in float64, with
torch and safetensors; README.md lists the keys.
"""

import importlib
import sys
import types
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
DISTILLERS = Path(sys.argv[1], "mdistiller/distillers")
torch.set_default_dtype(torch.float64)
torch.manual_seed(27)

# The package without its __init__, which imports what its own training needs.
for name in ("mdistiller", "mdistiller.distillers"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(DISTILLERS)]
dkd_loss = importlib.import_module("mdistiller.distillers.DKD").dkd_loss
kd_loss = importlib.import_module("mdistiller.distillers.KD").kd_loss

FRAMES, CLASSES = 7, 9
student = torch.randn(FRAMES, CLASSES, dtype=torch.float32).double().requires_grad_()
teacher = (3 * torch.randn(FRAMES, CLASSES, dtype=torch.float32)).double()
# The largest logit but for two frames, as labels of another source may be.
target = teacher.argmax(1)
target[2] = (target[2] + 1) % CLASSES
target[5] = (target[5] + 4) % CLASSES
out = {"student": student, "teacher": teacher, "target": target}
for temperature in (1, 2, 4):
    decoupled = lambda alpha, beta: dkd_loss(student, teacher, target, alpha, beta, temperature)  # noqa: E731
    for name, loss in {
        "kl": kd_loss(student, teacher, temperature),
        "target-class": decoupled(1, 0),
        "other-classes": decoupled(0, 1),
        "decoupled": decoupled(0.5, 4),
    }.items():
        student.grad = None
        loss.backward()
        out |= {f"{temperature}/{name}": loss, f"{temperature}/{name}/grad": student.grad}
save_file({k: torch.as_tensor(v).detach().float().contiguous().clone() for k, v in out.items()}, HERE / "decoupled.safetensors")
