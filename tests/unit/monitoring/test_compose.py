"""Prometheus and Grafana in the compose file: apart from the rest, closed, and with settings that fit together."""

import json
import re

import pytest
import yaml

from tests import ROOT
from tests.prometheus import SETTINGS, promtool

DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
GRAFANA = DOCKER / "grafana"
CONFIG = yaml.safe_load((SETTINGS / "prometheus.yaml").read_text())
EXAMPLE = (DOCKER / "compose.env.example").read_text()


def mounted(service):
    """Where in the container each file or folder of docker/ is."""
    pairs = [volume.split(":") for volume in SERVICES[service]["volumes"]]
    return {pair[1]: DOCKER / pair[0] for pair in pairs if pair[0].startswith("./")}


def test_they_are_a_profile():
    """Whoever does not ask for them gets the services of before."""
    with_profile = {name for name, service in SERVICES.items() if service.get("profiles") == ["monitoring"]}

    assert {"prometheus", "grafana"} == with_profile
    assert not with_profile & {other for each in SERVICES.values() for other in each.get("depends_on", ())} - {
        "prometheus"
    }


def test_prometheus_accepts_its_settings(tmp_path):
    """With its files where the container has them."""
    text = (SETTINGS / "prometheus.yaml").read_text()
    (tmp_path / "password").write_text("x")
    for place, file in mounted("prometheus").items():
        assert file.is_file()
        text = text.replace(place, str(file))
    text = text.replace("/run/secrets/scrape-password", str(tmp_path / "password"))
    (tmp_path / "prometheus.yaml").write_text(text)

    assert "SUCCESS" in promtool("check", "config", tmp_path / "prometheus.yaml")
    assert "/etc/" not in text


def test_prometheus_asks_the_workers():
    """Each of them at its port inside, as a user of whom the example tells."""
    (job,) = CONFIG["scrape_configs"]
    (targets,) = [each["targets"] for each in job["static_configs"]]
    workers = [name for name in SERVICES if name.startswith("worker")]
    inside = {name: SERVICES[name]["ports"][0].rpartition(":")[2] for name in workers}
    (users,) = re.findall(r"^#CONNECTOR_WEB_USERS=(.*)$", EXAMPLE, re.MULTILINE)

    assert [f"{name}:{port}" for name, port in inside.items()] == targets
    assert job["basic_auth"]["username"] in {user.partition(":")[0] for user in users.split(",")}
    assert "password" not in job["basic_auth"]


@pytest.mark.parametrize("service", ["prometheus", "grafana"])
def test_passwords_are_files_that_nobody_ships(service):
    """Secrets of the compose file, in a folder that git leaves out, and the example says how to make them."""
    (name,) = SERVICES[service]["secrets"]
    file = COMPOSE["secrets"][name]["file"].removeprefix("./")

    assert f"docker/{file}" in EXAMPLE
    assert "docker/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert f"/run/secrets/{name}" in json.dumps([SERVICES[service].get("environment"), CONFIG])


def test_grafana_is_not_open():
    """It has no password of its own making, no visitors and no registration."""
    environment = SERVICES["grafana"]["environment"]

    assert "GF_SECURITY_ADMIN_PASSWORD" not in environment
    assert "/run/secrets/grafana-password" == environment["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert ("false", "false") == tuple(
        environment[f"GF_{name}"] for name in ("AUTH_ANONYMOUS_ENABLED", "USERS_ALLOW_SIGN_UP")
    )


def test_grafana_finds_its_source_and_its_dashboard():
    """What is provisioned is where the container has it."""
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/murmuration.yaml").read_text())["providers"]
    places = mounted("grafana")
    port = SERVICES["prometheus"]["ports"][0].rpartition(":")[2]

    assert f"http://prometheus:{port}" == source["url"]
    assert CONFIG["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]
    assert GRAFANA / "dashboards" == places[provider["options"]["path"]]
    assert GRAFANA / "provisioning" == places["/etc/grafana/provisioning"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (GRAFANA / "dashboards" / home.rpartition("/")[2]).is_file()
