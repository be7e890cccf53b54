"""One file per contender. `load("plain", work)` imports only that one."""

from importlib import import_module

# name in the table -> (module, class)
CONTENDERS = {
    "ours": ("ours", "Ours"),
    "ours, graphs": ("ours", "OursGraphs"),
    "ours, float32": ("ours", "OursFloat32"),
    "ours, bfloat16": ("ours", "OursBfloat16"),
    "fastai default": ("fastai_learner", "FastaiDefault"),
    "fastai tuned": ("fastai_learner", "FastaiTuned"),
    "plain": ("plain", "Plain"),
    "plain, float32": ("plain", "Plain"),
    "timm": ("timm_loop", "Timm"),
    "timm compiled": ("timm_loop", "TimmCompiled"),
    "lightning": ("lightning_module", "Lightning"),
}
PEERS = tuple(name for name in CONTENDERS if not name.startswith("ours"))
TUNED = tuple(name for name in PEERS if name != "fastai default")


def load(name: str, work):
    module, kind = CONTENDERS[name]
    return getattr(import_module(f"tests.benchmarks.contenders.{module}"), kind)(work)
