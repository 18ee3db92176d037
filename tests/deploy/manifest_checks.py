"""Checks of images, manifests and environments: each gives a text's complaints."""

from __future__ import annotations

import copy
import functools
import re
import shutil
import sys
from pathlib import Path

import yaml
from deploy_tools import DEPLOY, PROJECT, ROOT, command_complaints, module, run, tool
from packaging.requirements import Requirement

IMAGE = f"lazycog:{PROJECT['version']}"
EXTRAS = ("distributed", "zarr", "s3", "gcs", "azure")
"""What a deployment may need of the extras."""
VARIABLE = re.compile(r"\$\((\w+)\)")
"""Kubernetes fills these in from the environment of the container."""


def hadolint(text, folder):
    """Lint a Dockerfile."""
    del folder
    return tool("hadolint", "-", text=text)


def image(text, folder):
    """Build the wheel from what is copied into the image; parse what it runs."""
    module("hatchling")
    complaints = _ignored_copies(text)
    for words in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        *sources, target = words.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / target)
            else:
                shutil.copy(ROOT / source, folder / target)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    complaints += run(
        [*pip, "--quiet", "--wheel-dir", folder / "dist", "."], cwd=folder
    )
    (command,) = re.findall(r"^CMD (.+)$", text, re.MULTILINE)
    complaints += command_complaints(yaml.safe_load(command))
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', text)
    if tuple(extras.split(",")) != EXTRAS:
        complaints.append(f"the image has the extras {extras}")
    (python,) = re.findall(r"^FROM python:(\d+\.\d+)-", text, re.MULTILINE)
    if f"Programming Language :: Python :: {python}" not in PROJECT["classifiers"]:
        complaints.append(f"Python {python} is not one of ours")
    return complaints


def _ignored_copies(text):
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    return [
        f"Dockerfile.dockerignore leaves {source} out"
        for words in re.findall(r"^COPY (.+)$", text, re.MULTILINE)
        for source in words.split()[:-1]
        if f"!{source}" not in kept
    ]


def compose_schema(text, folder):
    """Compare with the schema of the Compose specification."""
    return _vendored("compose-spec", text, folder)


def workflow_schema(text, folder):
    """Compare with the schema of GitHub's workflows."""
    return _vendored("github-workflows", text, folder)


def _vendored(schema, text, folder):
    path = folder / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", path)


def compose_services(text, folder):
    """Look at what the schema cannot know: images, commands, references."""
    del folder
    compose = yaml.safe_load(text)
    services = compose["services"]
    complaints = []
    for name, service in services.items():
        if service["image"] != IMAGE:
            complaints.append(f"{name} runs {service['image']}, not {IMAGE}")
        command = service.get("command")
        if "entrypoint" in service:
            command = [*service["entrypoint"], "source.zarr", "scene.tif"]
        complaints += command_complaints(command)
        complaints += [
            f"{name} depends on {each}, which is not there"
            for each in service.get("depends_on", ())
            if each not in services
        ]
        complaints += [
            f"{name} is open to strangers: {port}"
            for port in service.get("ports", ())
            if not port.startswith("127.0.0.1:")
        ]
        if "build" in service:
            build = service["build"]
            if not (DEPLOY / build["context"] / build["dockerfile"]).is_file():
                complaints.append(f"no such file: {build['dockerfile']}")
        if "healthcheck" in service:
            complaints += command_complaints(service["healthcheck"]["test"][1:])
    return complaints


# --- Kubernetes ---------------------------------------------------------------------


def kubernetes_schema(text, folder):
    """Compare with the schemas of Kubernetes and Dask; refuse unknown fields."""
    del folder
    return [
        each
        for document in yaml.safe_load_all(text)
        for each in _schema_complaints(document)
    ]


def _schema_complaints(document):
    if document["apiVersion"].startswith("kubernetes.dask.org/"):
        import jsonschema

        schema = _operator_schemas().get((document["apiVersion"], document["kind"]))
        if schema is None:
            return [f"the operator has no kind {document['kind']}"]
        found = jsonschema.Draft7Validator(schema).iter_errors(document)
        return [f"{error.json_path}: {error.message[:300]}" for error in found]
    kubernetes = module("kubernetes_validate")
    version = kubernetes.latest_version()
    try:
        kubernetes.validate(document, version, strict=True)
    except kubernetes.ValidationError as error:
        return [f"{list(error.path)}: {error.message[:300]}"]
    return []


@functools.cache
def _operator_schemas():
    """Give the schemas that the operator's own package installs, made strict."""
    package = Path(module("dask_kubernetes").__file__).parent
    schemas = {}
    for path in package.rglob("crds/*.yaml"):
        for kind in yaml.load_all(path.read_text("utf-8"), yaml.CSafeLoader):
            for version in kind["spec"]["versions"]:
                schema = copy.deepcopy(version["schema"]["openAPIV3Schema"])
                _make_strict(schema)
                schema["properties"].update(
                    apiVersion={"type": "string"},
                    kind={"type": "string"},
                    metadata={
                        "type": "object",
                        "properties": {"name": {"type": "string"}},
                        "required": ["name"],
                        "additionalProperties": False,
                    },
                )
                group = f"{kind['spec']['group']}/{version['name']}"
                schemas[group, kind["spec"]["names"]["kind"]] = schema
    return schemas


def _make_strict(schema):
    if isinstance(schema, list):
        for each in schema:
            _make_strict(each)
    if not isinstance(schema, dict):
        return
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("anyOf", None)
        schema["type"] = ["integer", "string"]
    free = schema.get("x-kubernetes-preserve-unknown-fields")
    if schema.get("type") == "object" and "properties" in schema and not free:
        schema.setdefault("additionalProperties", False)
    for each in schema.values():
        _make_strict(each)


