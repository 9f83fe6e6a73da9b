"""Training speed of SB3-contrib's RecurrentPPO, as a peer for `quotascale bench`.

    python sb3_recurrent_ppo.py --batch 2048 [--iterations 3] [--threads 2]

16 environments x 128 steps, 4 epochs, LSTM 128, separate critic, heads of 22, 7 and 8 options, as
src/agent/speed.rs. The environment costs nothing: observations and rewards are drawn beforehand, episodes end
after 19 steps, so that the learner alone is measured. Prints one line of JSON: environment steps per second of the
median iteration, without the first.
"""

import argparse
import json
import statistics
import time

import gymnasium
import numpy as np
import sb3_contrib
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

ENVIRONMENTS, ROLLOUT, EPOCHS, UNITS, EPISODE = 16, 128, 4, 128, 19


class Drawn(VecEnv):
    """Environments whose numbers were drawn beforehand."""

    def __init__(self, inputs, options):
        observations = gymnasium.spaces.Box(0.0, 1.0, (inputs,), np.float32)
        super().__init__(ENVIRONMENTS, observations, gymnasium.spaces.MultiDiscrete(options))
        draw = np.random.default_rng(0)
        self.observations = draw.random((64, ENVIRONMENTS, inputs), dtype=np.float32)
        self.rewards = draw.random((64, ENVIRONMENTS), dtype=np.float32)
        self.steps = 0

    def reset(self):
        return self.observations[0]

    def step_async(self, actions):
        self.steps += 1

    def step_wait(self):
        row = self.steps % 64
        observations = self.observations[row]
        done = np.full(ENVIRONMENTS, self.steps % EPISODE == 0)
        infos = [{"terminal_observation": observations[i]} if done[i] else {} for i in range(ENVIRONMENTS)]
        return observations, self.rewards[row], done, infos

    def close(self):
        pass

    def get_attr(self, attr_name, indices=None):
        return [None] * ENVIRONMENTS

    def set_attr(self, attr_name, value, indices=None):
        raise NotImplementedError

    def env_method(self, method_name, *args, indices=None, **kwargs):
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * ENVIRONMENTS


class Clock(BaseCallback):
    """Notes when each rollout starts: from one to the next is an iteration."""

    def __init__(self):
        super().__init__()
        self.starts = []

    def _on_rollout_start(self):
        self.starts.append(time.perf_counter())

    def _on_step(self):
        return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    clock = Clock()
    model = RecurrentPPO(
        "MlpLstmPolicy",
        Drawn(9, [22, 7, 8]),
        n_steps=ROLLOUT,
        batch_size=arguments.batch,
        n_epochs=EPOCHS,
        policy_kwargs={"lstm_hidden_size": UNITS, "net_arch": [], "enable_critic_lstm": True},
        device="cpu",
        seed=0,
    )
    model.learn(ENVIRONMENTS * ROLLOUT * (arguments.iterations + 2), callback=clock)
    times = [b - a for a, b in zip(clock.starts, clock.starts[1:])][1:]
    print(
        json.dumps(
            {
                "peer": f"sb3-contrib {sb3_contrib.__version__}",
                "batch": arguments.batch,
                "threads": arguments.threads,
                "steps_per_s": ENVIRONMENTS * ROLLOUT / statistics.median(times),
            }
        )
    )


if __name__ == "__main__":
    main()
