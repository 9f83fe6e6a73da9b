//! One step of the policy.

use rayon::prelude::*;

use super::config::TrpoConfig;
use super::fisher;
use super::samples::{Judged, Samples};
use super::solver::{dot, solve};
use crate::agent::network::ActorCritic;
use crate::error::{Error, Result};

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyStep {
    /// The actor's new parameters; `None` where no step was found that improves within the bound.
    pub actor: Option<Vec<f32>>,
    /// Mean advantage x ratio after the step.
    pub objective: f64,
    /// Divergence from the rollout's policy after the step.
    pub kl: f64,
    /// Mean entropy of the rollout's policy.
    pub entropy: f64,
    /// Norm of the objective's gradient.
    pub gradient_norm: f64,
}

/// Brings advantages to mean 0 and variance 1 (n - 1 in the denominator) over all samples.
pub fn normalise(samples: &mut [Samples]) {
    let each = || samples.iter().flat_map(|part| part.advantages.iter().map(|&a| f64::from(a)));
    let count = each().count() as f64;
    let mean = each().sum::<f64>() / count;
    let squares: f64 = each().map(|value| (value - mean) * (value - mean)).sum();
    let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
    for part in samples {
        for advantage in &mut part.advantages {
            *advantage = ((f64::from(*advantage) - mean) / (deviation + 1e-8)) as f32;
        }
    }
}

/// Finds the step from `parameters` (the whole agent's).
///
/// # Errors
/// [`Error::Failed`] when the gradient is not finite.
pub fn improve(
    samples: &mut [Samples],
    network: &ActorCritic,
    parameters: &[f32],
    config: &TrpoConfig,
) -> Result<PolicyStep> {
    let rows: usize = samples.iter().map(Samples::rows).sum();
    let share = 1.0 / rows as f64;
    let span = network.actor().span();
    let parts: Vec<Judged> = samples
        .par_iter_mut()
        .map(|part| {
            let judged = part.begin(network, parameters)?;
            let mut doutputs = std::mem::take(&mut part.doutputs);
            let mut gradient = std::mem::take(&mut part.gradient);
            gradient.resize(span.len(), 0.0);
            part.backward(network, parameters, &mut doutputs, &mut gradient);
            (part.doutputs, part.gradient) = (doutputs, gradient);
            Ok(judged)
        })
        .collect::<Result<_>>()?;
    let before = sum(&parts, share);
    let mut gradient = vec![0.0; span.len()];
    add_gradients(samples, share, &mut gradient);
    let squared = dot(&gradient, &gradient);
    if !squared.is_finite() {
        return Err(Error::Failed("the gradient of the policy is not finite".to_owned()));
    }
    let mut step = PolicyStep {
        actor: None,
        objective: before.objective,
        kl: 0.0,
        entropy: before.entropy,
        gradient_norm: squared.sqrt(),
    };
    let mut vector = vec![0.0_f32; span.len()];
    let mut product = |v: &[f64], out: &mut [f64]| -> Result<()> {
        for (to, &from) in vector.iter_mut().zip(v) {
            *to = from as f32;
        }
        samples.par_iter_mut().for_each(|part| fisher::product(part, network, parameters, &vector));
        for (out, &v) in out.iter_mut().zip(v) {
            *out = config.cg_damping * v;
        }
        add_gradients(samples, share, out);
        Ok(())
    };
    let direction = solve(&gradient, config.cg_max_steps, &mut product)?;
    let mut curved = vec![0.0; span.len()];
    product(&direction, &mut curved)?;
    let curvature = dot(&direction, &curved);
    // A direction of no length leads nowhere.
    if curvature.is_nan() || curvature <= 0.0 {
        return Ok(step);
    }
    let longest = (2.0 * config.target_kl / curvature).sqrt();
    let mut trial = parameters.to_vec();
    let mut length = longest;
    for _ in 0..config.line_search_max_iter {
        for ((to, &from), &d) in
            trial[span.clone()].iter_mut().zip(&parameters[span.clone()]).zip(&direction)
        {
            *to = (f64::from(from) + length * d) as f32;
        }
        let parts: Vec<Judged> = samples
            .par_iter_mut()
            .map(|part| part.judge(network, &trial))
            .collect::<Result<_>>()?;
        let now = sum(&parts, share);
        if now.kl < config.target_kl && now.objective > before.objective {
            step.objective = now.objective;
            step.kl = now.kl;
            step.actor = Some(trial[span].to_vec());
            break;
        }
        length *= config.line_search_shrinking_factor;
    }
    Ok(step)
}

fn sum(parts: &[Judged], share: f64) -> Judged {
    let total = |of: fn(&Judged) -> f64| parts.iter().map(of).sum::<f64>() * share;
    Judged {
        objective: total(|part| part.objective),
        kl: total(|part| part.kl),
        entropy: total(|part| part.entropy),
    }
}

/// Adds the parts' gradients up, in their order.
fn add_gradients(samples: &[Samples], share: f64, into: &mut [f64]) {
    for part in samples {
        for (sum, &value) in into.iter_mut().zip(&part.gradient) {
            *sum += share * f64::from(value);
        }
    }
}
