"""The files around the code: lock file, settings list, container files, Makefile."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rewriter.settings import Settings, as_markdown

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    text = (ROOT / "requirements.lock").read_text()
    return {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)
    }


UNLOCKED = {"learn"}  # torch from the index brings gigabytes for graphics cards; training alone needs it


def test_the_lock_has_hashes_and_no_addresses() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "index-url" not in text
    assert text.count("--hash=sha256:") > len(pins())


def test_the_lock_is_in_step_with_the_project() -> None:
    pinned = pins()
    wanted = [
        *PROJECT["dependencies"],
        *(entry for name, extra in PROJECT["optional-dependencies"].items() if name not in UNLOCKED for entry in extra),
    ]
    for line in wanted:
        requirement = Requirement(line)
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not locked"
        assert requirement.specifier.contains(version), f"{requirement} does not allow the locked {version}"


def test_the_extras_are_those_promised() -> None:
    assert set(PROJECT["optional-dependencies"]) == {"postgres", "tpc", "console", "cluster", "dev", "learn"}


def test_the_settings_document_is_in_step() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == as_markdown()


def test_compose_names_only_what_exists() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = compose["services"]
    assert set(services) == {"postgres", "rewriter"}
    known = {f"REWRITER_{name.upper()}" for name in Settings.model_fields}
    assert set(services["rewriter"]["environment"]) <= known
    assert services["postgres"]["image"] == "postgres:18"
    assert services["rewriter"]["build"] == "."
    dockerfile = (ROOT / "Dockerfile").read_text()
    (exposed,) = re.findall(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE)
    assert services["rewriter"]["ports"] == [f"127.0.0.1:{exposed}:{exposed}"]
    assert f'"{exposed}"' in dockerfile
    assert '"rewriter", "serve"' in dockerfile
    for line in re.findall(r"^COPY (.+)$", dockerfile, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    volumes = {mount.partition(":")[0] for mount in services["postgres"]["volumes"]}
    assert volumes == set(compose["volumes"])


def test_every_make_target_is_documented() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "check", "bench", "serve", "help"):
        assert re.search(rf"^{target}:.*## \w", makefile, re.MULTILINE), target


def test_nothing_of_a_machine_is_written_down() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"]:
        assert "/work/" not in path.read_text(), path
