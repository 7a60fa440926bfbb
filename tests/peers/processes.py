"""Starting, watching and stopping the processes of one test run, each by its own pid."""

import pathlib
import signal
import socket
import subprocess
import time


# Far more than anything here takes that works: who waits so long has found a broken promise, not a slow machine.
PATIENCE = 60
reserved = []


def free_port() -> int:
    """A port of 127.0.0.1 for a server of ours.

    It stays bound here, without listening, until the tests end: nobody is given it by chance, a connection to it
    is refused, and a server that sets SO_REUSEADDR (all of ours do) can take it.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    reserved.append(holder)
    return holder.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen, log: pathlib.Path, seconds: float = PATIENCE) -> None:
    """Returns when somebody listens on the port; fails when the process ends first."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(f"{process.args} ended with {process.returncode}: {log.read_text(errors='replace')[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"{process.args} does not listen on port {port}: {log.read_text(errors='replace')[-2000:]}")


def stop(process: subprocess.Popen, seconds: float = PATIENCE) -> int:
    """SIGTERM, a wait, SIGKILL; the exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def descendants(pid: int) -> dict[int, str]:
    """The command line of every process below this one, by pid."""
    parents, commands = {}, {}
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
    found, queue = {}, [pid]
    while queue:
        parent = queue.pop()
        children = [child for child, above in parents.items() if above == parent]
        found.update((child, commands.get(child, "")) for child in children)
        queue.extend(children)
    return found


def running(pids) -> list[int]:
    """Those that have not ended. One that only waits to be collected by its parent has."""
    found = []
    for pid in pids:
        try:
            state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found


def wait_until(holds, what: str, seconds: float = PATIENCE):
    """Returns the first true answer of `holds()`; fails when there is none in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := holds():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")
