"""One module of a library comes alone, and nobody else notices."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.vision.lone_import import import_alone

CHECK = """
import sys
from shared.vision.drift import DriftDetector
import numpy as np
def check():
    finders = list(sys.meta_path)
    rows = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    rows[:, -1] = np.arange(80) % 4
    none = np.zeros(1, np.float32), np.zeros((1, 1), np.float32)
    assert DriftDetector(*none, rows, 20, 0.05).check(rows[::3]).p_value > 0.05
    assert sys.meta_path == finders
    return {name.partition(".")[0] for name in sys.modules}
def use():
    import sklearn.base, torch
    from sklearn.model_selection import StratifiedKFold
    assert StratifiedKFold(3).get_n_splits() == 3
    assert issubclass(sklearn.base.BaseEstimator, object) and sklearn.__version__
    assert torch.ones(2).sum() == 2
    return torch, sklearn.base
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Return the folder of a library whose packages break whoever imports them."""
    folder = tmp_path / "lumber"
    (folder / "saw").mkdir(parents=True)
    for package in (folder, folder / "saw"):
        (package / "__init__.py").write_text("raise RuntimeError('a package was run')")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def run(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", CHECK + code], check=True, timeout=120)


def test_a_check_imports_neither_torch_nor_scikit_learn_and_hides_neither():
    run(
        "there = check()\n"
        "assert not there & {'alibi_detect', 'torch', 'sklearn', 'pandas', 'numba'}, there\n"
        "use()\n"
        "check()\n"
        "assert use()[0].nn.Linear(1, 1).bias.requires_grad"
    )


def test_torch_and_scikit_learn_that_were_there_before_stay_the_same():
    run(
        "before = use()\n"
        "assert 'alibi_detect' not in check()\n"
        "assert use() == before\n"
        "assert before == (sys.modules['torch'], sys.modules['sklearn.base'])"
    )


def test_modules_of_the_library_see_each_other_and_what_they_are_shown(library):
    (library / "saw/blade.py").write_text(
        "import json\n"
        "import lumber.saw.teeth\n"
        "from . import teeth\n"
        "from ..wood import oak\n"
        "from forest.tools import Axe\n"
        "import lumber.saw.teeth as same\n"
        "SAME = lumber.saw.teeth is same is teeth and json.loads('true')\n"
    )
    (library / "saw/teeth.py").touch()
    (library / "wood.py").write_text("import yaml\noak = yaml.safe_load('7')")
    before = dict(sys.modules)
    blade = import_alone(
        "lumber.saw.blade", frozenset({"yaml"}), {"forest.tools": {"Axe": "an axe"}}
    )
    assert (blade.SAME, blade.oak, blade.Axe) == (True, 7, "an axe")
    assert {name for name in sys.modules.keys() - before.keys() if "lumber" in name} == set()


@pytest.mark.parametrize(
    "line", ["import yaml", "from yaml import safe_load", "import yaml.nodes", "import lumber.axe"]
)
def test_what_is_not_shown_is_not_there_though_it_is(library, line):
    (library / "log.py").write_text(line)
    with pytest.raises(ModuleNotFoundError, match=line.split()[1].partition(".")[2] or "yaml"):
        import_alone("lumber.log", frozenset(), {})


def test_others_import_meanwhile_what_is_hidden_and_see_nothing_of_it(library):
    (library / "log.py").write_text("from friends import seen\nSEEN = seen()\nimport yaml")

    def seen() -> bool:
        import yaml

        return bool(yaml) and not any("lumber" in name for name in sys.modules)

    log = import_alone("lumber.log", frozenset({"yaml"}), {"friends": {"seen": seen}})
    assert log.SEEN
    with pytest.raises(ModuleNotFoundError, match="not shown 'yaml'"):
        import_alone("lumber.log", frozenset(), {"friends": {"seen": seen}})
