"""Which experiment a run's folder is of: the values that decide its result, noted in experiment.json."""

import json
import os
import pathlib
import shlex

from flax.traverse_util import flatten_dict

from ssdkd_jax import data
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import digest_of, expand, read_object, write_at_once
from ssdkd_jax.jobs import config_checks, run_folder
from ssdkd_jax.jobs.teacher import file_digest
from ssdkd_jax.methods import METHODS, section_of
from ssdkd_jax.outputs import EXPERIMENT
from ssdkd_jax.user_code import absolute, is_user_code

# Fields that say where and how often, and change nothing about the result.
PLACE_FIELDS = (
    *("data_dir", "devices", "checkpoint_every", "evaluation_batch_size", "export_torch", "allow_weak_teacher"),
    "distributed",
)
# Entry of EXPERIMENT with the digests of a user's own files, which can change under the same name.
CODE = "code_sha256"
# Field that says whether a teacher is given ("" trains one).
TEACHER = "teacher.path"
# What to do about a folder that does not say of which run it is.
UNCHANGED = "nothing was changed; choose another --workdir=DIR"


def identity(config):
    """What decides the result of a run: plain values, as its folder notes them (`claim`).

    Args:
      config: ConfigDict, its values checked, with the warm-up that its epochs leave room for.
    """
    values = json.loads(config.to_json())
    for field in PLACE_FIELDS:
        del values[field]
    del values["teacher"]["cache_dir"]
    names = {"method": config.method, "dataset": config.dataset}
    names |= {"teacher": config.teacher.name, "student": config.student.name}
    if config.epochs == 0:
        unread = [name for name in values if name not in config_checks.READ_WITHOUT_EPOCHS]
    else:
        unread = [name for name in values if name in METHODS and name != section_of(config.method)]
    decides = {name: value for name, value in values.items() if name not in unread}
    digests = {field: file_digest(name) for field, name in names.items() if field in decides and is_user_code(name)}
    return decides | ({CODE: digests} if digests else {})


def claim_for(config, folder, *, write=True):
    """`claim` of a config's run, in which fields without effect may differ.

    Their flags are refused, so nobody could be told to repeat them.
    """
    decides = identity(config)
    fields = flatten_dict({name: value for name, value in decides.items() if name in config}, sep=".")
    unread = config_checks.without_effect(config, fields)
    claim(folder, decides, unread=unread, write=write)


def claim(workdir, identity, *, unread=(), write=True):
    """Makes sure that the folder belongs to this experiment.

    That of a teacher's evaluation (epochs=0) becomes the folder of a run with the same teacher.

    Args:
      workdir: existing folder.
      identity: nested dict of plain values that decide the result.
      unread: names of its fields, such as "teacher.epochs", that decide nothing beside the others.
      write: whether to note the identity where there is none yet.

    Raises:
      UserError: it belongs to another, whose first field that differs is named; nothing says to which it belongs.
    """
    path = pathlib.Path(workdir) / EXPERIMENT
    found = [] if path.exists() else [name for name in run_folder.OWN if (pathlib.Path(workdir) / name).exists()]
    if found:
        raise UserError(f"{workdir} holds {', '.join(found)}, but no {EXPERIMENT} that says of which run; {UNCHANGED}")
    identity = in_full(json.loads(json.dumps(identity)))
    there, here = (flatten_dict(tree, sep=".") for tree in (in_full(noted(workdir)), identity))
    for field in _to_compare(there, here, unread) if path.exists() else ():
        if there.get(field) != here.get(field):
            raise UserError(f"the workdir {workdir} belongs to another experiment: {_difference(field, there, here)}")
    # What is noted already stays to the letter, since checkpoints know their run by its digest.
    if write and (not path.exists() or there.get("epochs") != here.get("epochs")):
        write_at_once(path, identity)


