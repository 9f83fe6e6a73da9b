"""Sums up what scripts/compare-ppo measured: medians over the rounds, and how many times faster.

    python ppo_table.py RESULTS
"""

import json
import os
import statistics
import sys


def documents(text):
    decoder, at = json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = decoder.raw_decode(text, at)
        yield document


def main():
    measured = {}
    with open(sys.argv[1]) as file:
        for document in documents(file.read()):
            if "peer" in document:
                whole = document.get("minibatches") == 1 or document.get("batch") == 2048
                size = "whole" if whole else "sixteenth"
                measured.setdefault((document["peer"], size), []).append(document["steps_per_s"])
                continue
            for result in document["results"]:
                name, size = result["name"], "sixteenth" if "batch_128" in result["name"] else "whole"
                if name.startswith("agent_training"):
                    measured.setdefault(("quotascale", size), []).append(result["value"])
                elif name.startswith("agent_products"):
                    measured.setdefault(("quotascale, products alone", size), []).append(result["value"])
    rows = {}
    for (name, size), values in measured.items():
        ours = measured["quotascale", size]
        ratios = sorted(our / value for our, value in zip(ours, values))
        rows.setdefault(name, {})[f"{size} rollout a minibatch"] = {
            "steps_per_s": round(statistics.median(values)),
            "quotascale_is_faster": round(statistics.median(ratios), 2),
            "least": round(ratios[0], 2),
            "most": round(ratios[-1], 2),
        }
    print(json.dumps({"results": rows, "load_average": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    main()
