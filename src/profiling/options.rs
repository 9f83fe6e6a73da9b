//! Options chosen on fitted curves.

use serde::Serialize;

use super::Curve;
use crate::error::{Error, Result};

/// What a profile should hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Wishes {
    /// Only options whose p95 is at most this, ms.
    pub slo_p95_ms: Option<f64>,
    /// Concurrencies are multiples of this.
    pub step: u32,
    /// Most options of one CPU size.
    pub per_cpu: usize,
}

impl Default for Wishes {
    /// Multiples of 5, at most 6 options a CPU size, no bound on the latency.
    fn default() -> Self {
        Self { slo_p95_ms: None, step: 5, per_cpu: 6 }
    }
}

/// One option of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Chosen {
    /// CPU of a pod, millicores.
    pub cpu_m: u64,
    /// Target concurrency.
    pub concurrency: u32,
    /// The curve's p95 there, ms, to three digits.
    pub p95_ms: f64,
    /// The curve's root-mean-square relative error.
    pub error: f64,
}

/// The options: for each CPU size concurrencies within the loads measured, evenly spread up to the highest
/// that meets the SLO, without those that another option beats in CPU, concurrency and latency.
///
/// # Errors
/// [`Error::Input`] when there is none.
pub fn choose(curves: &[Curve], wishes: &Wishes) -> Result<Vec<Chosen>> {
    let mut options: Vec<Chosen> = Vec::new();
    for curve in curves {
        let meets = |concurrency: u32| {
            wishes.slo_p95_ms.is_none_or(|slo| curve.p95_ms(f64::from(concurrency)) <= slo)
        };
        let candidates: Vec<u32> =
            concurrencies(curve, wishes.step).into_iter().filter(|&c| meets(c)).collect();
        options.extend(spread(&candidates, wishes.per_cpu).into_iter().map(|concurrency| Chosen {
            cpu_m: curve.cpu_m,
            concurrency,
            p95_ms: three_digits(curve.p95_ms(f64::from(concurrency))),
            error: curve.rms_error,
        }));
    }
    let beaten = |option: &Chosen| {
        options.iter().any(|other| {
            other != option
                && other.cpu_m <= option.cpu_m
                && other.concurrency >= option.concurrency
                && other.p95_ms <= option.p95_ms
        })
    };
    let kept: Vec<Chosen> = options.iter().filter(|option| !beaten(option)).copied().collect();
    if kept.is_empty() {
        return Err(Error::input(
            match wishes.slo_p95_ms {
                Some(slo) => format!("--slo-p95-ms {slo}"),
                None => "points".to_owned(),
            },
            "no CPU size meets the SLO at any load measured",
            "measure lower loads or larger pods, or give a higher SLO",
        ));
    }
    Ok(kept)
}

/// Multiples of `step` within the loads measured; the one load itself where no multiple is.
fn concurrencies(curve: &Curve, step: u32) -> Vec<u32> {
    let [low, high] = curve.loads;
    let step = step.max(1);
    let first = (low / f64::from(step)).ceil().max(1.0) as u32;
    let last = (high / f64::from(step)).floor() as u32;
    let multiples: Vec<u32> = (first..=last).map(|index| index * step).collect();
    if multiples.is_empty() { vec![(high.round() as u32).max(1)] } else { multiples }
}

/// At most `most` of `values`, evenly spread, the last among them.
fn spread(values: &[u32], most: usize) -> Vec<u32> {
    if values.len() <= most {
        return values.to_vec();
    }
    let last = values.len() - 1;
    match most {
        0 => Vec::new(),
        1 => vec![values[last]],
        _ => (0..most).map(|index| values[(index * last) / (most - 1)]).collect(),
    }
}

/// Measured latencies have no more.
fn three_digits(value: f64) -> f64 {
    let unit = 10f64.powf(value.max(1e-9).log10().floor() - 2.0);
    if unit >= 1.0 {
        (value / unit).round() * unit
    } else {
        (value / unit).round() / (1.0 / unit).round()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(cpu_m: u64, slope_ms: f64, loads: [f64; 2]) -> Curve {
        Curve {
            cpu_m,
            floor_ms: None,
            base_ms: 0.0,
            slope_ms,
            points: 10,
            loads,
            rms_error: 0.05,
            largest_error: 0.1,
            distinct_loads: 5,
        }
    }

    #[test]
    fn options_meet_the_slo_are_spread_and_not_beaten() {
        let curves = [
            curve(1000, 40.0, [5.0, 60.0]),
            curve(2000, 20.0, [5.0, 60.0]),
            curve(4000, 20.0, [5.0, 60.0]),
        ];
        let wishes = Wishes { slo_p95_ms: Some(900.0), per_cpu: 4, ..Wishes::default() };
        let options = choose(&curves, &wishes).unwrap();
        let of = |cpu_m: u64| -> Vec<u32> {
            options.iter().filter(|o| o.cpu_m == cpu_m).map(|o| o.concurrency).collect()
        };
        assert_eq!(of(1000), [5, 10, 15, 20]);
        assert_eq!(of(2000), [5, 15, 30, 45]);
        assert_eq!(of(4000), [] as [u32; 0], "twice the CPU for nothing");
        assert!(options.iter().all(|option| option.p95_ms <= 900.0));
        let error = choose(&curves, &Wishes { slo_p95_ms: Some(10.0), ..wishes }).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(concurrencies(&curve(1, 1.0, [7.0, 8.0]), 5), [8]);
        assert_eq!(three_digits(1234.5), 1230.0);
        assert_eq!(three_digits(0.123_456), 0.123);
        assert_eq!(three_digits(45.678), 45.7);
    }
}
