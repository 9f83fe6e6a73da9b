//! What is run and what is shown.

/// Policies and seeds on one scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Name of its folder.
    pub id: &'static str,
    /// A built-in scenario.
    pub scenario: &'static str,
    /// What of it is changed.
    pub sets: Vec<String>,
    /// What the controller expects.
    pub forecaster: &'static str,
    /// The policies.
    pub policies: &'static [&'static str],
    /// Agents that this reproduction trained: names, and the trainings' folders.
    pub trained: Vec<(String, String)>,
    /// Whether the paper's own agent is among them, where it is there.
    pub theirs: bool,
    /// How many seeds, from 0: in a quick and in a full reproduction.
    pub seeds: (u64, u64),
}

/// A section of the report.
#[derive(Clone, Debug, PartialEq)]
pub struct Chapter {
    /// Its heading.
    pub title: &'static str,
    /// What it asks and how to read it.
    pub text: &'static [&'static str],
    /// What it shows.
    pub shows: Vec<Show>,
}

/// A figure or table, with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Show {
    /// Users over time, of an evaluation's first seed.
    Traffic(&'static str),
    /// Policies against each other.
    Comparison(&'static str),
    /// Timelines of these policies at the evaluation's first seed.
    Timelines(&'static str, &'static [&'static str]),
    /// The same policies in several worlds: a title, and a label and an evaluation each.
    Worlds(&'static str, &'static [(&'static str, &'static str)]),
    /// Forecasters on traces: a synthetic day, and World Cup 98 where its data are given.
    Forecasts,
    /// The courses of trainings.
    Curves,
    /// Agents with one part left out each.
    Parts,
    /// Every policy of the design and whether it was run.
    Coverage,
}

/// Every policy that needs no training, and the agent that is shipped for random traces.
const ON_RANDOM_TRACES: &[&str] = &[
    "kpa-latency",
    "kpa-resource",
    "hybrid",
    "greedy",
    "priced-greedy",
    "ppo",
    "oracle",
    "random",
];
/// The same with the agent that is shipped for the other scenarios.
const WITH_AGENT: &[&str] = &[
    "kpa-latency",
    "kpa-resource",
    "hybrid",
    "greedy",
    "priced-greedy",
    "recurrent-ppo",
    "oracle",
    "random",
];
/// Those that a controller could run: without the clairvoyant and the random one.
const CONTROLLERS: &[&str] =
    &["kpa-latency", "kpa-resource", "hybrid", "greedy", "priced-greedy", "recurrent-ppo"];
/// Those that plan for a forecast.
const PLANNERS: &[&str] = &["hybrid", "greedy", "priced-greedy", "recurrent-ppo"];

/// The services of the built-in scenarios.
const SERVICES: [&str; 3] = ["house", "senti", "numbr"];

/// Seeds of comparisons: the intervals of 20 are narrow enough to tell policies apart.
pub(super) const SEEDS: (u64, u64) = (5, 20);

fn all_services(key_value: &str) -> Vec<String> {
    SERVICES.iter().map(|service| format!("service.{service}.{key_value}")).collect()
}

/// Three short days of 40 minutes: traffic that a forecaster can learn.
pub(super) fn daily() -> Vec<String> {
    let trace = "trace={ generator = \"diurnal\", low = 5, high = 90, rows = 60, stage_s = 120, \
                 period_rows = 20, noise = 0.05 }";
    let mut sets = all_services(trace);
    sets.push("duration_s=7200".to_owned());
    sets
}

/// Everything that is run.
pub fn evaluations() -> Vec<Evaluation> {
    let on = |id, scenario| Evaluation {
        id,
        scenario,
        sets: Vec::new(),
        forecaster: "persistence",
        policies: WITH_AGENT,
        trained: Vec::new(),
        theirs: false,
        seeds: SEEDS,
    };
    let world = |id, sets: Vec<String>| Evaluation {
        sets,
        policies: CONTROLLERS,
        ..on(id, "knative-random")
    };
    let forecast = |id, forecaster| Evaluation {
        sets: daily(),
        forecaster,
        policies: PLANNERS,
        ..on(id, "knative-random")
    };
    vec![
        Evaluation { seeds: (1, 1), theirs: true, ..on("paper", "paper") },
        Evaluation {
            policies: ON_RANDOM_TRACES,
            theirs: true,
            ..on("paper-random", "paper-random")
        },
        on("paper-knative", "paper-knative"),
        on("knative-random", "knative-random"),
        world("as-tuned", Vec::new()),
        world("cold-starts", all_services("cold_start_mean_s=6")),
        world("more-traffic", all_services("trace.high=133")),
        world("smaller-quota", vec!["quota.cpu_m=30000".to_owned()]),
        world("enforced-quota", vec!["quota.mode=enforced".to_owned()]),
        Evaluation { forecaster: "perfect", ..world("foreseen", Vec::new()) },
        Evaluation { forecaster: "noisy:0.3", ..world("noisy-forecast", Vec::new()) },
        forecast("day-persistence", "persistence"),
        forecast("day-moving-average", "moving-average"),
        forecast("day-ar", "ar"),
        forecast("day-holt-winters", "holt-winters"),
        forecast("day-perfect", "perfect"),
    ]
}

/// Everything that is shown.
pub fn chapters() -> Vec<Chapter> {
    vec![
        Chapter {
            title: "What was run",
            text: &[
                "Every policy of the comparison, and whether it is in this report. Policies that need a \
                 checkpoint are marked where none is shipped or given.",
            ],
            shows: vec![Show::Coverage],
        },
        Chapter {
            title: "Traffic",
            text: &[
                "Users of each service over time: the evaluation trace of the paper, and one seed of the \
                 random traffic that the other seeds are like.",
            ],
            shows: vec![Show::Traffic("paper-knative"), Show::Traffic("knative-random")],
        },
        Chapter {
            title: "Forecasts",
            text: &[
                "How well the traffic of the coming interval can be known. Every model sees all rows \
                 before the one it forecasts; it is fitted on the first 80 % of the rows and judged on the \
                 rest.",
            ],
            shows: vec![Show::Forecasts],
        },
        Chapter {
            title: "Training",
            text: &[
                "What the most likely actions of recurrent PPO earn on the paper's trace while it is trained. \
                 Entropy starts high and falls over the whole training: it searches first.",
            ],
            shows: vec![Show::Curves],
        },
        Chapter {
            title: "The paper's environment, on its trace",
            text: &[
                "The original training environment on the original 19 steps, where nothing is random but \
                 the policy `random`. The exact optimum with known traffic is 69786.99.",
            ],
            shows: vec![
                Show::Comparison("paper"),
                Show::Timelines("paper", &["greedy", "recurrent-ppo", "oracle"]),
            ],
        },
        Chapter {
            title: "The paper's environment, on random traffic",
            text: &[
                "The same environment on random traces, one a seed, so that there are intervals. The share \
                 of the oracle is the reward over the exact optimum of the seed, which nobody can beat.",
            ],
            shows: vec![Show::Comparison("paper-random")],
        },
        Chapter {
            title: "The simulated cluster, on the paper's trace",
            text: &[
                "Second by second, with cold starts, roll-outs and Knative's own autoscaler. Seeds differ \
                 in their cold starts.",
                "In the timelines: the p95 latency of each service against its SLO, and the CPU in use \
                 against the quota, where the overlap of the old and the new revision shows in full colour.",
            ],
            shows: vec![
                Show::Comparison("paper-knative"),
                Show::Timelines("paper-knative", CONTROLLERS),
            ],
        },
        Chapter {
            title: "The simulated cluster, on random traffic",
            text: &["As before; every seed is another trace."],
            shows: vec![
                Show::Comparison("knative-random"),
                Show::Timelines("knative-random", &["hybrid", "recurrent-ppo"]),
            ],
        },
        Chapter {
            title: "Robustness",
            text: &[
                "The same policies, with the settings tuned for the unchanged scenario, in worlds that \
                 differ from it in one thing each.",
            ],
            shows: vec![Show::Worlds(
                "Policies in changed worlds",
                &[
                    ("as tuned for", "as-tuned"),
                    ("cold starts twice as long", "cold-starts"),
                    ("a third more traffic", "more-traffic"),
                    ("quota of 30 instead of 40 CPU", "smaller-quota"),
                    ("quota enforced", "enforced-quota"),
                    ("traffic foreseen", "foreseen"),
                    ("foreseen with 30 % noise", "noisy-forecast"),
                ],
            )],
        },
        Chapter {
            title: "What a forecast brings",
            text: &[
                "Policies that plan for a forecast, on a daily wave of traffic that can be foreseen in part, \
                 with one forecaster after the other. The last row is the bound: the traffic itself.",
            ],
            shows: vec![Show::Worlds(
                "Policies with different forecasters",
                &[
                    ("persistence", "day-persistence"),
                    ("moving average", "day-moving-average"),
                    ("autoregression", "day-ar"),
                    ("Holt-Winters", "day-holt-winters"),
                    ("perfect", "day-perfect"),
                ],
            )],
        },
        Chapter {
            title: "What each part of the agent brings",
            text: &[
                "Agents trained on the same daily wave, three trainings of half a million steps each, with one \
                 part left out or replaced. Policies that need no training stand beside them; they plan for \
                 the same forecast.",
            ],
            shows: vec![Show::Parts],
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduction::Effort;

    #[test]
    fn every_evaluation_can_be_run_and_everything_shown_is_run() {
        let evaluations = evaluations();
        for evaluation in &evaluations {
            let nowhere = std::path::Path::new("nowhere");
            let quick = evaluation.plan(nowhere, Effort::Quick).unwrap();
            let full = evaluation.plan(nowhere, Effort::Full).unwrap();
            assert_eq!(quick.policies.len(), evaluation.policies.len(), "{}", evaluation.id);
            assert!(full.seeds.len() >= 20 || evaluation.id == "paper");
            assert!(full.seeds.starts_with(&quick.seeds));
        }
        let mut ids: Vec<&str> = evaluations.iter().map(|evaluation| evaluation.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), evaluations.len());
        for show in chapters().into_iter().flat_map(|chapter| chapter.shows) {
            let shown: Vec<&str> = match show {
                Show::Traffic(id) | Show::Comparison(id) | Show::Timelines(id, _) => vec![id],
                Show::Worlds(_, worlds) => worlds.iter().map(|world| world.1).collect(),
                Show::Forecasts | Show::Curves | Show::Parts | Show::Coverage => Vec::new(),
            };
            assert!(shown.iter().all(|id| ids.contains(id)), "{shown:?}");
        }
    }
}
