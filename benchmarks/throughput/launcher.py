"""Runs one command and says what it cost; run as ``python -I -S launcher.py``.

It has to be small. A process takes over the peak memory of the one it was forked from, and keeps it
through exec (so does a vforked one): started from a benchmark of 200 MB, `/bin/true` would count as
200 MB. From here it counts as this interpreter, some 5 MB; what the command needs above that is
told right. Nothing is imported before the fork that the fork does not need.

Descendants that outlive the command are waited for too, and counted: this process adopts them.

Arguments: CPU number or "-", time limit in seconds, files for the command's standard output and
error, the command. On standard output: exit code, wall seconds, user and system seconds, peak
memory of the largest process in kB, each on a line. The exit code is 124 when time was up.
"""

import os
import signal
import sys
import time

_TIMED_OUT = 124


def _become(cpu: str, output: str, error: str, command: list[str]) -> None:
    """In the child: turn into the command."""
    try:
        os.setsid()
        if cpu != "-":
            os.sched_setaffinity(0, {int(cpu)})
        for path, descriptor in ((os.devnull, 0), (output, 1), (error, 2)):
            flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(path, flags, 0o600), descriptor)
        os.execvp(command[0], command)
    except OSError as failure:
        os.write(2, f"{command[0]}: {failure.strerror}\n".encode())
    finally:
        os._exit(127)


def main() -> None:
    """Run the command, wait for it and for what it left behind, and report."""
    cpu, limit_s, output, error, *command = sys.argv[1:]
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(cpu, output, error, command)

    timed_out = False

    def end(_signal: int, _frame: object) -> None:
        nonlocal timed_out
        timed_out = True
        os.killpg(child, signal.SIGKILL)

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    signal.setitimer(signal.ITIMER_REAL, float(limit_s))

    import ctypes
    import resource

    # PR_SET_CHILD_SUBREAPER: orphans below this process become its children.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    _, status = os.waitpid(child, 0)
    wall_s = time.monotonic() - begun
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = _TIMED_OUT if timed_out else os.waitstatus_to_exitcode(status)
    print(code, wall_s, used.ru_utime, used.ru_stime, used.ru_maxrss, sep="\n")


if __name__ == "__main__":
    main()
