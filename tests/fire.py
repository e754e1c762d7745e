"""A long run under fire: stopped at random moments and resumed each time, it must end with the very same student.

    python -m tests.fire --epochs=500 --kills=20 --full_disks=20 --workdir=/tmp/fire --out=results/fire.json

Runs the digits undisturbed, watching its memory, then with SIGKILLs at random moments of random epochs, whatever the
program does then, and then on a disk that fills up at such moments, a tmpfs that takes root to mount.  Exit status 0
only if all end with the same bits, the memory stays flat, and every full disk ended with one line and status 2.
"""

import argparse
import contextlib
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time

from tests import facts_file, tiny_job

FIELDS = {"baselines": (), "checkpoint_every": 5, "evaluate_every": 10, "ssdkd__kd_steps": 20, "teacher__epochs": 10}
# Growth of the resident memory, from the second tenth of the epochs to the last, that counts as flat.
FLAT = 1.05


def watched(process, workdir):
    """A thread that notes [(epochs done, resident megabytes)] until the process ends, and that list."""
    found, status = [], pathlib.Path(f"/proc/{process.pid}/status")

    def watch():
        while process.poll() is None:
            done = len(tiny_job.epochs_done(workdir))
            try:
                resident = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
            except (OSError, StopIteration):  # it has just ended
                return
            found.append((done, int(resident.split()[1]) / 1000))
            time.sleep(0.1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread, found


def run(arguments):
    """The whole job, undisturbed: [(epochs done, resident megabytes)]."""
    workdir = next(argument.partition("=")[2] for argument in arguments if argument.startswith("--workdir="))
    process = tiny_job.start(arguments)
    thread, found = watched(process, workdir)
    out, err = process.communicate()
    thread.join()
    if process.returncode:
        sys.exit(f"exit status {process.returncode}: {out[-500:]} {err[-500:]}")
    return found


def kill_once(arguments, workdir, epoch, delay):
    """Starts the job, and kills it so many seconds after an epoch is done; the epochs that were done then."""
    process = tiny_job.start(arguments)
    while len(tiny_job.epochs_done(workdir)) < epoch:
        if process.poll() is not None:
            sys.exit(f"ended by itself: {process.communicate()}")
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        sys.exit("it had ended before it could be killed: more --epochs")
    return len(tiny_job.epochs_done(workdir))


def under_fire(arguments, workdir, epochs, kills, rng):
    """Kills the job at random moments, in the order of the epochs, and lets it end; the epochs after which it did."""
    # Epochs take milliseconds, so that some are done before a kill arrives.
    moments, killed = sorted(rng.sample(range(1, round(0.9 * epochs)), kills)), []
    for number, epoch in enumerate(moments, start=1):
        killed.append(kill_once(arguments, workdir, epoch, rng.uniform(0.0, 0.3)))
        print(f"kill {number} of {kills}: after epoch {killed[-1]}", flush=True)
    run(arguments)
    return killed


@contextlib.contextmanager
def small_disk(folder):
    """Mounts a tmpfs that a run of the digits hardly fills."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True)
    if mount.returncode:
        sys.exit(f"no tmpfs can be mounted at {folder}, as root can: {mount.stderr.strip()}; or --full_disks=0")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill_once(arguments, workdir, epoch):
    """Starts the job, and fills its disk from when an epoch is done until it ends; the epochs that were done then."""
    process, filler = tiny_job.start(arguments), workdir.parent / "filler"
    while len(tiny_job.epochs_done(workdir)) < epoch and process.poll() is None:
        time.sleep(0.01)
    with filler.open("wb", buffering=0) as file:
        while process.poll() is None:  # it may still delete something
            try:
                file.write(bytes(4096))
            except OSError:
                time.sleep(0.01)
    _, err = process.communicate()
    filler.unlink()
    if process.returncode != 2 or not err.startswith("error: ") or not re.search("No space left|disk", err):
        sys.exit(f"exit status {process.returncode} on a full disk, expected 2 and a line that says so: {err[-500:]}")
    return len(tiny_job.epochs_done(workdir))


def on_full_disks(fields, folder, teachers, times, rng):
    """Fills a run's disk at random moments, and lets it end; (its summary's student, epochs logged, when full)."""
    workdir, epochs = folder / "run", fields["epochs"]
    with small_disk(folder):
        arguments, filled = tiny_job.arguments(workdir, teachers, **fields), []
        for number, epoch in enumerate(sorted(rng.sample(range(1, round(0.9 * epochs)), times)), start=1):
            filled.append(fill_once(arguments, workdir, epoch))
            print(f"full disk {number} of {times}: after epoch {filled[-1]}", flush=True)
        run(arguments)
        return tiny_job.summary(workdir)["student_sha256"], tiny_job.epochs_done(workdir), filled


def growth(memory, epochs):
    """(median megabytes in the second tenth of the epochs, in the last tenth)."""
    early = [size for done, size in memory if 0.1 * epochs <= done < 0.2 * epochs]
    late = [size for done, size in memory if done >= 0.9 * epochs]
    if not (early and late):
        sys.exit("too short to watch the memory: more --epochs")
    return statistics.median(early), statistics.median(late)


def main():
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--full_disks", type=int, default=0, help="takes root, to mount a small one")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, help="JSON file for what was found")
    options = parser.parse_args()
    if options.kills < 1:
        parser.error(f"--kills is {options.kills}, expected 1 or more")
    out = facts_file.check(options.out)
    fields, teachers = {**FIELDS, "epochs": options.epochs}, options.workdir / "teachers"
    whole, parts = options.workdir / "whole", options.workdir / "parts"
    early, late = growth(run(tiny_job.arguments(whole, teachers, **fields)), options.epochs)
    print(f"undisturbed: {early:.0f} MB early, {late:.0f} MB at the end", flush=True)
    flat = late <= FLAT * early
    arguments = tiny_job.arguments(parts, teachers, **fields)
    killed = under_fire(arguments, parts, options.epochs, options.kills, random.Random(options.seed))
    facts = {"kills": f"{options.kills}, after epochs {min(killed)} to {max(killed)} of {options.epochs}"}
    students, logs = [tiny_job.summary(parts)["student_sha256"]], [tiny_job.epochs_done(parts)]
    if options.full_disks:
        disk, rng = options.workdir / "disk", random.Random(options.seed)
        student, log, filled = on_full_disks(fields, disk, teachers, options.full_disks, rng)
        facts["full disks"] = f"{options.full_disks}, after epochs {min(filled)} to {max(filled)} of {options.epochs}"
        students.append(student)
        logs.append(log)
    expected = tiny_job.summary(whole)["student_sha256"]
    same = all(student == expected for student in students)
    lines = all(log == list(range(1, options.epochs + 1)) for log in logs)
    bits = f"the same bits as undisturbed (sha256 {expected[:12]})" if same else f"**{students}, not {expected}**"
    facts |= {
        "student": bits,
        "log": "every epoch once" if lines else "**not every epoch once**",
        "resident memory, undisturbed": f"{early:.0f} MB in the second tenth of its epochs, {late:.0f} MB in the last"
        + ("" if flat else ": **it grows**"),
        "seed of the moments": str(options.seed),
    }
    print("\n".join(f"{what}: {found}" for what, found in facts.items()))
    if out:
        facts_file.write(out, "tests.fire", facts)
    sys.exit(0 if same and lines and flat else 1)


if __name__ == "__main__":
    main()
