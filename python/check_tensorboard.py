"""Reads a training's event files with TensorBoard's own reader and compares them with its log.csv.

    python3 -m venv VENV && VENV/bin/pip install tensorboard setuptools
    VENV/bin/python python/check_tensorboard.py runs/mine
"""

import csv
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

folder = Path(sys.argv[1])
events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
events.Reload()
with open(folder / "log.csv", newline="") as file:
    rows = list(csv.DictReader(file))
compared = 0
for tag in events.Tags()["scalars"]:
    column = tag.rsplit("/", 1)[-1]
    if column not in rows[0]:
        continue
    expected = {int(row["steps"]): float(row[column]) for row in rows if row[column] != ""}
    for event in events.Scalars(tag):
        wanted = expected[event.step]
        # Events hold single precision.
        close = abs(event.value - wanted) <= 1e-6 * max(1.0, abs(wanted))
        if not close and event.value == event.value:
            sys.exit(f"{tag} at step {event.step}: {event.value}, in log.csv {wanted}")
        compared += 1
if compared == 0:
    sys.exit("no number of log.csv is in the event files")
print(f"{compared} numbers of {len(events.Tags()['scalars'])} tags as in log.csv")