def kubernetes_pods(text, folder):
    """Let the operator build what it would create, and look at that."""
    del folder
    module("dask_kubernetes")
    documents = list(yaml.safe_load_all(text))
    accounts = yaml.safe_load(
        (DEPLOY / "kubernetes/serviceaccount.yaml").read_text(encoding="utf-8")
    )["metadata"]["name"]
    complaints = []
    for built in (each for one in documents for each in _built(one)):
        complaints += _schema_complaints(built)
        pod = built["spec"].get("template", built).get("spec", {})
        if "containers" not in pod:
            continue
        if pod.get("serviceAccountName") != accounts:
            complaints.append(f"not a service account: {pod.get('serviceAccountName')}")
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            complaints += _container_complaints(container)
    return [*complaints, *_references(documents)]


def _built(document):
    from dask_kubernetes.operator.controller import controller

    name = document["metadata"]["name"]
    if document["kind"] == "DaskJob":
        yield controller.build_job_pod_spec(
            name, name, "default", document["spec"]["job"]["spec"], {}, {}
        )
    cluster = _cluster_spec(document)
    if cluster is None:
        return
    scheduler = cluster["scheduler"]
    deployment = controller.build_scheduler_deployment_spec(
        name, scheduler["spec"], {}, {}
    )
    yield deployment
    service = controller.build_scheduler_service_spec(
        name, scheduler["service"], {}, {}
    )
    yield service
    yield controller.build_worker_deployment_spec(
        f"{name}-default", "default", name, "0", cluster["worker"]["spec"], {}, {}
    )


def _cluster_spec(document):
    spec = document["spec"]
    return {
        "DaskJob": lambda: spec["cluster"]["spec"],
        "DaskCluster": lambda: spec,
    }.get(document["kind"], lambda: None)()


def _container_complaints(container):
    complaints = []
    if container["image"] != IMAGE:
        complaints.append(f"{container['name']} runs {container['image']}, not {IMAGE}")
    known = {each["name"]: each["value"] for each in container.get("env", ())}
    argv = []
    for word in container["args"]:
        unknown = set(VARIABLE.findall(word)) - set(known)
        complaints += [f"nobody sets $({each})" for each in unknown]
        argv.append(VARIABLE.sub(lambda found: known.get(found[1], ""), word))
    return [*complaints, *command_complaints(argv)]


def _references(documents):
    """Names that must be those of something else."""
    complaints = []
    names = [each["metadata"]["name"] for each in documents if _cluster_spec(each)]
    for document in documents:
        name = document["metadata"]["name"]
        if document["kind"] == "DaskAutoscaler":
            if document["spec"]["cluster"] not in names:
                complaints.append(f"no cluster {document['spec']['cluster']}")
            continue
        cluster = _cluster_spec(document)
        complaints += _service_complaints(cluster["scheduler"], name)
        if not all(
            "$(DASK_SCHEDULER_ADDRESS)" in worker["args"]
            for worker in cluster["worker"]["spec"]["containers"]
        ):
            complaints.append("the worker does not know its scheduler")
        if document["kind"] == "DaskJob":
            complaints += _job_complaints(document["spec"]["job"]["spec"], name)
    return complaints


def _service_complaints(scheduler, name):
    service, (container,) = scheduler["service"], scheduler["spec"]["containers"]
    selector = {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    complaints = [
        f"no such port of the scheduler: {port}"
        for port in service["ports"]
        if ports.get(port["targetPort"]) != port["port"]
    ]
    if service["selector"] != selector:
        complaints.append(f"the service finds no scheduler: {service['selector']}")
    return complaints


def _job_complaints(job, name):
    (container,), (wait,) = job["containers"], job["initContainers"]
    complaints = []
    if "--scheduler=$(DASK_SCHEDULER_ADDRESS)" not in container["args"]:
        complaints.append("the job would compute in its own pod")
    if f"tcp://{name}-scheduler:8786" not in wait["args"][-1]:
        complaints.append("the job waits for another scheduler")
    return complaints


# --- conda --------------------------------------------------------------------------


CONDA_NAMES = {"isal": "python-isal"}
"""Of packages that conda-forge calls otherwise."""


def conda_environment(text, folder):
    """Compare with what pyproject.toml asks for."""
    del folder
    environment = yaml.safe_load(text)
    complaints = [
        f"conda knows no {each}"
        for each in environment
        if each not in {"name", "channels", "dependencies", "variables"}
    ]
    listed = [each for each in environment["dependencies"] if isinstance(each, str)]
    given = {each.name: each.specifier for each in map(Requirement, listed)}
    extras = PROJECT["optional-dependencies"]
    wanted = [
        f"python{PROJECT['requires-python']}",
        *PROJECT["dependencies"],
        *(each for extra in EXTRAS for each in extras[extra]),
    ]
    for each in map(Requirement, wanted):
        name = CONDA_NAMES.get(each.name, each.name)
        if name not in given:
            complaints.append(f"{name} is missing")
        elif given[name] != each.specifier:
            found = given[name] or "without a version"
            complaints.append(f"{each.name} {found}: pyproject.toml says {each}")
    (pip,) = (each for each in environment["dependencies"] if isinstance(each, dict))
    complaints += [
        f"pip finds no project in {each}"
        for each in pip["pip"]
        if not (DEPLOY / each / "pyproject.toml").is_file()
    ]
    return complaints
