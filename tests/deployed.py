"""What tests/deploy needs beside the tools: Helm without its binary, and what has to be read to be checked.

Helm's own SDK (helm-python-sdk: the Go library behind `helm lint` and `helm template`) renders the chart; the objects are
then held to the schemas that Kubernetes publishes (kubernetes-validate).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

# The oldest that the chart takes, and the newest that there is a schema of.
KUBERNETES = ["1.30", "1.34"]
# Kinds of others: their schemas are not Kubernetes'.
FOREIGN = {"ServiceMonitor", "DestinationRule"}

TASKS = {"tasks-42.jsonl": '{"id": 7, "data": {"video": "s3://a/<b>.mp4"}}\n', "tasks.json": '  [\n  {"id": 8}\n]'}
EVERYTHING = {
    "tasks": TASKS,
    "cache": {"volume": {"enabled": True, "storageClass": "fast"}},
    "ingress": {"enabled": True, "tlsSecretName": "media-tls"},
    "istio": {"enabled": True},
    "autoscaling": {"enabled": True},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"egress": [{"ports": [{"port": 443}]}]},
    "secrets": {"files": [{"name": "tls", "secretName": "lockgate-tls"}]},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/Lockgate"}},
}
LITTLE = {
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "serviceAccount": {"create": False, "name": "default"},
    "secrets": {"env": []},
    "projects": "",
}
# What the schema of the values has to refuse.
WRONG = [
    {"replicas": 0},
    {"replica": 3},
    {"config": ""},
    {"secrets": {"env": [{"name": "KEY", "value": "in plain text"}]}},
    {"image": {"digest": "latest"}},
    {"tasks": {"projects.toml": ""}},
    {"tasks": {"42/tasks.jsonl": ""}},
    {"tasks": {"tasks-42.jsonl": [{"id": 7}]}},
]


def helm(chart_directory, work):
    import helm_python
    import yaml

    report = helm_python.lint(chart_directory, strict=True)
    findings = [m for m in report["messages"] if m["severity"] > 1] + report["errors"]
    assert not findings, findings
    chart = helm_python.Chart.load(chart_directory)
    for values in WRONG:
        try:
            chart.validate_schema(chart.merge_values(values))
        except helm_python.HelmError:
            continue
        raise AssertionError(f"the schema takes {values}")
    for values in ({}, EVERYTHING, LITTLE):
        chart.validate_schema(chart.merge_values(values))
        rendered = chart.render(values, name="media", namespace="annotation")
        objects = []
        for path, text in rendered.items():
            if path.endswith((".yaml", ".yml")):
                objects += [it for it in yaml.safe_load_all(text) if it]
        kinds = [it["kind"] for it in objects]
        assert {"StatefulSet", "Service", "ConfigMap"} <= set(kinds), kinds
        if values is EVERYTHING:
            assert len(set(kinds)) == 10, kinds
        for it in objects:
            by_the_schema(it)
        selected_is_labelled(objects)
        scraped_as_the_job(objects)
        (config,) = [it for it in objects if it["kind"] == "ConfigMap"]
        for name, text in values.get("tasks", {}).items():
            assert config["data"].get(name) == text, (name, config["data"])
        if not values:
            for name, text in config["data"].items():
                Path(work, name).write_text(text)


def by_the_schema(it):
    import kubernetes_validate

    if it["kind"] in FOREIGN:
        return
    for version in KUBERNETES:
        kubernetes_validate.validate(it, version, strict=True)


def scraped_as_the_job(objects):
    """What is scraped has the job that alerts and dashboard name: the value of the service's label, else its name."""
    for monitor in [it for it in objects if it["kind"] == "ServiceMonitor"]:
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        labels = [it["metadata"]["labels"] for it in objects if it["kind"] == "Service"]
        (service,) = [it for it in labels if wanted <= it.items()]
        assert service.get(monitor["spec"].get("jobLabel")) == "lockgate", monitor


def selected_is_labelled(objects):
    """Whatever selects pods selects those of the set."""
    (workload,) = [it for it in objects if it["kind"] == "StatefulSet"]
    labels = workload["spec"]["template"]["metadata"]["labels"].items()
    for it in objects:
        spec = it.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        if it["kind"] == "ServiceMonitor" or not selector:
            continue
        selector = selector.get("matchLabels", selector)
        assert selector.items() <= labels, (it["kind"], selector)


def compose(lockgate, *files):
    """Files that are mounted are there, env.example names what has to be set, and Lockgate has the verbs."""
    import re

    import yaml

    example = Path("deploy/compose/env.example").read_text()
    for file in files:
        text = Path(file).read_text()
        for name in set(re.findall(r"\$\{([A-Z_]+)", text)):
            assert f"\n{name}=" in example, f"{name} is not in env.example"
        services = yaml.safe_load(text)["services"]
        for service in services.values():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("."):
                    assert Path("deploy", source).exists(), source
            for other in service.get("depends_on", []):
                assert other in services, other
            context = service.get("build", {}).get("dockerfile")
            assert context is None or Path(context).exists(), context
            # What stands before --help is read first: a verb or an argument that there is not is an error.
            if context and "command" in service:
                subprocess.run([lockgate, *service["command"], "--help"], check=True, capture_output=True)


def dashboard(file):
    """Its expressions as rules, for promtool reads no dashboards."""
    import re

    panels = json.loads(Path(file).read_text())["panels"]
    print("groups:\n- name: dashboard\n  rules:")
    ids = set()
    for panel in panels:
        assert panel["title"] and panel["description"], panel["id"]
        assert panel["id"] not in ids
        ids.add(panel["id"])
        for target in panel["targets"]:
            expression = re.sub(r"\$__(rate_interval|range)", "5m", target["expr"])
            print(f"  - record: panel:{panel['id']}:{target['refId']}\n    expr: {json.dumps(expression)}")


def policy():
    report = json.load(sys.stdin)
    (document,) = [part["document"]["json"] for part in report["parts"] if part["name"] == "identity-policy"]
    print(json.dumps(document, indent=2))


def configuration():
    said = sys.stdin.read()
    steps = json.loads(said)["configuration"]
    wrong = [step for step in steps if step["outcome"] not in ("ok", "warning")]
    assert steps and not wrong, said


def binary():
    target = os.environ.get("CARGO_TARGET_DIR")
    if not target:
        metadata = subprocess.run(
            ["cargo", "metadata", "--no-deps", "--format-version", "1"], check=True, capture_output=True
        )
        target = json.loads(metadata.stdout)["target_directory"]
    print(Path(target, "debug/lockgate").absolute())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
