"""A program that an earlier run has kept is found without tracing, and is the same program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ssdkd_jax import source
from ssdkd_jax.errors import UserError
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.compilation import CompileOnce
from ssdkd_jax.training.devices import pmap, spread
from ssdkd_jax.training.kept_programs import KeptPrograms
from tests.caches import cache_in, wait_until_written

DEVICES = jax.devices()[:2]


@pytest.fixture(autouse=True)
def cache_of_jax(tmp_path, monkeypatch):
    """An empty one, as before a first run; a later one may find what this one has compiled."""
    # As if nobody edited the package while this runs.
    monkeypatch.setattr(source, "is_unchanged", lambda: True)
    with cache_in(tmp_path / "cache"):
        yield


@pytest.fixture
def kept(tmp_path):
    return KeptPrograms(tmp_path / "programs", "settings", "machine", DEVICES)


def run(kept, size=4, name="step", factor=2.0, check=lambda compiled: None):
    """(times traced, result, CompileOnce, its first argument) of a pmapped program of a new process, so to speak."""
    traces = []

    def step(x, key):
        traces.append(x.shape)
        return factor * x + jax.random.normal(jax.random.fold_in(key, jax.lax.axis_index("devices")), x.shape)

    pmapped = pmap(step, DEVICES, in_axes=(0, None), donate_argnums=0)
    program = CompileOnce(pmapped, Clock(), check, name=name, kept=kept)
    state = spread(np.arange(size, dtype=np.float32), DEVICES)
    result = np.asarray(program(state, jax.random.key(3)))
    wait_until_written()
    return len(traces), result, program, state


def test_the_second_run_traces_nothing_and_computes_the_same_bits(kept):
    traced, first, before, _ = run(kept)
    again, second, program, state = run(kept)
    assert (traced, again) == (1, 0)
    assert_array_equal(first, second)
    assert state.is_deleted(), "its argument is donated as before"
    assert program.memory_bytes() == before.memory_bytes()


def test_what_is_kept_is_checked_too(kept):
    checked = []
    for _ in range(2):
        run(kept, check=lambda compiled: checked.append(compiled.memory_analysis().temp_size_in_bytes))
    assert len(checked) == 2 and checked[0] == checked[1]


def test_another_shape_name_or_digest_is_another_program(kept):
    run(kept)
    assert run(kept, size=6)[0] == 1
    assert run(kept, name="another", factor=3.0)[0] == 1
    traced, result, _, _ = run(kept._replace(traced_from="other settings"), factor=4.0)
    assert traced == 1 and not np.array_equal(result, run(kept)[1])
    assert len(programs_in(kept)) == 4


def test_an_argument_on_other_devices_is_another_program(kept):
    x = np.zeros(3, np.float32)
    assert kept.entry("step", (spread(x, DEVICES),)) != kept.entry("step", (spread(x, jax.devices()[:4]),))
    assert kept.entry("step", (jnp.zeros(3),)) != kept.entry("step", (jnp.zeros(3, jnp.int32),))
    assert kept.entry("step", ({"a": x},)) != kept.entry("step", ({"b": x},))


def programs_in(kept):
    return list(kept.folder.glob("*.program"))


def test_what_jax_had_in_its_own_cache_is_not_kept(kept):
    """Which the platform could not serialize whole: it would fail when it is run."""
    assert run(None)[0] == 1
    assert run(kept)[0] == 1 and not programs_in(kept)
    assert run(kept)[0] == 1


def test_what_an_earlier_version_of_the_code_has_kept_is_found_by_what_was_traced(kept):
    _, first, _, _ = run(kept)
    newer = kept._replace(traced_from="other code")
    assert [run(newer)[0] for _ in range(2)] == [1, 0]
    assert_array_equal(run(newer)[1], first)
    assert len(programs_in(kept)) == 1
    elsewhere = kept._replace(compiled_for="another")
    assert [run(elsewhere)[0] for _ in range(2)] == [1, 1], "which JAX has read from its own cache"


def test_a_program_under_other_compiler_options_is_another(kept):
    first = CompileOnce(jax.jit(jnp.sin), Clock(), kept=kept._replace(devices=DEVICES[:1]))
    first(jnp.ones(3))
    options = {"xla_backend_optimization_level": 1}
    second = CompileOnce(
        jax.jit(jnp.sin, compiler_options=options),
        Clock(),
        kept=kept._replace(devices=DEVICES[:1], traced_from="other source"),
    )
    second(jnp.ones(3))
    wait_until_written()
    assert len(programs_in(kept)) == 2


def test_without_a_cache_of_jax_nothing_is_kept(kept):
    with cache_in(None):
        assert run(kept)[0] == 1 and not programs_in(kept)


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:1000], lambda whole: whole[:-1] + b"?"])
def test_a_damaged_program_is_compiled_anew_and_replaced(kept, tmp_path, damage):
    _, first, _, _ = run(kept)
    (place,) = programs_in(kept)
    place.write_bytes(damage(place.read_bytes()))
    for _ in range(2):
        traced, again, _, _ = run(kept)
        assert traced == 1 and not programs_in(kept), "which JAX has read from its own cache"
        assert_array_equal(first, again)
    with cache_in(tmp_path / "another"):
        assert [run(kept)[0] for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("damage", [b"", b"0123456789abcdef0123.program", b"\xff\xfe", b"\0", b"../a.program"])
def test_a_damaged_entry_is_written_anew(kept, damage):
    run(kept)
    (entry,) = kept.folder.glob("*.entry")
    entry.write_bytes(damage)
    assert [run(kept)[0] for _ in range(2)] == [1, 0]


def test_a_program_that_takes_other_arguments_is_not_run(kept):
    """As if two digests were the same."""
    run(kept)
    (entry,) = kept.folder.glob("*.entry")
    assert kept.read(entry, (jnp.ones(3),)) is None
    assert run(kept)[0] == 0


def test_programs_that_use_other_arguments_are_not_one(kept):
    """The text of what was traced has the arguments that are used alone, so it is the same."""
    for _ in range(2):
        for number, function in enumerate((lambda a, b: a + 1, lambda a, b: b + 1)):
            of = kept._replace(devices=DEVICES[:1], traced_from=str(number))
            program = CompileOnce(jax.jit(function), Clock(), kept=of)
            assert_array_equal(program(jnp.zeros(3), jnp.ones(3)), np.full(3, 1 + number))
            wait_until_written()


def test_nothing_is_kept_of_source_that_has_changed_since_it_was_imported(kept, monkeypatch):
    monkeypatch.setattr(source, "is_unchanged", lambda: False)
    assert [run(kept)[0] for _ in range(2)] == [1, 1]
    assert not list(kept.folder.glob("*.entry"))


def test_no_lock_and_nothing_unfinished_is_left(kept):
    run(kept)
    assert sorted(path.suffix for path in kept.folder.iterdir()) == [".entry", ".program"]


def test_where_nothing_can_be_kept_the_program_runs_all_the_same(tmp_path):
    (tmp_path / "file").write_text("in the folder's place")
    kept = KeptPrograms(tmp_path / "file", "settings", "machine", DEVICES)
    assert [run(kept)[0] for _ in range(2)] == [1, 1]
    assert [run(None)[0] for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("size", [3, 100_000])
def test_an_array_of_a_functions_own_is_part_of_its_program(kept, size):
    for number in range(2):
        table = jnp.arange(number, size + number, dtype=jnp.float32)
        of = kept._replace(devices=DEVICES[:1], traced_from=str(number))
        for _ in range(2):
            program = CompileOnce(jax.jit(lambda x, table=table: x + table), Clock(), kept=of)
            assert_array_equal(program(jnp.ones(size)), 1 + table)
            wait_until_written()


def test_a_program_that_was_found_is_refused_where_it_has_no_room(kept):
    run(kept)

    def refuse(compiled):
        raise UserError("there is too little memory")

    with pytest.raises(UserError, match="too little memory"):
        run(kept, check=refuse)
