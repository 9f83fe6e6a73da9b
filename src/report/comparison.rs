//! Policies against each other on one scenario, over seeds (`comparison.json`).
//!
//! Every policy is compared with a *reference* on the same seeds, so that the traffic and the cold
//! starts of a seed cancel out of the difference.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::stats::{self, Bootstrap};
use crate::error::{Error, Result};
use crate::number;
use crate::run::Summary;

/// The policy that others are compared with unless another is named.
pub const DEFAULT_REFERENCE: &str = "kpa-latency";

/// Policies on one scenario, over seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The scenario's name.
    pub scenario: String,
    /// The seeds, ascending; `per_seed` lists follow this order.
    pub seeds: Vec<u64>,
    /// The policy that `vs_reference` compares with.
    pub reference: String,
    /// One entry a policy, in the order asked for.
    pub policies: Vec<PolicyResult>,
}

/// One policy over seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyResult {
    /// The policy's name.
    pub name: String,
    /// Sum of rewards.
    pub reward: Statistic,
    /// Reward as a share of the exact optimum of the seed; `None` where that is not known.
    pub oracle_share: Option<Statistic>,
    /// Share of requests over the SLO.
    pub slo_violation_share: Statistic,
    /// CPU allocated above the quota, CPU-seconds.
    pub over_quota_cpu_seconds: Statistic,
    /// CPU allocated, CPU-seconds.
    pub cpu_seconds: Statistic,
    /// Pods created after t = 0; `None` on `paper`.
    pub cold_starts: Option<Statistic>,
    /// p95 latency of the whole run by service, ms; `None` on `paper`.
    pub p95_ms: Option<BTreeMap<String, Statistic>>,
    /// Differences to the reference, paired by seed; `None` where only one policy was run.
    pub vs_reference: Option<VsReference>,
    /// Pods that the quota denied, pod-seconds; `None` on `paper`.
    pub denied_pod_seconds: Option<Statistic>,
    /// Requests in flight on force-deleted pods; `None` on `paper`.
    pub requests_at_risk: Option<Statistic>,
}

/// One figure over seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistic {
    /// Mean over the seeds that have a value.
    #[serde(with = "number::option")]
    pub mean: Option<f64>,
    /// 95 % bootstrap interval of the mean; `None` for one seed or over an infinity.
    pub ci95: Option<[f64; 2]>,
    /// Interquartile mean.
    #[serde(with = "number::option")]
    pub iqm: Option<f64>,
    /// The value of each seed; `None` where there is none.
    #[serde(with = "number::list")]
    pub per_seed: Vec<Option<f64>>,
}

/// Differences to the reference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VsReference {
    /// Of the reward.
    pub reward: Difference,
}

/// A difference to the reference, paired by seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean difference, this policy less the reference.
    #[serde(with = "number::option")]
    pub mean: Option<f64>,
    /// Its 95 % bootstrap interval; `None` for one seed or over an infinity.
    pub ci95: Option<[f64; 2]>,
    /// Two-sided p-value of the sign-flip test, corrected over the policies (Holm).
    pub p_holm: Option<f64>,
}

impl Difference {
    /// Whether the interval leaves zero out.
    pub fn clear_of_zero(&self) -> bool {
        self.ci95.is_some_and(|[low, high]| low > 0.0 || high < 0.0)
    }
}

/// One run as `simulate --json` prints it: a policy of a comparison, for one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunResult {
    /// The figures.
    #[serde(flatten)]
    pub policy: PolicyResult,
    /// The folder of the run.
    pub out: String,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl RunResult {
    /// The figures of `summary`, whose run lies in `out`; `oracle_reward` where the optimum is known.
    pub fn new(summary: &Summary, oracle_reward: Option<f64>, out: &Path) -> Self {
        let column = [Some(summary)];
        let policy =
            policy_result(&summary.policy, &column, &[oracle_reward], &mut Bootstrap::new());
        Self { policy, out: out.display().to_string(), warnings: summary.warnings.clone() }
    }
}

