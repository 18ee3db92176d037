"""The page of deploy/ has three lines per platform, and they are right."""

from __future__ import annotations

import re
import shlex

import pytest
from deploy_tools import DEPLOY, PROJECT, ROOT, command_complaints, run
from shell_checks import shellcheck

README = (DEPLOY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PLATFORMS = {
    "conda": 1,
    "Docker Compose": 1,
    "Kubernetes": 2,
    "Slurm": 2,
    "Dask Gateway": 1,
    "Coiled": 1,
}


def complaints_about(line):
    """Look at the files that a line names, and at the command of ours in it."""
    words = shlex.split(line)
    complaints = [
        f"no such file: {word}"
        for word in words
        if word.startswith("deploy/") and not (ROOT / word).is_file()
    ]
    if "lazycog" in words and "convert" in words:
        complaints += command_complaints(words[words.index("lazycog") :])
    if words[0] == "sbatch":
        complaints += command_complaints(["lazycog", "convert", *words[2:]])
    return complaints


def test_every_platform_has_three_lines():
    """No more, and no fewer."""
    sections = re.split(r"^## ", README, flags=re.MULTILINE)[1:-1]
    counts = {each.splitlines()[0]: each.count("```bash") for each in sections}

    assert counts == PLATFORMS
    assert [len(block.splitlines()) for block in BLOCKS] == [3] * len(BLOCKS)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_lines_are_right(block, tmp_path):
    """Bash takes them, files exist, and options are those of the command line."""
    script = "#!/usr/bin/env bash\n" + block

    assert shellcheck(script, tmp_path) == []
    assert [
        each for line in block.splitlines() for each in complaints_about(line)
    ] == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("lazycog convert scene.zarr scene.tif --worker 4", "No such option"),
        ("lazycog convert scene.zarr", "Missing argument"),
        ("sbatch deploy/slurm/run.sbatch a.zarr b.tif --codec zstd", "No such option"),
        ("conda env create --file deploy/environment.yaml", "no such file"),
    ],
)
def test_planted_mistake_is_caught(line, complaint):
    """One per kind."""
    assert any(complaint in each for each in complaints_about(line))


def test_a_line_that_bash_does_not_take_is_caught(tmp_path):
    """An open quote."""
    (tmp_path / "script").write_text(BLOCKS[1].replace('"', "", 1), encoding="utf-8")

    assert "unexpected EOF" in run(["bash", "-n", tmp_path / "script"])[0]


def test_links_lead_somewhere():
    """To every file, except the one that belongs to another."""
    links = re.findall(r"\]\(([\w./]+)\)", README)
    files = {
        str(path.relative_to(DEPLOY))
        for path in DEPLOY.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert set(links) == files - {"README.md", "Dockerfile.dockerignore"}


def test_image_has_the_version_of_the_package():
    """Where an image is named, it is this version's."""
    named = {
        found
        for path in DEPLOY.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        for found in re.findall(r"lazycog:(\d[\w.]*)", path.read_text(encoding="utf-8"))
    }

    assert named == {PROJECT["version"]}


def test_workflow_tests_every_python_of_the_package():
    """The classifiers and the matrix are one list."""
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    prefix = "Programming Language :: Python :: 3."
    named = [each[-4:] for each in PROJECT["classifiers"] if each.startswith(prefix)]

    assert f"python: {named}".replace("'", '"') in workflow
    assert PROJECT["requires-python"] == f">={named[0]}"
