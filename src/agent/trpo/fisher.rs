//! Products of the Fisher information with a vector, without the matrix.
//!
//! The Hessian of the divergence KL(new || old) where both are equal is J' (diag(p) - p p') J, with J the
//! derivative of the logits with respect to the parameters and, for each head, p its probabilities: the
//! Gauss-Newton form, which for a softmax is exact. J v comes from a pass forward with derivatives, the
//! product with J' from a pass backward.

use super::samples::Samples;
use crate::agent::network::ActorCritic;

/// Writes F `vector`, summed over the rows, to the samples' gradient. The last forward pass of `samples`
/// has to be that of `parameters` (the whole agent's).
pub fn product(samples: &mut Samples, network: &ActorCritic, parameters: &[f32], vector: &[f32]) {
    let actor = network.actor();
    let weights = &parameters[actor.span()];
    let mut doutputs = std::mem::take(&mut samples.doutputs);
    doutputs.resize(samples.rows() * actor.outputs(), 0.0);
    let mut space = std::mem::take(&mut samples.tangents);
    actor.tangent(weights, &samples.batch(), &samples.pass, vector, &mut space, &mut doutputs);
    samples.tangents = space;
    curvature(&mut doutputs, &samples.old_p, &network.shape().options);
    let mut gradient = std::mem::take(&mut samples.gradient);
    gradient.resize(weights.len(), 0.0);
    samples.backward(network, parameters, &mut doutputs, &mut gradient);
    (samples.doutputs, samples.gradient) = (doutputs, gradient);
}

/// (diag(p) - p p') t for each head of each row, in place.
fn curvature(tangents: &mut [f32], probabilities: &[f32], options: &[usize]) {
    let heads: usize = options.iter().sum();
    for (row, p) in tangents.chunks_exact_mut(heads).zip(probabilities.chunks_exact(heads)) {
        let mut start = 0;
        for &count in options {
            let (row, p) = (&mut row[start..start + count], &p[start..start + count]);
            let mean: f32 = row.iter().zip(p).map(|(t, p)| t * p).sum();
            for (t, &p) in row.iter_mut().zip(p) {
                *t = p * (*t - mean);
            }
            start += count;
        }
    }
}

impl Samples {
    /// The gradient of the actor's parameters for that of the outputs, which is used up.
    pub fn backward(
        &mut self,
        network: &ActorCritic,
        parameters: &[f32],
        doutputs: &mut Vec<f32>,
        gradient: &mut [f32],
    ) {
        let actor = network.actor();
        let mut pass = std::mem::take(&mut self.pass);
        let weights = &parameters[actor.span()];
        actor.backward(weights, &self.batch(), &mut pass, doutputs, gradient);
        self.pass = pass;
    }
}
