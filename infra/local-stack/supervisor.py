"""Runs one command, and stops it with everything it has started when its owner ends.

The owner holds the other end of the supervisor's standard input and never writes to it. End of file
therefore means that the owner has ended in some way: the kernel closes the pipe even for a process
that was killed with -9. SIGTERM, SIGINT and SIGHUP stop the command as well. Afterwards nothing is
left: no process, and no directory named by --remove.

Uses the standard library only, because it also runs the installation of everything else. On other
kernels than Linux, processes that leave the command's process group can escape.
"""

import argparse
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_SECONDS = 10


def main() -> int:
    options = parse_arguments()
    become_session_leader()  # Ctrl-C in the terminal is for the owner only
    prctl = linux_prctl()
    # Descendants whose parent ends become children of the supervisor, which then finds them.
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake = wake_on_signals()
    command = start(options, prctl)

    status = wait_for_end(command.pid, wake, patience=None)
    if status is None:
        signal_command(command.pid, signal.Signals[options.stop_signal])
        status = wait_for_end(command.pid, wake, patience=options.stop_seconds)
    kill_the_rest(command.pid)
    for directory in options.remove:
        shutil.rmtree(directory, ignore_errors=True)
    return exit_code(status)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Runs a command until standard input ends.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--stop-signal", default="SIGTERM", help="asks the command to end")
    parser.add_argument("--stop-seconds", type=float, default=3, help="time until it is killed")
    parser.add_argument("--orphan-signal", default="SIGKILL", help="sent if the supervisor dies")
    parser.add_argument("--uid", type=int, help="user and group of the command")
    parser.add_argument("--remove", action="append", default=[], help="directory to delete")
    parser.add_argument("command", nargs="+", help="command and its arguments, after --")
    return parser.parse_args()


def become_session_leader() -> None:
    try:
        os.setsid()
    except PermissionError:
        pass  # already a session leader


def linux_prctl():
    if not sys.platform.startswith("linux"):
        return lambda *arguments: None
    libc = ctypes.CDLL(None)
    return lambda option, value: libc.prctl(option, value, 0, 0, 0)


def wake_on_signals() -> int:
    """Returns a descriptor that becomes readable when a signal arrives."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return readable


def start(options: argparse.Namespace, prctl) -> subprocess.Popen:
    supervisor = os.getpid()
    orphan_signal = signal.Signals[options.orphan_signal]

    def die_with_supervisor() -> None:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # ignored in a shell's background job
        # After the change of user, which would reset it.
        prctl(PR_SET_PDEATHSIG, orphan_signal)
        if os.getppid() != supervisor:
            os.kill(os.getpid(), signal.SIGKILL)

    user = {}
    if options.uid is not None:
        user = {"user": options.uid, "group": options.uid, "extra_groups": []}
    try:
        return subprocess.Popen(
            options.command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_supervisor,
            **user,
        )
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"failed to start {options.command[0]}: {error}")


def wait_for_end(pid: int, wake: int, patience):
    """Returns the command's wait status, or None on a request to stop or at the deadline."""
    deadline = None if patience is None else time.monotonic() + patience
    # While the command is being stopped, a further request changes nothing.
    sources = [wake, 0] if patience is None else [wake]
    while True:
        status = reap(pid)
        if status is not None:
            return status
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return None
        readable, _, _ = select.select(sources, [], [], left)
        if 0 in readable and not os.read(0, 4096):
            return None
        if wake in readable:
            signals = os.read(wake, 4096)
            if patience is None and any(number != signal.SIGCHLD for number in signals):
                return None


def reap(pid: int):
    """Reaps every process that has ended; returns the wait status of `pid` if it is one of them."""
    found = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if ended == 0:
            return found
        if ended == pid:
            found = status


def signal_command(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill_the_rest(command: int) -> None:
    try:
        os.killpg(command, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    deadline = time.monotonic() + KILL_SECONDS
    while (left := descendants()) and time.monotonic() < deadline:
        for pid in left:
            signal_command(pid, signal.SIGKILL)
        reap(command)
        time.sleep(0.01)


def descendants() -> list:
    children = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                    # pid (name) state ppid …; the name may itself hold parentheses.
                    parent = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, unseen = [], [os.getpid()]
    while unseen:
        below = children.get(unseen.pop(), [])
        found += below
        unseen += below
    return found


def exit_code(status) -> int:
    if status is None:
        return 1
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
