"""Files of deploy/ pass their checks, and every check catches planted mistakes."""

from __future__ import annotations

import re
from typing import NamedTuple

import manifest_checks as manifest
import pytest
import shell_checks as shell
from deploy_tools import DEPLOY, ROOT

CHECKS = {
    "deploy/Dockerfile": [manifest.hadolint, manifest.image],
    "deploy/compose.yaml": [manifest.compose_schema, manifest.compose_services],
    "deploy/kubernetes/serviceaccount.yaml": [manifest.kubernetes_schema],
    "deploy/kubernetes/daskcluster.yaml": [
        manifest.kubernetes_schema,
        manifest.kubernetes_pods,
    ],
    "deploy/kubernetes/daskjob.yaml": [
        manifest.kubernetes_schema,
        manifest.kubernetes_pods,
    ],
    "deploy/slurm/run.sbatch": [
        shell.shellcheck,
        shell.sbatch_directives,
        shell.sbatch_steps,
    ],
    "deploy/slurm/on_slurm.py": [shell.calls, shell.types, shell.job_script],
    "deploy/gateway/on_gateway.py": [shell.calls, shell.types],
    "deploy/gateway/dask_gateway_config.py": [shell.gateway_config],
    "deploy/coiled/on_coiled.py": [shell.calls, shell.types],
    "deploy/environment.yml": [manifest.conda_environment],
    ".github/workflows/ci.yml": [manifest.workflow_schema],
}
ELSEWHERE = {
    "deploy/Dockerfile.dockerignore": manifest.image,  # compares with it
    "deploy/README.md": "tests/deploy/test_deploy_readme.py",
}


class Mistake(NamedTuple):
    """A mistake to plant, and what the check says to it."""

    check: object
    file: str
    right: str
    wrong: str
    complaint: str


