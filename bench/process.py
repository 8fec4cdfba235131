"""What a server has used, as Linux counts it: its process, and those that it has forked."""

from pathlib import Path

from tests.support.stores import StoreProcess


def family(pid: int) -> list[int]:
    """A process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads so far, of user and kernel, to the nanosecond; of threads that live."""
    tasks = (task for member in family(pid) for task in Path(f"/proc/{member}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident_kb(pid: int) -> int:
    """Memory in RAM; what several processes share counts for each of them."""
    statuses = (Path(f"/proc/{member}/status").read_text() for member in family(pid))
    return sum(int(status.partition("VmRSS:")[2].split()[0]) for status in statuses)


def store_seconds(store: StoreProcess) -> float:
    """CPU time that a store has used so far, as it counts it itself."""
    info = store.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
