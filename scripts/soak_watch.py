"""Watches `live` during a rehearsal, for scripts/soak:
soak_watch.py REHEARSAL_PID LIVE_PID LIVE_METRICS REHEARSAL_METRICS CHECKPOINT SPEED"""

import json
import os
import sys
import time
import urllib.request

HOUR_S = 3600
# The latency from the last answer to the patch is that of these phases together.
PHASES = ("decide", "save")
DURATION = "quotascale_live_decision_duration_seconds"
TICKS = 1000
MAX_P99_MS = 20
MAX_RESIDENT_MB = 60
MAX_GROWTH_MB = 2

rehearsal, live = sys.argv[1:3]
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def scrape(url):
    """The samples of an endpoint by their names with labels; nothing when it does not answer."""
    try:
        text = direct.open(url, timeout=1).read().decode()
    except OSError:
        return {}
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def phase(samples, name, what):
    return samples.get(f'{DURATION}_{what}{{phase="{name}"}}', 0.0)


def counted(found, name):
    """What a counter counts, by the values of its labels; zeros left out."""
    return {
        "/".join(key.split('"')[1::2]): int(value)
        for key, value in found.items()
        if key.startswith(name + "{") and value
    }


latencies_ms, at_hour, largest_mb = [], {}, 0.0
before, samples, played = None, {}, {}
while running(rehearsal):
    time.sleep(0.03)
    samples = scrape(sys.argv[3]) or samples
    counts = [phase(samples, name, "count") for name in PHASES]
    # Between decision and saving the two counts differ.
    if counts[0] and counts[0] == counts[1]:
        sums = [phase(samples, name, "sum") for name in PHASES]
        if before and counts[0] == before[0] + 1:
            latencies_ms.append(1000 * (sum(sums) - before[1]))
        if not before or counts[0] != before[0]:
            before = (counts[0], sum(sums))
    if not running(live):
        sys.exit("live has ended")
    largest_mb = max(largest_mb, resident_mb(live))
    played = scrape(sys.argv[4]) or played
    second = played.get("quotascale_rehearsal_simulated_seconds", 0.0)
    for hour in (2, 24):
        if hour not in at_hour and second >= hour * HOUR_S:
            # Between ticks rather than within one, where questions hold connections: the median memory and
            # the fewest descriptors of five looks.
            memory, files = [], []
            for _ in range(5):
                time.sleep(0.15)
                memory.append(resident_mb(live))
                files.append(descriptors(live))
            at_hour[hour] = sorted(memory)[2], min(files)

rehearsed = counted(played, "quotascale_rehearsal_ticks_total")
chosen = sorted(latencies_ms[:TICKS])
p99_ms = chosen[min(len(chosen) - 1, int(0.99 * len(chosen)))] if chosen else None
result = {
    "checkpoint": sys.argv[5],
    "speed": float(sys.argv[6]),
    "ticks": counted(samples, "quotascale_live_ticks_total"),
    "faults": counted(samples, "quotascale_live_faults_total"),
    "rehearsed": rehearsed,
    "latency_ms": chosen
    and {"ticks": len(chosen), "p50": chosen[len(chosen) // 2], "p99": p99_ms, "max": chosen[-1]},
    "resident_mb": {"largest": largest_mb, **{f"hour_{hour}": mb for hour, (mb, _) in at_hour.items()}},
    "descriptors": {f"hour_{hour}": count for hour, (_, count) in at_hour.items()},
}
print(json.dumps(result, indent=2))
kept = chosen and p99_ms < MAX_P99_MS and largest_mb < MAX_RESIDENT_MB and "out_of_step" not in rehearsed
if len(at_hour) == 2:
    (early_mb, early), (late_mb, late) = at_hour[2], at_hour[24]
    kept = kept and late_mb - early_mb <= MAX_GROWTH_MB and late <= early
sys.exit(0 if kept else "a bound is not kept")
