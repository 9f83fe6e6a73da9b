//! The pinball loss of three quantiles that cannot cross, with its gradient.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};

use super::OUTPUTS;
use crate::predictor::QUANTILES;

/// ln(1 + exp(x)), without overflow.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The inverse of [`softplus`] for positive numbers.
pub fn softplus_inverse(y: f64) -> f64 {
    // ln(exp(y) - 1), without overflow.
    y + (-(-y).exp()).ln_1p()
}

/// What the outputs of some windows are compared with.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// What came less what the lines expect, in units of their errors; one a window and row ahead.
    pub residuals: Vec<f32>,
    /// Weight of each window and row ahead.
    pub weights: Vec<f32>,
    /// Whether the median's output counts, one a window: where nothing moved it does not.
    pub moved: Vec<bool>,
}

/// Sum over windows of their weighted losses, each the mean over rows ahead and quantiles. The
/// gradient of the outputs is written where it is wanted.
pub fn pinball(
    outputs: &[f32],
    targets: &Targets,
    offsets: &[[f64; 2]],
    mut gradient: Option<&mut [f32]>,
) -> f64 {
    let horizon = offsets.len();
    let mut total = 0.0;
    for (window, &moved) in targets.moved.iter().enumerate() {
        let moved = f64::from(u8::from(moved));
        for (ahead, offset) in offsets.iter().enumerate() {
            let weight = f64::from(targets.weights[window * horizon + ahead]);
            let share = weight / (horizon * QUANTILES.len()) as f64;
            let place = (window * horizon + ahead) * OUTPUTS;
            let [middle, below, above] = [0, 1, 2].map(|part| f64::from(outputs[place + part]));
            let middle = moved * middle;
            let (below, above) = (below + offset[0], above + offset[1]);
            let distances = [-softplus(below), 0.0, softplus(above)];
            let residual = f64::from(targets.residuals[window * horizon + ahead]);
            // Slope of the loss with each quantile.
            let mut slopes = [0.0; 3];
            for ((slope, share_below), distance) in slopes.iter_mut().zip(QUANTILES).zip(distances)
            {
                let error = residual - (middle + distance);
                *slope = if error > 0.0 { -share_below } else { 1.0 - share_below };
                total -= share * *slope * error;
            }
            if let Some(gradient) = &mut gradient {
                let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
                let parts = [
                    moved * slopes.iter().sum::<f64>(),
                    -slopes[0] * sigmoid(below),
                    slopes[2] * sigmoid(above),
                ];
                for (gradient, part) in gradient[place..place + OUTPUTS].iter_mut().zip(parts) {
                    *gradient = (share * part) as f32;
                }
            }
        }
    }
    total
}

/// The loss over `divisor` as an operation of candle: outputs -> a single number.
pub struct PinballOperation<'a> {
    /// What the outputs are compared with.
    pub targets: Targets,
    /// As in the model.
    pub offsets: &'a [[f64; 2]],
    /// What the sum is divided by.
    pub divisor: f64,
}

/// The operation with what it keeps, which outlives the call.
struct Kept {
    targets: Targets,
    offsets: Vec<[f64; 2]>,
    divisor: f64,
}

impl PinballOperation<'_> {
    /// Applies it to `outputs`.
    ///
    /// # Errors
    /// When the outputs are not contiguous f32.
    pub fn apply(self, outputs: &Tensor) -> candle_core::Result<Tensor> {
        let offsets = self.offsets.to_vec();
        outputs.apply_op1(Kept { targets: self.targets, offsets, divisor: self.divisor })
    }
}

impl CustomOp1 for Kept {
    fn name(&self) -> &'static str {
        "pinball"
    }

    fn cpu_fwd(
        &self,
        outputs: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (CpuStorage::F32(values), Some((from, to))) = (outputs, layout.contiguous_offsets())
        else {
            candle_core::bail!("outputs have to be contiguous and f32");
        };
        let loss = pinball(&values[from..to], &self.targets, &self.offsets, None) / self.divisor;
        Ok((CpuStorage::F32(vec![loss as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        outputs: &Tensor,
        _loss: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let factor = f64::from(gradient.to_scalar::<f32>()?) / self.divisor;
        let values = outputs.flatten_all()?.to_vec1::<f32>()?;
        let mut slopes = vec![0.0; values.len()];
        pinball(&values, &self.targets, &self.offsets, Some(&mut slopes));
        slopes.iter_mut().for_each(|slope| *slope = (f64::from(*slope) * factor) as f32);
        Tensor::from_vec(slopes, outputs.shape(), &Device::Cpu).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softplus_and_its_inverse() {
        for y in [1e-6, 0.02, 1.0, 5.0, 40.0, 1e3] {
            assert!((softplus(softplus_inverse(y)) / y - 1.0).abs() < 1e-9, "{y}");
        }
        assert_eq!((softplus(-1e9), softplus(1e9)), (0.0, 1e9));
    }

    #[test]
    fn the_loss_by_hand_and_its_gradient_by_differences() {
        let offsets = [[softplus_inverse(2.0), softplus_inverse(1.0)]; 2];
        let targets =
            Targets { residuals: vec![3.0, -0.5], weights: vec![2.0; 2], moved: vec![true] };
        // Quantiles -2, 0, 1. At 3: 0.1*5, 0.5*3, 0.9*2; at -0.5: 0.1*1.5, 0.5*0.5, 0.1*1.5.
        let expected = 2.0 / 6.0 * (0.5 + 1.5 + 1.8 + 0.15 + 0.25 + 0.15);
        assert!((pinball(&[0.0; 6], &targets, &offsets, None) - expected).abs() < 1e-9);
        let outputs = [0.3, -0.4, 0.2, -0.9, 0.7, 0.1];
        let mut gradient = [0.0; 6];
        pinball(&outputs, &targets, &offsets, Some(&mut gradient));
        for (index, slope) in gradient.into_iter().enumerate() {
            let at = |step: f32| {
                let mut moved = outputs;
                moved[index] += step;
                pinball(&moved, &targets, &offsets, None)
            };
            let difference = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((difference - f64::from(slope)).abs() < 1e-3, "{index}: {difference} {slope}");
        }
        let still = Targets { moved: vec![false], ..targets };
        let loss = pinball(&outputs, &still, &offsets, Some(&mut gradient));
        assert_eq!([gradient[0], gradient[3]], [0.0; 2]);
        let without = [0.0, outputs[1], outputs[2], 0.0, outputs[4], outputs[5]];
        assert_eq!(loss, pinball(&without, &still, &offsets, None));
    }
}
