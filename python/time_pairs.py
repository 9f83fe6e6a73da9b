"""Times two commands in pairs, one after the other, and prints medians and the ratio as JSON.

    python time_pairs.py --pairs 5 --ours 'COMMAND {out}' --peer 'COMMAND {out}'

Wall time and the CPU time of the finished child, from start to exit, so start-up counts. `{out}` becomes a
fresh folder for each run. One unmeasured pair goes first, so that files are in the page cache.
"""

import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import tempfile
import time


def run(command):
    with tempfile.TemporaryDirectory() as folder:
        words = shlex.split(command.replace("{out}", os.path.join(folder, "out")))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--peer", required=True)
    arguments = parser.parse_args()
    run(arguments.ours), run(arguments.peer)
    ours, peer = [], []
    for _ in range(arguments.pairs):
        ours.append(run(arguments.ours))
        peer.append(run(arguments.peer))
    median = lambda runs, index: statistics.median(entry[index] for entry in runs)
    ratios = sorted(b[0] / a[0] for a, b in zip(ours, peer))
    print(
        json.dumps(
            {
                "pairs": arguments.pairs,
                "ours": {"wall_s": median(ours, 0), "cpu_s": median(ours, 1)},
                "peer": {"wall_s": median(peer, 0), "cpu_s": median(peer, 1)},
                "wall_ratio": {"median": statistics.median(ratios), "min": ratios[0], "max": ratios[-1]},
                "load_average": os.getloadavg()[0],
            }
        )
    )


if __name__ == "__main__":
    main()
