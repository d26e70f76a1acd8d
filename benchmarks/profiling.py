"""Where the time of a drain goes: cProfile in the worker, by function; a guide, not a clock.

The profiler's own cost falls on every call, so functions called often look dearer than they are.
"""

from __future__ import annotations

import io
import pstats

from benchmarks.bench import Bench, rate

SHOWN = 32


def profile(bench: Bench, tasks: int, slots: int) -> str:
    """The functions that a drain spends most time in, and the CPU of worker and server a task."""
    bench.push("noop", tasks)
    before_s = bench.server_cpu_s()
    with bench.worker(slots, expect=tasks, max_tasks=tasks) as out:
        plain = bench.read(out)
    server_us = (bench.server_cpu_s() - before_s) / tasks * 1e6
    bench.push("noop", tasks)
    dump = bench.folder / "profile.pstats"
    with bench.worker(slots, expect=tasks, max_tasks=tasks, profile=dump) as out:
        bench.read(out)
    text = io.StringIO()
    stats = pstats.Stats(str(dump), stream=text).strip_dirs()
    stats.sort_stats("tottime").print_stats(SHOWN)
    worker_us = plain["cpu_s"] / tasks * 1e6
    return (
        f"{tasks:,} no-op tasks, {slots} at once, not profiled: {rate(plain):,.0f}/s; "
        f"CPU a task: worker {worker_us:.1f} us, server {server_us:.1f} us\n"
        f"profiled (us a task = tottime / {tasks:,}):\n{text.getvalue()}"
    )
