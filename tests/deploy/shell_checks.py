"""Checks of shell and Python scripts: each takes a text, and gives its complaints."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import inspect
import os
import re
import shlex
import sys
import warnings
from pathlib import Path

from deploy_tools import (
    ROOT,
    command_complaints,
    missing,
    module,
    run,
    tool,
)

SBATCH_OPTIONS = {
    "account": r"\w+",
    "cpus-per-task": r"\d+",
    "exclusive": r"",
    "job-name": r"[\w-]+",
    "mem": r"\d+[KMGT]?",
    "mem-per-cpu": r"\d+[KMGT]?",
    "nodes": r"\d+(-\d+)?",
    "ntasks": r"\d+",
    "ntasks-per-node": r"\d+",
    "output": r"[\w./%-]+",
    "partition": r"[\w,]+",
    "qos": r"\w+",
    "time": r"(\d+-)?\d+(:\d\d){0,2}",
}
"""The options that a batch script of ours may use, after man sbatch."""
SRUN_OPTIONS = {
    "--overlap": None,
    "--nodes": int,
    "--ntasks": int,
    "--cpus-per-task": int,
}
SLURM = {
    "SLURM_JOB_ID": "1",
    "SLURM_CPUS_PER_TASK": "2",
    "SLURM_MEM_PER_CPU": "1024",
}
"""What Slurm tells a job."""
RECORDER = """#!/usr/bin/env bash
printf '%q ' "$@" >"$RECORD/.$$" && mv "$RECORD/.$$" "$RECORD/$$"
while (($#)); do
    if [[ $1 == --scheduler-file ]]; then echo '{}' >"$2"; fi
    if [[ $1 == dask ]]; then program=dask; fi
    shift
done
if [[ ${program:-} == dask ]]; then exec sleep 60; fi
for _ in {1..100}; do
    if (($(ls "$RECORD" | wc -l) == 3)); then exit; fi
    sleep 0.1
done
"""
"""Stands in for srun: notes what it should run. Dask would run until it is ended, and
the conversion ends when all three are there."""


def shellcheck(text, folder, *options):
    """Lint a bash script."""
    path = folder / "script.sh"
    path.write_text(text, encoding="utf-8")
    return [*run(["bash", "-n", path]), *tool("shellcheck", *options, path)]


def sbatch_directives(text, folder):
    """Read the lines that sbatch reads, up to the first command."""
    del folder
    complaints, commands = [], False
    for line in text.splitlines():
        if not line.startswith("#SBATCH"):
            commands = commands or not (line.startswith("#") or not line.strip())
            continue
        if commands:
            complaints.append(f"sbatch does not see it behind a command: {line}")
        found = re.fullmatch(r"#SBATCH --([\w-]+)(?:=(\S+))?", line)
        if found is None or found[1] not in SBATCH_OPTIONS:
            complaints.append(f"no option of sbatch: {line}")
        elif not re.fullmatch(SBATCH_OPTIONS[found[1]], found[2] or ""):
            complaints.append(f"not a value of --{found[1]}: {line}")
    return complaints if "#SBATCH" in text else ["no directives"]


def sbatch_steps(text, folder):
    """Run a batch script with an srun that notes the steps; parse each of them."""
    srun, script, record = folder / "bin/srun", folder / "job", folder / "record"
    srun.parent.mkdir()
    record.mkdir()
    srun.write_text(RECORDER, encoding="utf-8")
    srun.chmod(0o755)
    script.write_text(text, encoding="utf-8")
    path = os.pathsep.join([str(srun.parent), os.environ["PATH"]])
    complaints = run(
        ["bash", script, "source.zarr", "scene.tif"],
        cwd=folder,
        env={**os.environ, **SLURM, "PATH": path, "RECORD": str(record)},
    )
    steps = [shlex.split(step.read_text("utf-8")) for step in record.iterdir()]
    programs = sorted(" ".join(_step(step)[1][:2]) for step in steps)
    complaints += [each for step in steps for each in _step_complaints(step)]
    if programs != ["dask scheduler", "dask worker", "lazycog convert"]:
        complaints.append(f"the steps are {programs}")
    return complaints


def _step(argv):
    count = next(i for i, each in enumerate(argv) if not each.startswith("--"))
    return argv[:count], argv[count:]


def _step_complaints(argv):
    options, command = _step(argv)
    complaints = command_complaints(command)
    for option in options:
        name, _, value = option.partition("=")
        kind = SRUN_OPTIONS.get(name, "unknown")
        if kind == "unknown" or (kind is None) != (not value) or (kind and not value):
            complaints.append(f"no option of srun: {option}")
    if "--overlap" not in options:
        complaints.append(f"the step waits for the others to end: {' '.join(command)}")
    return complaints


def load_script(text, folder, name):
    """Import a script from a text, as a module that keeps the name."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"deploy_{name}", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def job_script(text, folder):
    """Lint the job script that dask-jobqueue makes, and parse its command."""
    module("dask_jobqueue")
    script = load_script(text, folder, "on_slurm")
    with script.make_cluster(interface="lo") as cluster:
        job = cluster.job_script()
    complaints = [*sbatch_directives(_long_options(job), folder)]
    # dask-jobqueue quotes nothing: TMPDIR must have no blanks
    complaints += shellcheck(job, folder, "--exclude=SC2086")
    lines = [line for line in job.splitlines() if line.startswith(sys.executable)]
    if len(lines) != 1:
        return [*complaints, f"not one command, but {len(lines)}"]
    return [*complaints, *command_complaints(shlex.split(lines[0]))]


def _long_options(job):
    """Write dask-jobqueue's short options long."""
    short = {"J": "job-name", "n": "ntasks", "t": "time", "p": "partition"}
    long = {"A": "account", "e": "output", "o": "output", **short}
    return re.sub(
        r"^#SBATCH -(\w) ",
        lambda found: f"#SBATCH --{long.get(found[1], found[1])}=",
        job,
        flags=re.MULTILINE,
    )


def calls(text, folder):
    """Compare the keywords of calls with the signatures of what is called."""
    del folder
    complaints = []
    for node in ast.walk(ast.parse(text)):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if name == "cluster.adapt":
            name = "slurm" if "SLURMCluster" in text else "gateway"
        if name in SIGNATURES:
            known = SIGNATURES[name]()
            given = [each.arg for each in node.keywords if each.arg]
            complaints += [
                f"{ast.unparse(node.func)} has no {each}"
                for each in given
                if each not in known
            ]
    return complaints


def _coiled():
    """Read a signature without an import, which would look for an account."""
    try:
        coiled = importlib.metadata.distribution("coiled")
    except importlib.metadata.PackageNotFoundError:
        missing("coiled")
    path = Path(coiled.locate_file("coiled/v2/cluster.py"))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (cluster,) = (
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Cluster"
    )
    (init,) = (
        node
        for node in cluster.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    return {each.arg for each in (*init.args.args, *init.args.kwonlyargs)}


def _parameters(name, attribute):
    def find():
        return set(inspect.signature(attribute(module(name))).parameters)

    return find


SIGNATURES = {
    "coiled.Cluster": _coiled,
    "gateway": _parameters("dask_gateway", lambda each: each.GatewayCluster.adapt),
    "gateway.new_cluster": _parameters(
        "dask_gateway", lambda each: each.Gateway.new_cluster
    ),
    "lazycog.to_cog": _parameters("lazycog", lambda each: each.to_cog),
    "slurm": _parameters("dask_jobqueue", lambda each: each.SLURMCluster.adapt),
    "xr.open_zarr": _parameters("xarray", lambda each: each.open_zarr),
}


def types(text, folder):
    """Check the types as .ci/check does."""
    path = folder / "script.py"
    path.write_text(text, encoding="utf-8")
    return tool("mypy", "--no-error-summary", path, cwd=ROOT)


def gateway_config(text, folder):
    """Load the configuration of a Dask Gateway server into what it is about."""
    module("dask_gateway_server")
    from dask_gateway_server.backends.kubernetes.backend import KubeClusterConfig
    from dask_gateway_server.backends.local import LocalClusterConfig
    from traitlets import TraitError
    from traitlets.config import PyFileConfigLoader

    (folder / "config.py").write_text(text, encoding="utf-8")
    config = PyFileConfigLoader("config.py", str(folder)).load_config()
    complaints = [
        f"no such section: {each}"
        for each in config
        if each not in {"ClusterConfig", "KubeClusterConfig"}
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in (LocalClusterConfig, KubeClusterConfig):
            try:
                cluster = kind(config=config)
            except (TraitError, UserWarning) as error:
                complaints.append(f"{kind.__name__}: {error}")
                continue
            for command in (cluster.scheduler_cmd, cluster.worker_cmd):
                complaints += command_complaints(command)
    return complaints
