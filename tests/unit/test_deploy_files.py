"""The files of ``deploy/`` say what the code says: options, ports, paths, times, metrics.

Their formats are checked by ``make lint-deploy``.
"""

import configparser
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from handlers import ops
from session.config import Config
from session.leaving import GOODBYE_SECONDS
from session.metrics import Metrics
from tests.support import dockerfile
from tests.support.dockerfile import instruction

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEXTS = [
    path
    for path in sorted(DEPLOY.rglob("*"))
    if path.suffix in {".yaml", ".md", ".service", ".json", ".cfg", ""} and path.is_file()
]
OTHER_METRICS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
"""Those of prometheus-client itself that we use."""


class _Template(yaml.SafeLoader):
    """Takes ``!Ref X`` and the like for X."""


def _plain(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_Template.add_multi_constructor("!", _plain)  # type: ignore[no-untyped-call]


def documents(name: str) -> list[Any]:
    """The YAML documents of a file."""
    return list(yaml.load_all((DEPLOY / name).read_text(), _Template))


@cache
def aws() -> dict[str, Any]:
    """The properties of each resource of the template."""
    (template,) = documents("aws/keepseat.yaml")
    return {name: resource["Properties"] for name, resource in template["Resources"].items()}


@cache
def pod() -> dict[str, Any]:
    """The pod of the Deployment."""
    spec: dict[str, Any] = documents("kubernetes.yaml")[0]["spec"]["template"]["spec"]
    return spec


@cache
def compose() -> dict[str, Any]:
    """The services of compose.yaml."""
    services: dict[str, Any] = documents("compose.yaml")[0]["services"]
    return services


def unit() -> dict[str, str]:
    """The ``[Service]`` of the systemd unit; of a key that comes twice the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "keepseat.service")
    return dict(parser["Service"])


def environment(entries: list[dict[str, Any]], name: str = "name", value: str = "value") -> dict[str, Any]:
    """Name and value of each variable."""
    return {entry[name]: entry.get(value) for entry in entries}


def task() -> dict[str, Any]:
    """The container of the ECS task; of what hangs on a condition what is there if it holds."""
    (container,) = aws()["Task"]["ContainerDefinitions"]
    secrets = [entry[1] if isinstance(entry, list) else entry for entry in container["Secrets"]]
    return {**container, "Secrets": secrets}


def attributes(resource: str, key: str) -> dict[str, str]:
    """Attributes of an ALB or a target group."""
    return environment(aws()[resource][key], "Key", "Value")


# --- options ---


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_options_are_options(path: Path) -> None:
    """A variable or an option that is none would be ignored, or end the server at its start."""
    names = {f.name for f in fields(Config)}
    text = path.read_text()
    variables = {found.lower() for found in re.findall(r"\bKEEPSEAT_([A-Z_]+)", text)}
    options = {found.replace("-", "_") for found in re.findall(r"server\.py[^\n]*--([a-z-]+)=", text)}

    assert set() == (variables | options) - names


def test_the_image_starts_no_demo() -> None:
    """It listens on all addresses: without a key it must not start."""
    set_ = dockerfile.environment()

    assert ("0.0.0.0", "false") == (set_["KEEPSEAT_ADDRESS"], set_["KEEPSEAT_DEMO"])  # noqa: S104
    assert "10001" == instruction("USER")


@pytest.mark.parametrize("where", ["compose", "kubernetes", "aws"])
def test_the_root_file_system_is_not_written(where: str) -> None:
    """Everywhere the image runs, it runs so."""
    found = {
        "compose": [compose()[name].get("read_only") for name in ("one", "two", "three")],
        "kubernetes": [pod()["containers"][0]["securityContext"]["readOnlyRootFilesystem"]],
        "aws": [task()["ReadonlyRootFilesystem"]],
    }

    assert {True} == set(found[where])


def test_secrets_come_from_where_secrets_lie() -> None:
    """None stands in a file as it is; those from before, while keys are turned, need not be there."""
    previous = {"KEEPSEAT_JWT_PREVIOUS_SECRET", "KEEPSEAT_API_PREVIOUS_KEY"}
    secret = {"KEEPSEAT_REDIS_URL", "KEEPSEAT_JWT_SECRET", "KEEPSEAT_API_KEY"} | previous
    conditional = [
        entry for entry in aws()["Task"]["ContainerDefinitions"][0]["Secrets"] if isinstance(entry, list)
    ]
    references = {
        e["name"]: e["valueFrom"]["secretKeyRef"] for e in pod()["containers"][0]["env"] if "valueFrom" in e
    }

    assert secret == environment(task()["Secrets"], "Name").keys()
    assert previous == {entry["Name"] for _, entry, _ in conditional}
    assert secret == references.keys()
    assert previous == {name for name, reference in references.items() if reference.get("optional")}
    assert previous <= compose()["one"]["environment"].keys()


# --- ports and paths ---


def test_ports_agree() -> None:
    """The image's, and what is sent there."""
    port = int(instruction("EXPOSE"))
    sent = {
        str(compose()["balancer"]["environment"][f"SERVER_{n}"]).split(":")[1]
        for n in ("ONE", "TWO", "THREE")
    }
    (scrape,) = documents("prometheus/prometheus.yaml")[0]["scrape_configs"]
    scraped = {target.split(":")[1] for target in scrape["static_configs"][0]["targets"]}

    assert Config().port == port
    assert f"KEEPSEAT_PORT={port}" in instruction("ENV")
    assert {str(port)} == sent == scraped
    assert port == pod()["containers"][0]["ports"][0]["containerPort"]
    assert port == aws()["Servers"]["Port"] == task()["PortMappings"][0]["ContainerPort"]


def test_probes_ask_for_what_there_is() -> None:
    """`/readyz` decides about traffic; what ends a server must ask for `/healthz`, which knows no store."""
    container = pod()["containers"][0]
    paths = [route[0] for route in ops.ROUTES]

    assert "/readyz" in paths
    assert "/healthz" in paths
    assert "/readyz" == container["readinessProbe"]["httpGet"]["path"]
    assert "/readyz" == aws()["Servers"]["HealthCheckPath"]
    assert "/healthz" == container["livenessProbe"]["httpGet"]["path"]
    assert "/healthz" in task()["HealthCheck"]["Command"][-1]
    assert "/healthz" in instruction("HEALTHCHECK")


def test_the_servers_believe_the_balancer_alone() -> None:
    """compose.yaml names its address."""
    balancer = compose()["balancer"]["networks"]["keepseat"]["ipv4_address"]
    trusted = {compose()[name]["environment"]["KEEPSEAT_TRUSTED_PROXIES"] for name in ("one", "two", "three")}

    assert {f"{balancer}/32"} == trusted


# --- times ---


def ends() -> Iterator[tuple[str, float, float]]:
    """Where, the drain there, and the time until the server is killed."""
    one, kubernetes = compose()["one"], pod()
    container = kubernetes["containers"][0]
    waits = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    inside = environment(container["env"])
    (systemd,) = re.findall(r"KEEPSEAT_DRAIN_SECONDS=(\d+)", unit()["Environment"])
    yield "compose", one["environment"]["KEEPSEAT_DRAIN_SECONDS"], one["stop_grace_period"].removesuffix("s")
    yield "kubernetes", inside["KEEPSEAT_DRAIN_SECONDS"], kubernetes["terminationGracePeriodSeconds"] - waits
    yield (
        "ecs",
        environment(task()["Environment"], "Name", "Value")["KEEPSEAT_DRAIN_SECONDS"],
        task()["StopTimeout"],
    )
    yield "systemd", systemd, unit()["TimeoutStopSec"]


@pytest.mark.parametrize("where", ["compose", "kubernetes", "ecs", "systemd"])
def test_nobody_is_killed_before_the_drain_is_over(where: str) -> None:
    """The last goodbyes come after it, and a slow machine needs some time more."""
    ((drain, end),) = [(float(drain), float(end)) for name, drain, end in ends() if name == where]

    assert end >= drain + GOODBYE_SECONDS + 5


def test_the_alb_waits_for_the_drain_and_for_pings() -> None:
    """A line on which nothing goes for longer than its idle timeout is cut."""
    group = attributes("Servers", "TargetGroupAttributes")
    drain = environment(task()["Environment"], "Name", "Value")["KEEPSEAT_DRAIN_SECONDS"]
    idle = attributes("Balancer", "LoadBalancerAttributes")["idle_timeout.timeout_seconds"]

    assert int(group["deregistration_delay.timeout_seconds"]) > int(drain)
    assert int(idle) > 2 * Config().ping_interval
    assert ("lb_cookie", "86400") == (
        group["stickiness.type"],
        group["stickiness.lb_cookie.duration_seconds"],
    )


@pytest.mark.parametrize("where", ["compose", "aws"])
def test_no_store_throws_anything_away(where: str) -> None:
    """Whatever its default is."""
    found = {
        "compose": " ".join(compose()["valkey"]["command"]),
        "aws": f"--maxmemory-policy {aws()['StoreParameters']['Properties']['maxmemory-policy']}",
    }

    assert "--maxmemory-policy noeviction" in found[where]


# --- alerts and dashboard ---


def metric_names() -> set[str]:
    """Every name that a scrape of a server can bring."""
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}
    return {m.name + end for m in Metrics().registry.collect() for end in suffixes.get(m.type, [])}


