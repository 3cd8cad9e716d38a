"""The manifests for Kubernetes and the unit of systemd: accepted by their readers, and as the image needs them."""

import os
import re
import shutil
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

from connector.config.load import examine
from connector.config.worker import WORKER_OPTIONS
from connector.transforms.catalogue import CATALOGUE
from tests import ROOT
from tests.absent import skip

DOCKER = ROOT / "docker"
MANIFESTS = list(yaml.safe_load_all((DOCKER / "kubernetes" / "murmuration.yaml").read_text()))
BY_KIND = {each["kind"]: each for each in MANIFESTS}
UNIT = (DOCKER / "systemd" / "murmuration.service").read_text()
POD = BY_KIND["Deployment"]["spec"]["template"]
WORKER = POD["spec"]["containers"][0]
VERSIONS = ("1.30", "1.37")
"""Of Kubernetes: an old one and the newest that kubernetes-validate knows."""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", BY_KIND)
def test_kubernetes_accepts_the_manifests(kind, version):
    """By its own schemas, in which a field that does not exist is an error."""
    kubernetes_validate.validate(BY_KIND[kind], version, strict=True)


def test_the_schemas_refuse_what_is_wrong():
    """Else the test above would say nothing."""
    wrong = yaml.safe_load(
        yaml.safe_dump(BY_KIND["Deployment"]).replace("readOnlyRootFilesystem", "readOnlyFilesystem")
    )
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def settings_of(data, secrets):
    """What a worker reads from the ConfigMap *data*, with the mounted files in the folder *secrets*."""
    environ = {key: value.replace("/run/secrets/murmuration", str(secrets)) for key, value in data.items()}
    return examine(environ, secrets, CATALOGUE)


@pytest.fixture
def secrets(tmp_path):
    (tmp_path / "x-bearer-token").write_text("AAAAsynthetic\n")
    (tmp_path / "web-users").write_text("admin:opens-nothing\nprometheus:nor-this\n")
    return tmp_path


def test_the_settings_are_right(secrets):
    """A worker would start with them: no problem, no warning."""
    examined = settings_of(BY_KIND["ConfigMap"]["data"], secrets)

    assert ((), ()) == (examined.problems, examined.loaded.notices)


def test_a_pod_is_locked_as_the_image_allows():
    """Not root, nothing to write to, no capability, no token of Kubernetes; the user is that of the image."""
    (user, group) = re.search(r"^USER (\d+):(\d+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE).groups()
    security = POD["spec"]["securityContext"]

    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == WORKER["securityContext"]
    assert (True, int(user), int(group)) == (security["runAsNonRoot"], security["runAsUser"], security["runAsGroup"])
    assert POD["spec"]["automountServiceAccountToken"] is False


def test_a_pod_has_time_to_drain():
    """More than the worker takes for it."""
    limit = float(BY_KIND["ConfigMap"]["data"]["CONNECTOR_STOP_TIMEOUT_SECS"])

    assert POD["spec"]["terminationGracePeriodSeconds"] >= limit + 5
    assert float(WORKER_OPTIONS["stop_timeout_secs"].default) == limit


def test_what_selects_a_pod_finds_it():
    """Deployment, service, budget, policy and monitor name its labels and its port."""
    labels = POD["metadata"]["labels"]
    monitor = yaml.safe_load((DOCKER / "kubernetes" / "pod-monitor.yaml").read_text())
    selectors = [
        BY_KIND["Deployment"]["spec"]["selector"]["matchLabels"],
        BY_KIND["Service"]["spec"]["selector"],
        BY_KIND["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        BY_KIND["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        monitor["spec"]["selector"]["matchLabels"],
    ]
    ports = [
        BY_KIND["Service"]["spec"]["ports"][0]["targetPort"],
        BY_KIND["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"],
        monitor["spec"]["podMetricsEndpoints"][0]["port"],
        *(WORKER[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe")),
    ]
    (port,) = WORKER["ports"]

    assert [labels] * len(selectors) == selectors
    assert {port["name"]} == set(ports)
    assert BY_KIND["ConfigMap"]["data"]["CONNECTOR_WEB_PORT"] == str(port["containerPort"])


def test_a_probe_without_login_asks_ping_alone():
    """Every other route answers 401."""
    assert {"/ping"} == {WORKER[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")}


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_readiness_probe(secrets, tmp_path, status, code):
    """It logs in as the first user, and its exit code says what /ready says."""
    asked = tmp_path / "asked"
    server = (
        "import http.server, sys\n"
        "class Ready(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        open(sys.argv[1], 'w').write(self.path + ' ' + self.headers['Authorization'])\n"
        "        self.send_response(int(sys.argv[2])); self.end_headers()\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), Ready)\n"
        "print(server.server_port, flush=True); server.handle_request()\n"
    )
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", server, asked, str(status)], stdout=subprocess.PIPE, text=True
    ) as process:
        port = process.stdout.readline().strip()
        environ = {
            "CONNECTOR_WEB_USERS_FILE": str(secrets / "web-users"),
            "CONNECTOR_WEB_PORT": port,
            "PATH": os.defpath,
        }
        command = [sys.executable, *WORKER["readinessProbe"]["exec"]["command"][1:]]
        done = subprocess.run(command, env=environ, capture_output=True, timeout=60, check=False)  # noqa: S603

    assert code == done.returncode
    assert "/ready Basic YWRtaW46b3BlbnMtbm90aGluZw==" == asked.read_text()  # admin:opens-nothing


def systemd_analyze(*arguments):
    program = shutil.which("systemd-analyze")
    if program is None:
        skip("no `systemd-analyze` on the PATH (Debian's package `systemd`)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def unit(tmp_path):
    """The unit with the Python of the tests, as systemd looks whether the program is there."""
    path = tmp_path / "murmuration.service"
    path.write_text(UNIT.replace("/opt/murmuration/bin/python", sys.executable))
    return path


def test_systemd_accepts_the_unit(unit):
    """Without a word, so with no option that it does not know."""
    assert "" == systemd_analyze("verify", "--man=no", str(unit))


def test_systemd_calls_the_unit_safe(unit):
    """Of ten points for what a service could do beyond its work it has less than two."""
    said = systemd_analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(unit))

    assert "OK" in said


def test_the_unit_gives_a_worker_time_to_drain_and_does_not_repeat_what_is_wrong():
    """The limit is more than the worker's, and 78 is not started again."""
    (limit,) = re.findall(r"CONNECTOR_STOP_TIMEOUT_SECS=(\d+)", UNIT)

    assert int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)[1]) >= int(limit) + 5
    assert re.search(r"^RestartPreventExitStatus=78$", UNIT, re.MULTILINE)
