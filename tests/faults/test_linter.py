"""The linter's rules against code that runs what it reads, and against raw HTML: they are on, and they bite."""

import subprocess
import sys

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
    "native decoder": "import torchvision.io\n",
    "jinja": "import jinja2\n\njinja2.Environment()\n",
    "Markup": "from markupsafe import Markup\n\nMarkup(input())\n",
    "our own Markup": "from data_setup.base.html import Html\n\nHtml(input())\n",
    "IPython's HTML": "from IPython.display import HTML\n",
    "HTMLMath": "from ipywidgets import HTMLMath\n",
}
GOOD = "import json\n\nprint(json.loads(input()))\n"


def lint(source, where):
    """What ruff says of `source`, as if it stood in this file of the kit."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "concise", "--stdin-filename", where, "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("folder", ["helpers/data", "data_setup", "tools"])
def test_all_that_may_run_what_it_reads_is_complained_about(folder):
    """Catches a rule that was dropped, and a folder that is left out."""
    passed = [kind for kind, source in BAD.items() if lint(source, f"{folder}/new.py").returncode == 0]
    assert passed == []


def test_what_is_safe_passes():
    """Catches rules that nobody can keep."""
    assert lint(GOOD, "helpers/data/new.py").returncode == 0