def alerts() -> list[dict[str, Any]]:
    (group,) = documents("prometheus/alerts.yaml")[0]["groups"]
    return list(group["rules"])


def expressions() -> list[str]:
    """What the alerts and the dashboard ask for."""
    panels = json.loads((DEPLOY / "grafana" / "keepseat.json").read_text())["panels"]
    return [rule["expr"] for rule in alerts()] + [t["expr"] for panel in panels for t in panel["targets"]]


def test_what_is_watched_is_measured() -> None:
    """An alert on a metric that was renamed would never fire."""
    asked = {name for expr in expressions() for name in re.findall(r"\b(?:keepseat|process)_\w+", expr)}

    assert len(asked) > 15
    assert set() == asked - metric_names()
    assert OTHER_METRICS == {name for name in asked if name.startswith("process_")}


def test_each_alert_says_what_to_do() -> None:
    """In a paragraph of its own."""
    page = (ROOT / "docs" / "operations.md").read_text()
    headings = re.findall(r"^### (Keepseat\w+)$", page, re.MULTILINE)
    names = [rule["alert"] for rule in alerts()]

    assert names == headings
    assert [f"docs/operations.md#{name.lower()}" for name in names] == [
        rule["annotations"]["runbook"] for rule in alerts()
    ]


def test_the_limits_that_alerts_name_are_the_defaults() -> None:
    """Four fifths of ``--max-connections``."""
    (full,) = [rule["expr"] for rule in alerts() if rule["alert"] == "KeepseatNearlyFull"]

    assert full.endswith(f" {Config().max_connections * 4 // 5}")