impl Comparison {
    /// Compares runs of one scenario. `oracle_rewards` are the exact optima by seed, where known;
    /// `reference` is [`DEFAULT_REFERENCE`], or the first policy where that was not run.
    ///
    /// # Errors
    /// [`Error::Input`] without runs, for runs of several scenarios, two runs of one policy and
    /// seed, or a reference that was not run.
    pub fn new(
        summaries: &[Summary],
        oracle_rewards: Option<&BTreeMap<u64, f64>>,
        reference: Option<&str>,
    ) -> Result<Self> {
        let first = summaries.first().ok_or_else(|| {
            Error::input("runs", "there are none to compare", "name at least one run")
        })?;
        let mut seeds: Vec<u64> = summaries.iter().map(|summary| summary.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let mut names: Vec<&str> = Vec::new();
        let mut columns: Vec<Vec<Option<&Summary>>> = Vec::new();
        for summary in summaries {
            if summary.scenario != first.scenario {
                return Err(Error::input(
                    "runs",
                    format!("of `{}` and of `{}`", first.scenario, summary.scenario),
                    "compare runs of one scenario",
                ));
            }
            let row = names.iter().position(|name| *name == summary.policy).unwrap_or_else(|| {
                names.push(&summary.policy);
                columns.push(vec![None; seeds.len()]);
                names.len() - 1
            });
            // Present, for the seeds are those of the summaries.
            let seed = seeds.partition_point(|seed| *seed < summary.seed);
            if columns[row][seed].replace(summary).is_some() {
                return Err(Error::input(
                    "runs",
                    format!("two of policy `{}` and seed {}", summary.policy, summary.seed),
                    "give the policies names of their own (NAME:FOLDER), or name each run once",
                ));
            }
        }
        let reference = reference.unwrap_or(if names.contains(&DEFAULT_REFERENCE) {
            DEFAULT_REFERENCE
        } else {
            names[0]
        });
        let reference_row = names.iter().position(|name| *name == reference).ok_or_else(|| {
            Error::input(
                "reference",
                format!("`{reference}` is not among the policies"),
                format!("choose one of {}", names.join(", ")),
            )
        })?;

        let optima: Vec<Option<f64>> = seeds
            .iter()
            .map(|seed| oracle_rewards.and_then(|rewards| rewards.get(seed).copied()))
            .collect();
        let mut bootstrap = Bootstrap::new();
        let mut policies: Vec<PolicyResult> = names
            .iter()
            .zip(&columns)
            .map(|(name, column)| policy_result(name, column, &optima, &mut bootstrap))
            .collect();
        compare_with_reference(&mut policies, reference_row, &mut bootstrap);
        Ok(Self {
            scenario: first.scenario.clone(),
            seeds,
            reference: reference.to_owned(),
            policies,
        })
    }

    /// The policies, the highest mean reward first; those without one last.
    pub fn by_reward(&self) -> Vec<&PolicyResult> {
        let mut policies: Vec<&PolicyResult> = self.policies.iter().collect();
        let key = |policy: &PolicyResult| policy.reward.mean.unwrap_or(f64::NEG_INFINITY);
        policies.sort_by(|a, b| key(b).total_cmp(&key(a)));
        policies
    }

    /// Whether any policy has runs over several seeds.
    pub fn has_intervals(&self) -> bool {
        self.seeds.len() > 1
    }
}

impl Statistic {
    /// Of one value a seed.
    pub fn new(per_seed: Vec<Option<f64>>, bootstrap: &mut Bootstrap) -> Self {
        let per_seed: Vec<Option<f64>> =
            per_seed.into_iter().map(|value| value.filter(|value| !value.is_nan())).collect();
        let values: Vec<f64> = per_seed.iter().copied().flatten().collect();
        Self {
            mean: stats::mean(&values),
            ci95: bootstrap.interval(&values),
            iqm: stats::interquartile_mean(&values),
            per_seed,
        }
    }

