"""Compiled programs that are kept whole from run to run, and found again without tracing their functions.

JAX's own cache of programs spares a run the compiler and not the tracing, which for a deep network takes seconds
(docs/speed.md).

An entry says, for all that decides what a function computes, which program it was compiled to. The program is found by
what was traced, too: after a change of the code that leaves a function as it was, JAX reads the program from its own
cache, and what it has read cannot be kept (see `compile_program`).
"""

import functools
import hashlib
import pathlib
import pickle
import re
import threading
from typing import NamedTuple

import jax
from jax.experimental import serialize_executable

from ssdkd_jax import source
from ssdkd_jax.files import digest_of, write_if_possible

# Variable of the shell: 1 has the programs of runs kept, as the command line does where it is not set; 0 has none kept.
KEEP_PROGRAMS = "SSDKD_JAX_KEEP_PROGRAMS"
_CHECKSUM_BYTES = hashlib.sha256().digest_size
# What an entry says: the name of a program.
_PROGRAM = re.compile(rb"[0-9a-f]{20}\.program")
# What JAX tells of, in the thread that compiles, when it has compiled a program and written it to its own cache.
_COMPILED_ANEW = "/jax/compilation_cache/cache_misses"


def cache_folder() -> pathlib.Path | None:
    """The folder of JAX's compiled programs, and of what is kept beside them; None where it is not on a disk."""
    folder = jax.config.jax_compilation_cache_dir
    kept = folder and "://" not in folder and jax.config.jax_enable_compilation_cache
    return pathlib.Path(folder) if kept else None


class KeptPrograms(NamedTuple):
    """Where the programs of a run are kept.

    Whoever can write into the folder can have a run do anything: programs are machine code, and pickled.

    folder: of entries and programs.
    traced_from: digest of all that decides what the run's functions compute, beside the shapes of their arguments.
    compiled_for: digest of all that decides what a compiler makes of what was traced.
    devices: list of devices that run the programs.
    """

    folder: pathlib.Path
    traced_from: str
    compiled_for: str
    devices: list

    def entry(self, name: str, args: tuple) -> pathlib.Path:
        """Path of the entry of a function, which need not be there.

        Args:
          name: of the function, unique within the run.
          args: its arguments, arrays or shapes with shardings.
        """
        leaves, structure = jax.tree.flatten(args)
        arguments = [[list(leaf.shape), str(leaf.dtype), str(getattr(leaf, "sharding", None))] for leaf in leaves]
        key = digest_of([self.traced_from, self.compiled_for, name, str(structure), arguments])
        return self.folder / f"{key[:20]}.entry"

    def read(self, entry: pathlib.Path, args: tuple) -> jax.stages.Compiled | None:
        """The program of an entry; None where there is none that can be loaded.  A damaged one is deleted.

        Args:
          entry: path, as above.
          args: as above.
        """
        try:
            name = entry.read_bytes()
            if not _PROGRAM.fullmatch(name):
                return None
            path = self.folder / name.decode()
            content = path.read_bytes()
            checksum, program = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
            if hashlib.sha256(program).digest() != checksum:
                path.unlink()
                return None
        except OSError:
            return None
        on = {"backend": self.devices[0].client, "execution_devices": self.devices}
        try:
            found = serialize_executable.deserialize_and_load(*pickle.loads(program), **on)
            return found if found.in_tree == jax.tree.structure((args, {})) else None
        except Exception:  # whatever a class that has moved, or the platform, raises: the function is compiled again
            return None

    def keep(self, entry: pathlib.Path, lowered: jax.stages.Lowered, options: dict, serialized: bytes | None) -> None:
        """Keeps a program, where the folder allows it, and writes its entry.

        Args:
          entry: path, as above.
          lowered: what was compiled.
          options: compiler options.
          serialized: the program as `compile_program` gives it; where that is None, one that was kept before may do.
        """
        path = self.folder / f"{self._key(lowered, options) or entry.stem}.program"
        if serialized:
            content = hashlib.sha256(serialized).digest() + serialized
            write_if_possible(path, lambda file: file.write(content))
        # What was imported while somebody wrote the files may be none of the source that the entry is for.
        if path.is_file() and source.is_unchanged():
            write_if_possible(entry, lambda file: file.write(path.name.encode()))

    def _key(self, lowered, options):
        """Digest of what was traced, and of what its text does not have; None where JAX does not say."""
        try:
            # The text has only the arguments that are used, and not which those are.
            used = sorted(lowered._lowering.compile_args["kept_var_idx"])
            options = [sorted(options.items()), sorted(lowered._lowering._compiler_options_kvs)]
            structure = str((lowered.in_tree, lowered.out_tree))
            return digest_of([self.compiled_for, structure, used, options, lowered.as_text()])[:20]
        except (AttributeError, KeyError, TypeError):
            return None


def compile_program(
    lowered: jax.stages.Lowered, options: dict, to_keep: bool
) -> tuple[jax.stages.Compiled, bytes | None]:
    """Compiles a program, and serializes it where it can be kept.

    XLA:CPU cannot serialize programs that have run.  What JAX has read from its own cache it serializes without some of
    their functions, which would be missed when they run.

    Args:
      lowered: the program.
      options: compiler options.
      to_keep: whether it is to be kept.

    Returns:
      (the program, its bytes for `KeptPrograms.keep` or None).
    """
    seen = _seen_in_thread()
    seen.compiled_anew = False
    compiled = lowered.compile(options)
    if not (to_keep and seen.compiled_anew):
        return compiled, None
    try:
        return compiled, pickle.dumps(serialize_executable.serialize(compiled))
    except Exception:  # whatever the platform raises: the next run compiles again
        return compiled, None


@functools.cache
def _seen_in_thread() -> threading.local:
    seen = threading.local()

    def note(event, **_):
        if event == _COMPILED_ANEW:
            seen.compiled_anew = True

    jax.monitoring.register_event_listener(note)
    return seen
