"""The linter's rules against code that runs what it reads, and against raw HTML: they are on, and they bite."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.notebook_files import ROOT

BAD = {
    "pickle": "import pickle\n",
    "loads": "from pickle import loads\n",
    "joblib": "from joblib import load\n",
    "dill": "import dill\n",
    "marshal": "import marshal\n",
    "shelve": "import shelve\n",
    "cloudpickle": "import cloudpickle\n",
    "numpy.load": "import numpy as np\n\nnp.load('a.npy')\n",
    "eval": "eval(input())\n",
    "exec": "exec(input())\n",
    "shell": "import subprocess\n\nsubprocess.run('ls ' + input(), shell=True)\n",
    "os.system": "import os\n\nos.system(input())\n",
    "tar": "import tarfile\n\ntarfile.open('a.tar').extractall('x')\n",
    "yaml": "import yaml\n\nyaml.load(input())\n",
    "torch.load": "import torch\n\ntorch.load(input(), weights_only=False)\n",
    "from torch": "from torch import load\n\nload(input())\n",
    "torch.jit.load": "import torch\n\ntorch.jit.load(input())\n",
    "torch.hub.load": "import torch\n\ntorch.hub.load(input(), 'x')\n",
    "weights from anywhere": "from torch.hub import load_state_dict_from_url as get\n\nget(input())\n",
    "pandas": "import pandas\n\npandas.read_pickle(input())\n",
    "any archive": "import shutil\n\nshutil.unpack_archive(input())\n",
    "native decoder": "import torchvision.io\n",
    "jinja": "import jinja2\n\njinja2.Environment()\n",
    "Markup": "from markupsafe import Markup\n\nMarkup(input())\n",
    "our own Markup": "from data_setup.base.html import Html\n\nHtml(input())\n",
    "IPython's HTML": "from IPython.display import HTML\n\nHTML(input())\n",
    "display_html": "from IPython.display import display_html\n\ndisplay_html(input(), raw=True)\n",
    "Javascript": "from IPython.display import Javascript\n\nJavascript(input())\n",
    "HTML widget": "import ipywidgets as widgets\n\nwidgets.HTML(input())\n",
    "HTMLMath": "from ipywidgets import HTMLMath\n",
}
GOOD = "import json\n\nprint(json.loads(input()))\n"


def lint(folder, sources):
    """What ruff says of these sources, as if they were files of the kit: name -> the rules that complain."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, source in sources.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "json", "."]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    said = [(Path(one["filename"]).relative_to(folder.resolve()), one["code"]) for one in json.loads(done.stdout)]
    return {name: [code for file, code in said if file == Path(name)] for name in sources}


@pytest.mark.parametrize("folder", ["helpers/data", "data_setup", "tools"])
def test_all_that_may_run_what_it_reads_is_complained_about(folder, tmp_path):
    """Catches a rule that was dropped, and a folder that is left out."""
    said = lint(tmp_path, {f"{folder}/{kind}.py": source for kind, source in BAD.items()})
    assert [name for name, codes in said.items() if not any(re.match(r"S\d|TID", code) for code in codes)] == []


def test_what_is_safe_passes(tmp_path):
    """Catches rules that nobody can keep."""
    assert lint(tmp_path, {"helpers/data/new.py": GOOD}) == {"helpers/data/new.py": []}
