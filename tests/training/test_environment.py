"""What the environment asks for: nothing, a job by hand, Slurm's, or that of TPU hosts."""

import http.server
import threading

import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.training import environment
from ssdkd_jax.training.environment import asked_for, check_alone

BY_HAND = {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:1234", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
SLURM = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_STEP_NODELIST": "node[1-4]"}
NO_TPU = {"TPU_SKIP_MDS_QUERY": "1"}


def test_by_hand():
    found = asked_for(environment=BY_HAND)
    assert found.words == "process 1 of 2"
    assert found.arguments["coordinator_address"] == "10.0.0.1:1234"
    assert (found.arguments["num_processes"], found.arguments["process_id"]) == (2, 1)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {**BY_HAND, "JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"},
        {**SLURM, "SLURM_NTASKS": "1"},
        {name: value for name, value in SLURM.items() if name != "SLURM_STEP_NODELIST"},  # a batch job's script
        {"TPU_WORKER_HOSTNAMES": "localhost"},
    ],
)
def test_alone(variables):
    assert asked_for(environment={**NO_TPU, **variables}) is None
    check_alone("experiments.compare", {**NO_TPU, **variables})


def test_slurm_and_tpu_hosts():
    assert asked_for(environment=SLURM).words == "process 3 of 4 (Slurm)"
    assert asked_for(environment={"TPU_WORKER_HOSTNAMES": "a,b,c,d"}).words == "one of 4 processes (TPU hosts)"


@pytest.mark.parametrize(("hosts", "words"), [("a:0:10.0.0.1,b:1:10.0.0.2", "one of 2"), ("a:0:10.0.0.1", None)])
def test_hosts_of_the_metadata_server(monkeypatch, hosts, words):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.path.endswith("/worker-network-endpoints") and self.headers["Metadata-Flavor"] == "Google"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(hosts.encode())

        def log_message(self, *_):
            pass

    monkeypatch.setattr(environment, "_has_tpu", lambda: True)
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        found = asked_for(environment={"GCE_METADATA_IP": f"127.0.0.1:{server.server_port}"})
    assert found is None if words is None else words in found.words


def test_no_metadata_server_means_alone(monkeypatch):
    monkeypatch.setattr(environment, "_has_tpu", lambda: True)
    assert asked_for(environment={"GCE_METADATA_IP": "127.0.0.1:9"}) is None


def test_off_and_on():
    assert asked_for("off", BY_HAND) is None
    assert asked_for("on", BY_HAND) == asked_for("auto", BY_HAND)
    with pytest.raises(UserError, match="distributed=on, but the environment tells of no other process"):
        asked_for("on", NO_TPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"JAX_PROCESS_ID": ""}, "JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES is set, but JAX_PROCESS_ID is not"),
        ({"JAX_COORDINATOR_ADDRESS": "10.0.0.1"}, "is '10.0.0.1', expected HOST:PORT"),
        ({"JAX_COORDINATOR_ADDRESS": ":1234"}, "expected HOST:PORT"),
        ({"JAX_PROCESS_ID": "2"}, "JAX_NUM_PROCESSES is '2' and JAX_PROCESS_ID is '2'"),
        ({"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES is 'two'"),
    ],
)
def test_half_of_it_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        asked_for(environment={**BY_HAND, **changes})


def test_programs_of_one_process_say_so():
    with pytest.raises(UserError, match=r"experiments\.compare runs in one process, .* \(process 1 of 2\)"):
        check_alone("experiments.compare", BY_HAND)
