from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose as compose_config
from hydra import initialize_config_dir

from opsnet.utils.configuration import ConfigurationError, _files, _find, config_dir, option, options
from opsnet.utils.errors import InputError


def _make(tmp_path: Path, *folders: str, checkout: bool = True) -> Path:
    """A package folder below ``tmp_path`` with ``folders`` beside or inside it."""
    package = tmp_path / "opsnet"
    package.mkdir()
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    if checkout:
        (tmp_path / "pyproject.toml").touch()
    return package


def test_config_dir_is_an_absolute_folder() -> None:
    assert config_dir().is_absolute()
    assert config_dir().is_dir()


def test_checkout_comes_first(tmp_path: Path) -> None:
    assert _find(_make(tmp_path, "conf", "opsnet/conf")) == tmp_path / "conf"


def test_installed_package_answers_its_own_folder(tmp_path: Path) -> None:
    assert _find(_make(tmp_path, "opsnet/conf", checkout=False)) == tmp_path / "opsnet" / "conf"


def test_foreign_conf_beside_an_installed_package_is_passed_over(tmp_path: Path) -> None:
    assert _find(_make(tmp_path, "conf", "opsnet/conf", checkout=False)) == tmp_path / "opsnet" / "conf"


def test_file_named_conf_does_not_count(tmp_path: Path) -> None:
    package = _make(tmp_path, "opsnet/conf")
    (tmp_path / "conf").touch()
    assert _find(package) == package / "conf"


def test_missing_everywhere_names_both_places_and_the_fix(tmp_path: Path) -> None:
    package = _make(tmp_path)
    with pytest.raises(ConfigurationError) as error:
        _find(package)
    message = str(error.value)
    assert str(tmp_path / "conf") in message
    assert str(package / "conf") in message
    assert "pip install" in message


def test_options_of_a_commands_own_folder_are_found_and_the_packages_come_first(tmp_path, monkeypatch) -> None:
    from hydra.core.hydra_config import HydraConfig

    assert "mine" not in options("modulation")
    (tmp_path / "modulation").mkdir()
    for name in ("mine", "full"):
        (tmp_path / "modulation" / f"{name}.yaml").write_text("_target_: mine.Recognizer\n")
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose_config("train", [f"hydra.searchpath=['file://{tmp_path}']"], return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # taken back after the test
    HydraConfig.instance().set_config(cfg)
    assert "mine" in options("modulation")
    assert option("modulation", "mine") == {"_target_": "mine.Recognizer"}
    assert option("modulation", "full")["alpha"] == 10
    with pytest.raises(KeyError):
        option("modulation", "../modulation/mine")
    (tmp_path / "modulation" / "merged.yaml").write_text("defaults: [full]\n")
    _files.cache_clear()
    with pytest.raises(InputError, match=r"modulation/merged\.yaml has a defaults list"):
        option("modulation", "merged")


def test_what_a_yaml_of_the_package_says_itself_is_read_without_its_defaults() -> None:
    assert option("world", "scenes")["filters"]["cls"] == {"threshold": 0.4}  # of checkpoints that do not say it


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, opsnet.utils.configuration; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_folder_of_the_package_travels_in_the_wheel() -> None:
    root = Path(__file__).resolve().parents[2]
    section = re.search(r"^packages = \[(.*?)\]", (root / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    assert section is not None
    listed = set(re.findall(r'"([\w.]+)"', section[1])) - {"opsnet.conf"}
    folders = {".".join(path.parent.relative_to(root).parts) for path in (root / "opsnet").rglob("*.py")}
    assert not folders - listed, f"add {sorted(folders - listed)} to [tool.setuptools] packages in pyproject.toml"
    assert not listed - folders, f"remove {sorted(listed - folders)} from [tool.setuptools] packages in pyproject.toml"
