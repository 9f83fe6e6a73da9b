//! Generalised advantage estimation (Schulman et al. 2016).

/// Advantages of one environment's steps.
///
/// delta_t = r_t + gamma V(after t) - V_t; A_t = delta_t + gamma lambda A_(t+1), where the sum stops at
/// the end of an episode. `after` holds the value of what follows each step: 0 where the episode was
/// terminated, that of its last observation where it was truncated.
pub fn advantages(
    rewards: &[f64],
    values: &[f32],
    after: &[f32],
    ends: &[bool],
    [gamma, lambda]: [f64; 2],
    advantages: &mut [f32],
) {
    let mut later = 0.0;
    for step in (0..rewards.len()).rev() {
        let delta = rewards[step] + gamma * f64::from(after[step]) - f64::from(values[step]);
        later = if ends[step] { delta } else { delta + gamma * lambda * later };
        advantages[step] = later as f32;
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::rng::Streams;

    /// Against the definition: the weighted mean of all n-step advantages up to the episode's end.
    #[test]
    fn equals_the_mean_of_n_step_advantages() {
        let mut rng = Streams::new(1).open("gae");
        let (gamma, lambda) = (0.93, 0.8);
        for _ in 0..50 {
            let count = rng.random_range(1..40);
            let number = |rng: &mut crate::rng::Rng| rng.random_range(-2.0_f32..2.0);
            let rewards: Vec<f64> = (0..count).map(|_| f64::from(number(&mut rng))).collect();
            let values: Vec<f32> = (0..count).map(|_| number(&mut rng)).collect();
            let ends: Vec<bool> = (0..count).map(|_| rng.random_bool(0.2)).collect();
            let after: Vec<f32> = (0..count)
                .map(|t| match (ends[t], t + 1 < count) {
                    // Half of the ends are terminations, without a value.
                    (true, _) => {
                        if rng.random_bool(0.5) {
                            0.0
                        } else {
                            number(&mut rng)
                        }
                    }
                    (false, true) => values[t + 1],
                    (false, false) => number(&mut rng),
                })
                .collect();
            let mut found = vec![0.0; count];
            advantages(&rewards, &values, &after, &ends, [gamma, lambda], &mut found);
            for start in 0..count {
                let last = (start..count).find(|&t| ends[t]).unwrap_or(count - 1);
                let n_step = |n: usize| {
                    let rewards: f64 =
                        (0..n).map(|k| gamma.powi(k as i32) * rewards[start + k]).sum();
                    rewards + gamma.powi(n as i32) * f64::from(after[start + n - 1])
                        - f64::from(values[start])
                };
                let steps = last - start + 1;
                let mean = (1..steps)
                    .map(|n| (1.0 - lambda) * lambda.powi(n as i32 - 1) * n_step(n))
                    .sum::<f64>()
                    + lambda.powi(steps as i32 - 1) * n_step(steps);
                assert!((mean - f64::from(found[start])).abs() < 1e-5, "{mean} {}", found[start]);
            }
        }
    }
}