    /// `None` where no seed has a value.
    fn of_any(per_seed: Vec<Option<f64>>, bootstrap: &mut Bootstrap) -> Option<Self> {
        per_seed.iter().any(Option::is_some).then(|| Self::new(per_seed, bootstrap))
    }
}

fn policy_result(
    name: &str,
    column: &[Option<&Summary>],
    optima: &[Option<f64>],
    bootstrap: &mut Bootstrap,
) -> PolicyResult {
    let each = |of: &dyn Fn(&Summary) -> Option<f64>| -> Vec<Option<f64>> {
        column.iter().map(|summary| summary.and_then(of)).collect()
    };
    let rewards = each(&|summary| Some(summary.reward));
    let shares = rewards
        .iter()
        .zip(optima)
        .map(|(reward, optimum)| Some((*reward)? / (*optimum)?))
        .collect();
    let mut services: Vec<&String> = column
        .iter()
        .flatten()
        .filter_map(|summary| summary.p95_ms.as_ref())
        .flat_map(BTreeMap::keys)
        .collect();
    services.sort_unstable();
    services.dedup();
    let p95_ms: BTreeMap<String, Statistic> = services
        .into_iter()
        .map(|service| {
            let values = each(&|summary| summary.p95_ms.as_ref()?.get(service).copied().flatten());
            (service.clone(), Statistic::new(values, bootstrap))
        })
        .collect();
    PolicyResult {
        name: name.to_owned(),
        oracle_share: Statistic::of_any(shares, bootstrap),
        slo_violation_share: Statistic::new(
            each(&|summary| summary.slo_violation_share),
            bootstrap,
        ),
        over_quota_cpu_seconds: Statistic::new(
            each(&|summary| Some(summary.over_quota_cpu_seconds)),
            bootstrap,
        ),
        cpu_seconds: Statistic::new(each(&|summary| Some(summary.cpu_seconds)), bootstrap),
        cold_starts: Statistic::of_any(
            each(&|summary| summary.cold_starts.map(|count| count as f64)),
            bootstrap,
        ),
        p95_ms: (!p95_ms.is_empty()).then_some(p95_ms),
        vs_reference: None,
        denied_pod_seconds: Statistic::of_any(
            each(&|summary| summary.denied_pod_seconds),
            bootstrap,
        ),
        requests_at_risk: Statistic::of_any(each(&|summary| summary.requests_at_risk), bootstrap),
        reward: Statistic::new(rewards, bootstrap),
    }
}

fn compare_with_reference(
    policies: &mut [PolicyResult],
    reference_row: usize,
    bootstrap: &mut Bootstrap,
) {
    let reference = policies[reference_row].reward.per_seed.clone();
    let mut p_values = Vec::with_capacity(policies.len());
    for (row, policy) in policies.iter_mut().enumerate() {
        let differences: Vec<f64> = policy
            .reward
            .per_seed
            .iter()
            .zip(&reference)
            .filter_map(|(own, reference)| Some((*own)? - (*reference)?))
            .collect();
        // The reference against itself is no test: it must not make the others' correction stricter.
        p_values.push(if row == reference_row { None } else { stats::sign_flip_p(&differences) });
        policy.vs_reference = Some(VsReference {
            reward: Difference {
                mean: stats::mean(&differences),
                ci95: bootstrap.interval(&differences),
                p_holm: None,
            },
        });
    }
    let mut corrected = stats::holm(&p_values);
    corrected[reference_row] = Some(1.0);
    for (policy, p_holm) in policies.iter_mut().zip(corrected) {
        if let Some(versus) = &mut policy.vs_reference {
            versus.reward.p_holm = p_holm;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(policy: &str, seed: u64, reward: f64) -> Summary {
        Summary {
            scenario: "paper".into(),
            policy: policy.into(),
            seed,
            reward,
            cpu_seconds: 10.0,
            ..Summary::default()
        }
    }

    #[test]
    fn differences_are_paired_and_corrected() {
        let mut runs = Vec::new();
        for seed in (0..5).rev() {
            runs.push(summary("b", seed, seed as f64 * 100.0 + 1.0 + seed as f64 * 0.1));
            runs.push(summary("a", seed, seed as f64 * 100.0));
            runs.push(summary("c", seed, seed as f64 * 100.0));
        }
        let optima = (0..5).map(|seed| (seed, 1000.0)).collect();
        let result = Comparison::new(&runs, Some(&optima), Some("a")).unwrap();
        assert_eq!(result.seeds, [0, 1, 2, 3, 4]);
        let b = &result.policies[0];
        assert_eq!(b.name, "b");
        assert_eq!(b.reward.per_seed[4], Some(401.4));
        let versus = &b.vs_reference.as_ref().unwrap().reward;
        assert!((versus.mean.unwrap() - 1.2).abs() < 1e-12);
        // All five of one sign: 2 / 32, times the two policies that are tested.
        assert_eq!(versus.p_holm, Some(0.125));
        let [low, high] = versus.ci95.unwrap();
        assert!((1.0..1.2).contains(&low) && (1.2..=1.4).contains(&high));
        assert!(b.reward.ci95.unwrap()[0] < 150.0, "the seeds' own spread stays in the reward");
        assert_eq!(result.policies[2].vs_reference.as_ref().unwrap().reward.p_holm, Some(1.0));
        let share = b.oracle_share.as_ref().unwrap().per_seed[1].unwrap();
        assert!((share - 0.1011).abs() < 1e-12);
        assert_eq!(result.by_reward()[0].name, "b");
    }

    #[test]
    fn an_infinite_reward_is_told_and_not_averaged_away() {
        let runs = [
            summary("a", 0, 1.0),
            summary("a", 1, 2.0),
            summary("b", 0, f64::INFINITY),
            summary("b", 1, 2.0),
        ];
        let result = Comparison::new(&runs, None, None).unwrap();
        let json = serde_json::to_value(&result).unwrap();
        assert_eq!(json["policies"][1]["reward"]["mean"], "inf");
        assert_eq!(json["policies"][1]["reward"]["ci95"], serde_json::Value::Null);
        assert_eq!(json["policies"][1]["reward"]["per_seed"], serde_json::json!(["inf", 2.0]));
        assert_eq!(json["policies"][1]["vs_reference"]["reward"]["mean"], "inf");
        assert_eq!(json["policies"][1]["oracle_share"], serde_json::Value::Null);
        assert_eq!(json["policies"][1]["p95_ms"], serde_json::Value::Null);
        assert_eq!(serde_json::from_value::<Comparison>(json).unwrap(), result);
    }

    #[test]
    fn a_single_run_is_a_policy_with_its_folder() {
        let mut run = summary("greedy", 4, 65_015.14);
        run.warnings.push("waits for quota".into());
        let result = RunResult::new(&run, Some(130_030.28), Path::new("runs/x"));
        let json = serde_json::to_value(&result).unwrap();
        assert_eq!(json["name"], "greedy");
        assert_eq!(json["reward"]["per_seed"], serde_json::json!([65_015.14]));
        assert_eq!(json["reward"]["ci95"], serde_json::Value::Null);
        assert_eq!(json["oracle_share"]["mean"], 0.5);
        assert_eq!(json["cold_starts"], serde_json::Value::Null);
        assert_eq!(json["slo_violation_share"]["per_seed"], serde_json::json!([null]));
        assert_eq!(json["vs_reference"], serde_json::Value::Null);
        assert_eq!(json["out"], "runs/x");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let message = |runs: &[Summary], reference| {
            Comparison::new(runs, None, reference).unwrap_err().to_string()
        };
        assert!(message(&[], None).contains("none to compare"));
        let twice = [summary("a", 0, 1.0), summary("a", 0, 1.0)];
        assert!(message(&twice, None).contains("policy `a` and seed 0"));
        assert!(message(&twice[..1], Some("b")).contains("choose one of a"));
        let mut other = summary("b", 0, 1.0);
        other.scenario = "mine".into();
        assert!(message(&[summary("a", 0, 1.0), other], None).contains("one scenario"));
    }
}