def noted(workdir):
    """The identity that `claim` has noted in a folder; {} where there is none.

    Raises:
      UserError: it is damaged.
    """
    path = pathlib.Path(workdir) / EXPERIMENT
    if not path.exists():
        return {}
    identity = read_object(path, UNCHANGED)
    if not identity:
        raise UserError(f"{path} is damaged: it says nothing; {UNCHANGED}")
    if not isinstance(identity.get("teacher", {}), dict):
        raise UserError(f"{path} is damaged: its teacher is {identity['teacher']!r}, expected an object; {UNCHANGED}")
    return identity


def _to_compare(there, here, unread):
    """Fields that must be the same in two flat identities, in the order in which differences are told."""
    evaluated, evaluates = (identity.get("epochs") == 0 for identity in (there, here))
    if evaluated == evaluates:
        fields = there.keys() | here.keys()
    else:  # an evaluation knows the fields of its teacher only
        fields = there.keys() & here.keys() - {"epochs"} if evaluated else {"epochs"}
    # The method and where the teacher comes from decide which other fields are read, and networks by name whether there
    # is code of theirs.
    first = ("method", TEACHER)
    return sorted(fields - set(unread), key=lambda field: (field.startswith(CODE), field not in first, field))


def in_full(identity):
    """An identity whose paths are written from the root on, the same in every directory, without a slash at the end."""
    identity = with_whole_paths(identity)
    teacher, dataset = identity.get("teacher", {}), str(identity.get("dataset"))
    if teacher.get("path"):
        identity["teacher"] = {**teacher, "path": os.path.abspath(expand(teacher["path"]))}
    if folder := data.folder_of(dataset):
        identity["dataset"] = f"{dataset.partition(':')[0]}:{folder}"
    return identity


def _difference(field, there, here):
    """In which field two flat identities differ, and what to do, in words."""
    another = "choose another --workdir=DIR"
    if field.startswith(CODE) and field in there and field in here:
        of = field.removeprefix(f"{CODE}.")
        name = here.get(of) or here.get(f"{of}.name")
        return (
            f"{name} has changed since (sha256 {there[field][:12]} there and {here[field][:12]} here); {another}, or "
            "put the file back as it was"
        )
    # The fields of one method differ between versions only.
    if field not in there:
        return f"it was made by a version of ssdkd_jax that had no {field} yet; {another}, or run it with that version"
    if field not in here:
        return f"it was made by a version of ssdkd_jax that had {field}={there[field]!r}; {another}"
    planned = "; a run's schedule is planned for all its epochs" if field == "epochs" else ""
    repeat = "" if there[field] is None else _to_repeat(field, there, here)
    return f"{field} is {there[field]!r} there and {here[field]!r} here{planned}; {another}{repeat}"


def _to_repeat(field, there, here):
    """How to run with the settings there, in words."""
    fields, instead = [field], ""
    if field == TEACHER and not there[TEACHER]:
        # With a teacher that is given, those of its training had no effect here.
        own = sorted(name for name in there.keys() & here.keys() - {TEACHER} if name.startswith("teacher."))
        fields += [name for name in own if there[name] != here[name]]
        instead = ", in place of the teacher that is given"
    elif field == TEACHER and not here[TEACHER]:
        instead = ", without flags of a teacher's training"
    flags = " ".join(shlex.quote(f"--config.{name}={there[name]}") for name in fields)
    return f", or repeat its settings: {flags}{instead}"


def digest(workdir):
    """Digest of what `claim` has noted and what decides the distillation, which baselines do not."""
    noted = {**read_object(pathlib.Path(workdir) / EXPERIMENT), "baselines": None}
    return digest_of(noted)


def with_whole_paths(value):
    """Names of user code with their paths from the root on, so that a file has the same name in every directory."""
    if isinstance(value, dict):
        return {name: with_whole_paths(inner) for name, inner in value.items()}
    return absolute(value) if isinstance(value, str) and is_user_code(value) else value
