"""Training speed of recurrent PPO in plain PyTorch, whole sequences at once: a peer for `quotascale bench`.

    python torch_recurrent_ppo.py --minibatches 1 [--iterations 5] [--threads 2]

16 environments x 128 steps, 4 epochs, LSTM 128 for actor and critic each, heads of 22, 7 and 8 options, as
src/agent/speed.rs. nn.LSTM runs over whole sequences of some environments. It cannot forget inside a sequence,
so these do not either, which is less work, not more. The environment costs nothing: its numbers are drawn beforehand.
Prints one line of JSON: environment steps per second of the median iteration, without the first.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn

ENVIRONMENTS, ROLLOUT, EPOCHS, UNITS = 16, 128, 4, 128
INPUTS, OPTIONS = 9, [22, 7, 8]


class Body(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.lstm = nn.LSTM(INPUTS, UNITS)
        self.head = nn.Linear(UNITS, outputs)

    def forward(self, x, state):
        h, state = self.lstm(x, state)
        return self.head(h), state


def log_probabilities(logits):
    return [torch.log_softmax(part, dim=-1) for part in logits.split(OPTIONS, dim=-1)]


def chosen(parts, actions):
    picked = [part.gather(-1, actions[..., i : i + 1])[..., 0] for i, part in enumerate(parts)]
    return sum(picked)


def iterate(actor, critic, adam, states, observations, rewards):
    """One rollout and the updates from it; returns the states behind it."""
    start = states
    actions, old, values = [], [], []
    with torch.no_grad():
        for step in range(ROLLOUT):
            x = observations[step : step + 1]
            logits, a = actor(x, states[0])
            value, c = critic(x, states[1])
            states = (a, c)
            parts = log_probabilities(logits)
            action = torch.stack([torch.multinomial(part[0].exp(), 1)[:, 0] for part in parts], dim=-1)
            actions.append(action)
            old.append(chosen(parts, action[None])[0])
            values.append(value[0, :, 0])
        actions, old, values = torch.stack(actions), torch.stack(old), torch.stack(values)
        advantages = torch.zeros_like(values)
        last, follow = torch.zeros(ENVIRONMENTS), torch.zeros(ENVIRONMENTS)
        for step in reversed(range(ROLLOUT)):
            last = rewards[step] + 0.95 * follow - values[step] + 0.95 * 0.9 * last
            advantages[step], follow = last, values[step]
        returns = advantages + values
    for _ in range(EPOCHS):
        order = torch.randperm(ENVIRONMENTS)
        for rows in order.split(ENVIRONMENTS // MINIBATCHES):
            cut = lambda state: tuple(part[:, rows].contiguous() for part in state)
            x = observations[:, rows].contiguous()
            logits, _ = actor(x, cut(start[0]))
            value, _ = critic(x, cut(start[1]))
            parts = log_probabilities(logits)
            ratio = (chosen(parts, actions[:, rows]) - old[:, rows]).exp()
            a = advantages[:, rows]
            a = (a - a.mean()) / (a.std() + 1e-8)
            surrogate = torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a).mean()
            entropy = -sum((part.exp() * part).sum(-1).mean() for part in parts)
            error = (value[..., 0] - returns[:, rows]).square().mean()
            adam.zero_grad(set_to_none=True)
            (0.5 * error - surrogate - 0.01 * entropy).backward()
            nn.utils.clip_grad_norm_(actor.parameters(), 0.5)
            nn.utils.clip_grad_norm_(critic.parameters(), 0.5)
            adam.step()
    return states


def main():
    global MINIBATCHES
    parser = argparse.ArgumentParser()
    parser.add_argument("--minibatches", type=int, required=True)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    MINIBATCHES = arguments.minibatches
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    actor, critic = Body(sum(OPTIONS)), Body(1)
    adam = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-4, eps=1e-5)
    zeros = lambda: (torch.zeros(1, ENVIRONMENTS, UNITS), torch.zeros(1, ENVIRONMENTS, UNITS))
    states = (zeros(), zeros())
    observations = torch.rand(ROLLOUT, ENVIRONMENTS, INPUTS)
    rewards = torch.rand(ROLLOUT, ENVIRONMENTS)
    times = []
    for _ in range(arguments.iterations + 1):
        started = time.perf_counter()
        states = iterate(actor, critic, adam, states, observations, rewards)
        times.append(time.perf_counter() - started)
    print(
        json.dumps(
            {
                "peer": f"torch {torch.__version__}",
                "minibatches": MINIBATCHES,
                "threads": arguments.threads,
                "steps_per_s": ENVIRONMENTS * ROLLOUT / statistics.median(times[1:]),
            }
        )
    )


if __name__ == "__main__":
    main()
