"""The results file of experiments.exactness.  Needs torch."""

import pathlib
from collections.abc import Sequence

import jax

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import expand, write_at_once
from ssdkd_jax.jobs import provenance
from ssdkd_jax.models import create_model, model_names
from ssdkd_jax.reports.results_files import read_result

KIND = "exactness"


def check_asked(networks: Sequence[str], checkpoints: Sequence[str]) -> None:
    """Makes sure that everything can be measured, before the first takes minutes.

    Args:
      networks: names as for `create_model`.
      checkpoints: paths of PyTorch files, which results know by their names without folders.

    Raises:
      UserError: a network that is none of this package's classifiers, a file that is not there, or two of one name.
    """
    for name in networks:
        try:
            create_model(name)
        except UserError as error:
            raise UserError(f"--networks: {error}") from error
        if name not in model_names("classification"):
            raise UserError(
                f"--networks: {name} has no definition to compare with; expected a classifier of this package"
            )
    paths = [expand(path) for path in checkpoints]
    for path in paths:
        if not path.is_file():
            raise UserError(f"there is no file {path}; expected PyTorch files: --checkpoints=FILE,FILE")
    names = [path.name for path in paths]
    for flag, given in (("networks", list(networks)), ("checkpoints", names)):
        repeated = next((name for name in given if given.count(name) > 1), None)
        if repeated:
            raise UserError(f"--{flag} has {repeated} twice, expected each name once")


def check_keeps_results(out: pathlib.Path, networks: Sequence[str], checkpoints: Sequence[str]) -> None:
    """Raises UserError where the file of results has some of networks or checkpoints that are not measured now.

    Args:
      out: the JSON file.
      networks: names of the networks that are measured.
      checkpoints: paths of PyTorch files, as of `check_asked`.
    """
    fix = "choose another file: --out=FILE.json"
    found = read_result(out, fix) if out.exists() else {}
    measured = {"networks": set(networks), "checkpoints": {pathlib.Path(path).name for path in checkpoints}}
    for entry, names in measured.items():
        others = [name for name in found.get(entry, {}) if name not in names]
        if others:
            raise UserError(
                f"{out} has results of {others[0]}, which this command does not measure and would remove; {fix}"
            )


def write(out: pathlib.Path, command: str, networks: dict, checkpoints: dict) -> None:
    """Writes what was found.

    Args:
      out: the JSON file.
      command: the command line.
      networks: name -> what `interop.exactness.compare` returns.
      checkpoints: name of the file -> its architecture and accuracies.
    """
    import torch

    made_with = provenance.made_with(jax.local_devices())
    made_with["versions"]["torch"] = torch.__version__
    result = {
        "kind": KIND,
        "command": command,
        **made_with,
        "networks": networks,
        "checkpoints": checkpoints,
    }
    write_at_once(out, result)