CLUSTER = "deploy/kubernetes/daskcluster.yaml"
JOB = "deploy/kubernetes/daskjob.yaml"
SBATCH = "deploy/slurm/run.sbatch"
PLANTED = [
    Mistake(manifest.hadolint, "deploy/Dockerfile", "--no-cache-dir ", "", "DL3042"),
    Mistake(
        manifest.hadolint, "deploy/Dockerfile", ":3.12-slim-bookworm", "", "DL3006"
    ),
    Mistake(manifest.image, "deploy/Dockerfile", " README.md", "", "README.md"),
    Mistake(manifest.image, "deploy/Dockerfile", "zarr,s3", "zarr,s4", "s4"),
    Mistake(manifest.image, "deploy/Dockerfile", "python:3.12", "python:3.10", "3.10"),
    Mistake(
        manifest.image,
        "deploy/Dockerfile",
        '["dask", "scheduler"]',
        '["dask-scheduler"]',
        "no such program",
    ),
    Mistake(
        manifest.image,
        "deploy/Dockerfile",
        "COPY pyproject.toml",
        "COPY .gitignore pyproject.toml",
        "leaves .gitignore out",
    ),
    Mistake(
        manifest.compose_schema, "deploy/compose.yaml", "retries:", "retrys:", "retrys"
    ),
    Mistake(
        manifest.compose_services,
        "deploy/compose.yaml",
        "lazycog:0.1.0",
        "lazycog:0.0.9",
        "worker runs lazycog:0.0.9",
    ),
    Mistake(
        manifest.compose_services,
        "deploy/compose.yaml",
        "--memory-limit",
        "--memory-limits",
        "--memory-limits",
    ),
    Mistake(
        manifest.compose_services,
        "deploy/compose.yaml",
        "127.0.0.1:8786:",
        "8786:",
        "open to strangers",
    ),
    Mistake(
        manifest.compose_services,
        "deploy/compose.yaml",
        "--scheduler=",
        "--schedular=",
        "No such option",
    ),
    Mistake(
        manifest.kubernetes_schema,
        "deploy/kubernetes/serviceaccount.yaml",
        "  annotations:",
        "  annotation:",
        "annotation",
    ),
    Mistake(
        manifest.kubernetes_schema, CLUSTER, "resources:", "resource:", "'resource'"
    ),
    Mistake(
        manifest.kubernetes_schema, CLUSTER, "maximum: 40", "maximum: many", "'many'"
    ),
    Mistake(manifest.kubernetes_schema, JOB, "kind: DaskJob", "kind: DaskJobs", "kind"),
    Mistake(
        manifest.kubernetes_pods,
        CLUSTER,
        "cluster-name: lazycog",
        "cluster-name: other",
        "finds no scheduler",
    ),
    Mistake(
        manifest.kubernetes_pods,
        CLUSTER,
        "$(DASK_WORKER_NAME)",
        "$(WORKER_NAME)",
        "nobody sets",
    ),
    Mistake(
        manifest.kubernetes_pods,
        CLUSTER,
        "cluster: lazycog",
        "cluster: lazycogs",
        "no cluster",
    ),
    Mistake(
        manifest.kubernetes_pods,
        JOB,
        "            - --scheduler=$(DASK_SCHEDULER_ADDRESS)\n",
        "",
        "in its own pod",
    ),
    Mistake(
        manifest.kubernetes_pods,
        JOB,
        "args: [dask, scheduler]",
        "args: [dask-scheduler]",
        "no such program",
    ),
    Mistake(
        manifest.kubernetes_pods,
        JOB,
        "serviceAccountName: lazycog",
        "serviceAccountName: default",
        "not a service account",
    ),
    Mistake(
        shell.shellcheck, SBATCH, '"$scheduler_file" --port', "$f --port", "SC2086"
    ),
    Mistake(shell.shellcheck, SBATCH, "\nfi\n", "\n", "syntax error"),
    Mistake(shell.sbatch_directives, SBATCH, "--nodes=2", "--node=2", "no option"),
    Mistake(shell.sbatch_directives, SBATCH, "=02:00:00", "=2hours", "not a value"),
    Mistake(
        shell.sbatch_directives,
        SBATCH,
        "#SBATCH --time",
        "export A=1\n#SBATCH --time",
        "behind a command",
    ),
    Mistake(
        shell.sbatch_steps, SBATCH, "--death-timeout", "--death-time", "--death-time"
    ),
    Mistake(shell.sbatch_steps, SBATCH, "--no-progress", "--no-progres", "No such opt"),
    Mistake(shell.sbatch_steps, SBATCH, "--ntasks=1", "--tasks=1", "option of srun"),
    Mistake(
        shell.sbatch_steps, SBATCH, "srun --overlap --cpus", "srun --cpus", "waits for"
    ),
    Mistake(
        shell.calls,
        "deploy/slurm/on_slurm.py",
        "maximum_jobs=",
        "max_jobs=",
        "cluster.adapt has no max_jobs",
    ),
    Mistake(
        shell.calls,
        "deploy/gateway/on_gateway.py",
        "shutdown_on_close=",
        "shutdown=",
        "new_cluster has no shutdown",
    ),
    Mistake(
        shell.calls,
        "deploy/coiled/on_coiled.py",
        "worker_cpu=",
        "worker_cpus=",
        "coiled.Cluster has no worker_cpus",
    ),
    Mistake(
        shell.types,
        "deploy/coiled/on_coiled.py",
        "-> lazycog.CogResult:",
        "-> str:",
        "Incompatible return value",
    ),
    *(
        Mistake(
            shell.types, file, "-> lazycog.CogResult:", "-> str:", "Incompatible return"
        )
        for file in ("deploy/slurm/on_slurm.py", "deploy/gateway/on_gateway.py")
    ),
    Mistake(
        shell.job_script,
        "deploy/slurm/on_slurm.py",
        '"--lifetime-stagger"',
        '"--life-stagger"',
        "--life-stagger",
    ),
    Mistake(
        shell.job_script,
        "deploy/slurm/on_slurm.py",
        '"02:00:00"',
        '"two hours"',
        "no option of sbatch",
    ),
    Mistake(
        shell.job_script,
        "deploy/slurm/on_slurm.py",
        '"export OMP_NUM_THREADS=1"',
        '"export A=(1"',
        "syntax error",
    ),
    Mistake(
        shell.gateway_config,
        "deploy/gateway/dask_gateway_config.py",
        "worker_memory",
        "worker_mem",
        "worker_mem",
    ),
    Mistake(
        shell.gateway_config,
        "deploy/gateway/dask_gateway_config.py",
        "1800.0",
        '"long"',
        "idle_timeout",
    ),
    Mistake(
        shell.gateway_config,
        "deploy/gateway/dask_gateway_config.py",
        '["dask", "worker"]',
        '"dask-worker"',
        "no such program",
    ),
    Mistake(
        manifest.conda_environment,
        "deploy/environment.yml",
        "zarr>=3.0",
        "zarr>=2.0",
        "zarr >=2.0: pyproject.toml says zarr>=3.0",
    ),
    Mistake(
        manifest.conda_environment,
        "deploy/environment.yml",
        "  - numba>=0.60\n",
        "",
        "numba is missing",
    ),
    Mistake(
        manifest.conda_environment,
        "deploy/environment.yml",
        "name: lazycog",
        "title: lazycog",
        "conda knows no title",
    ),
    Mistake(
        manifest.workflow_schema,
        ".github/workflows/ci.yml",
        "runs-on:",
        "run-on:",
        "run-on",
    ),
]


def _planted_ids():
    """Give every mistake a name that no other has."""
    return [f"{each.check.__name__}-{i}" for i, each in enumerate(PLANTED)]


@pytest.mark.parametrize(
    ("file", "check"),
    [
        pytest.param(file, check, id=f"{file}-{check.__name__}")
        for file, checks in CHECKS.items()
        for check in checks
    ],
)
def test_file_passes(file, check, tmp_path):
    """Without a complaint."""
    text = (ROOT / file).read_text(encoding="utf-8")

    assert check(text, tmp_path) == []


@pytest.mark.parametrize("mistake", PLANTED, ids=_planted_ids())
def test_planted_mistake_is_caught(mistake, tmp_path):
    """The same file with one mistake, and the complaint is about it."""
    text = (ROOT / mistake.file).read_text(encoding="utf-8")
    assert mistake.right in text

    complaints = mistake.check(text.replace(mistake.right, mistake.wrong, 1), tmp_path)

    assert re.search(re.escape(mistake.complaint), "\n".join(complaints)), complaints


def test_every_file_has_a_check():
    """A file that nobody checks would rot."""
    files = {
        str(path.relative_to(ROOT))
        for path in DEPLOY.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert files <= {*CHECKS, *ELSEWHERE}
    assert {*CHECKS, *ELSEWHERE} - files == {".github/workflows/ci.yml"}


def test_every_check_of_every_file_has_a_planted_mistake():
    """A check that cannot fail says nothing."""
    checks = {(file, check) for file, checks in CHECKS.items() for check in checks}

    assert checks == {(mistake.file, mistake.check) for mistake in PLANTED}
