"""What the environment says about the processes of a job: by hand, by Slurm, or on the hosts of a TPU slice."""

import glob
import importlib.util
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

from ssdkd_jax.errors import UserError

COORDINATOR, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_TPU_HOSTS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
_METADATA = "http://{}/computeMetadata/v1/instance/attributes/worker-network-endpoints"


class Launch(NamedTuple):
    """How several processes come together.

    arguments: of `jax.distributed.initialize`.
    words: which process this is, such as "process 0 of 2".
    """

    arguments: dict[str, Any]
    words: str


def asked_for(wanted: str = "auto", environment: Mapping[str, str] = os.environ) -> Launch | None:
    """How this process joins others, or None where it runs alone.

    Args:
      wanted: "auto": if the environment asks for it; "on": it must; "off": never.
      environment: variables.

    Raises:
      UserError: the environment says half of it, or nothing where it must.
    """
    if wanted == "off":
        return None
    found = _by_hand(environment) or _by_slurm(environment) or _on_tpu(environment)
    if found is None and wanted == "on":
        raise UserError(
            "distributed=on, but the environment tells of no other process; set "
            f"{COORDINATOR}=HOST:PORT, {COUNT}=N and {INDEX}=0, 1, ... for each, start them by srun, or use "
            "--config.distributed=auto"
        )
    return found


def check_alone(program: str, environment: Mapping[str, str] = os.environ) -> None:
    """Raises UserError where the environment asks for several processes of a program that runs in one."""
    found = asked_for("auto", environment)
    if found:
        raise UserError(
            f"{program} runs in one process, but the environment tells of several ({found.words}); start it once, "
            f"without {COORDINATOR} or srun; only experiments.main runs in several"
        )


def _by_hand(environment):
    names = (COORDINATOR, COUNT, INDEX)
    missing = [name for name in names if not environment.get(name)]
    if len(missing) == 3:
        return None
    if missing:
        raise UserError(
            f"{' and '.join(sorted(set(names) - set(missing)))} is set, but {' and '.join(missing)} is not; expected "
            f"all three, such as {COORDINATOR}=10.0.0.1:1234 {COUNT}=2 {INDEX}=0, or none"
        )
    address, count, index = (environment[name] for name in names)
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"{COORDINATOR} is {address!r}, expected HOST:PORT of the first process")
    if not (count.isdecimal() and index.isdecimal() and int(index) < int(count)):
        raise UserError(f"{COUNT} is {count!r} and {INDEX} is {index!r}, expected numbers from 0 to {COUNT} - 1")
    if int(count) == 1:
        return None
    arguments = {"coordinator_address": address, "num_processes": int(count), "process_id": int(index)}
    return Launch({**arguments, "cluster_detection_method": "deactivate"}, f"process {index} of {count}")


def _by_slurm(environment):
    count, index = environment.get("SLURM_NTASKS", "1"), environment.get("SLURM_PROCID")
    # Without a step, this is the script of a batch job, or a shell.
    if index is None or "SLURM_STEP_NODELIST" not in environment or count == "1":
        return None
    return Launch({"cluster_detection_method": "slurm"}, f"process {index} of {count} (Slurm)")


def _on_tpu(environment):
    """None on a single host, where JAX needs no help."""
    hosts = next((environment[name] for name in _TPU_HOSTS if environment.get(name)), None)
    if hosts is None and "TPU_SKIP_MDS_QUERY" not in environment and _has_tpu():
        hosts = _hosts_from_metadata(environment)
    if hosts is None or hosts.count(",") == 0:
        return None
    return Launch({}, f"one of {hosts.count(',') + 1} processes (TPU hosts)")


def _has_tpu():
    chips = glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
    return bool(chips) and importlib.util.find_spec("libtpu") is not None


def _hosts_from_metadata(environment):
    """The hosts of this slice, separated by commas, as Google's metadata server says; None where there is none."""
    server = environment.get("GCE_METADATA_IP", "metadata.google.internal")
    request = urllib.request.Request(_METADATA.format(server), headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None
