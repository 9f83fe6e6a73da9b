//! Runs the autoscaler on recorded input, second by second, with the conventions of the golden data.
//!
//! Each second: the ready pods are determined, the value is recorded, and on every even second but
//! the first there is a decision. What a decision does to the pods depends on the [`Mode`].

use std::collections::VecDeque;

use super::{
    Autoscaler, Evaluation, Mode, PaState, RecordPolicy, ReplayParams, Scaler, SksMode, TICK_S,
};

/// One second of input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputRow {
    /// The metric over all pods; `None`: nobody reported.
    pub value: Option<f64>,
    /// Ready pods; used in mode open.
    pub ready_pods: u32,
}

/// Why there is a row of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// A decision in its turn.
    Tick,
    /// A decision because a request arrived while no pod was wanted.
    Poke,
    /// No decision, but replicas or the state changed.
    Event,
}

/// One row of output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputRow {
    /// The second.
    pub t_s: i64,
    /// Why there is a row.
    pub kind: RowKind,
    /// Ready pods that the decision saw.
    pub ready_pods: u32,
    /// The decision; none in an event.
    pub evaluation: Option<Evaluation>,
    /// Desired pods within the bounds; none without a valid decision.
    pub bounded_pods: Option<u32>,
    /// Replicas in force after this second; none in mode open.
    pub replicas: Option<u32>,
    /// State of the PodAutoscaler and where requests go; mode lifecycle only.
    pub state: Option<(PaState, SksMode)>,
}

/// Replays `input`, whose rows are the seconds 0, 1, 2, ….
pub fn replay(params: &ReplayParams, input: &[InputRow]) -> Vec<OutputRow> {
    let mut replay = Replay::new(params);
    let seconds = (0_i64..).zip(input);
    seconds.filter_map(|(t_s, row)| replay.second(t_s, row)).collect()
}

struct Replay<'a> {
    params: &'a ReplayParams,
    autoscaler: Autoscaler,
    pods: Pods,
}

/// What stands behind the autoscaler.
enum Pods {
    Open,
    Closed { replicas: u32, startup: Startup },
    Lifecycle { scaler: Scaler, startup: Startup, excess_burst_capacity: i32 },
}

impl<'a> Replay<'a> {
    fn new(params: &'a ReplayParams) -> Self {
        let autoscaler = Autoscaler::new(&params.config, 0, params.initial_ready, true);
        let replicas = params.initial_replicas;
        let startup = Startup::new(params.startup_delay_s, replicas);
        let pods = match params.mode {
            Mode::Open => Pods::Open,
            Mode::Closed => Pods::Closed { replicas, startup },
            Mode::Lifecycle => Pods::Lifecycle {
                scaler: Scaler::new(&params.config, 0, replicas, PaState::Active),
                startup,
                excess_burst_capacity: 0,
            },
        };
        Self { params, autoscaler, pods }
    }

    fn second(&mut self, t_s: i64, row: &InputRow) -> Option<OutputRow> {
        let ready_pods = match &mut self.pods {
            Pods::Open => row.ready_pods,
            Pods::Closed { startup, .. } | Pods::Lifecycle { startup, .. } => startup.ready(t_s),
        };
        let due = t_s > 0 && t_s % TICK_S == 0;
        let mut decision = None;
        if due && self.params.tick_before_record {
            decision = Some((RowKind::Tick, self.autoscaler.decide(t_s, ready_pods)));
        }
        let unreported = self.params.record_policy == RecordPolicy::ScrapeLike && ready_pods == 0;
        let value = row.value.filter(|&value| value != 0.0 || !unreported);
        if let Some(value) = value {
            let poked = self.params.poke && t_s % TICK_S != 0 && self.autoscaler.is_poked_by(value);
            self.autoscaler.record(t_s, value);
            if poked {
                decision = Some((RowKind::Poke, self.autoscaler.decide(t_s, ready_pods)));
            }
        }
        if due && !self.params.tick_before_record {
            decision = Some((RowKind::Tick, self.autoscaler.decide(t_s, ready_pods)));
        }
        self.act(t_s, ready_pods, decision)
    }

    /// Lets the decision take effect and makes the row, if there is one.
    fn act(
        &mut self,
        t_s: i64,
        ready_pods: u32,
        decision: Option<(RowKind, Evaluation)>,
    ) -> Option<OutputRow> {
        let config = &self.params.config;
        let valid = decision.filter(|(_, evaluation)| evaluation.valid);
        let bounded_pods =
            valid.and_then(|(_, evaluation)| evaluation.desired).map(|pods| config.bounded(pods));
        let mut row = OutputRow {
            t_s,
            kind: decision.map_or(RowKind::Event, |(kind, _)| kind),
            ready_pods,
            evaluation: decision.map(|(_, evaluation)| evaluation),
            bounded_pods,
            replicas: None,
            state: None,
        };
        let mut event = false;
        match &mut self.pods {
            Pods::Open => {}
            Pods::Closed { replicas, startup } => {
                if let Some(pods) = bounded_pods {
                    *replicas = if pods == 0 && !config.enable_scale_to_zero { 1 } else { pods };
                }
                startup.set(t_s, *replicas);
                row.replicas = Some(*replicas);
            }
            Pods::Lifecycle { scaler, startup, excess_burst_capacity } => {
                if let Some((_, evaluation)) = decision {
                    *excess_burst_capacity = evaluation.excess_burst_capacity;
                }
                let before = (scaler.replicas(), scaler.state());
                // The first second shows what the revision starts with.
                if t_s > 0 {
                    let desired = self.autoscaler.desired();
                    scaler.reconcile(t_s, desired, *excess_burst_capacity, ready_pods);
                }
                event = t_s == 0 || before != (scaler.replicas(), scaler.state());
                startup.set(t_s, scaler.replicas());
                row.replicas = Some(scaler.replicas());
                row.state = Some((scaler.state(), scaler.mode()));
            }
        }
        (decision.is_some() || event).then_some(row)
    }
}

/// How replicas become ready pods: a pod is ready `delay` seconds after its decision; fewer replicas
/// act at once.
struct Startup {
    delay_s: i64,
    initial: u32,
    /// (second, replicas), rising; the first is the least of the last `delay` seconds.
    least: VecDeque<(i64, u32)>,
}

impl Startup {
    fn new(startup_delay_s: u32, initial: u32) -> Self {
        // A decision acts in the next second at the earliest.
        Self { delay_s: i64::from(startup_delay_s.max(1)), initial, least: VecDeque::new() }
    }

    /// Least replicas in force in the `delay` seconds before `t_s`.
    fn ready(&mut self, t_s: i64) -> u32 {
        while self.least.front().is_some_and(|&(second, _)| second < t_s - self.delay_s) {
            self.least.pop_front();
        }
        let least = self.least.front().map_or(u32::MAX, |&(_, replicas)| replicas);
        if t_s < self.delay_s || self.least.is_empty() { least.min(self.initial) } else { least }
    }

    /// Replicas in force during `t_s`, which does not go back.
    fn set(&mut self, t_s: i64, replicas: u32) {
        while self.least.back().is_some_and(|&(_, earlier)| earlier >= replicas) {
            self.least.pop_back();
        }
        self.least.push_back((t_s, replicas));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::KpaConfig;

    fn params(mode: Mode) -> ReplayParams {
        ReplayParams {
            config: KpaConfig::default().for_revision(10.0, 0, 1),
            mode,
            record_policy: RecordPolicy::Always,
            tick_before_record: false,
            poke: false,
            initial_ready: 1,
            initial_replicas: 1,
            startup_delay_s: 0,
        }
    }

    fn input(values: &[f64]) -> Vec<InputRow> {
        values.iter().map(|&value| InputRow { value: Some(value), ready_pods: 1 }).collect()
    }

    #[test]
    fn a_tick_before_the_record_does_not_see_it() {
        let values = [7.0, 7.0, 70.0, 70.0];
        let after = replay(&params(Mode::Open), &input(&values));
        assert_eq!(after[0].evaluation.unwrap().stable, 28.0);
        let early = ReplayParams { tick_before_record: true, ..params(Mode::Open) };
        assert_eq!(replay(&early, &input(&values))[0].evaluation.unwrap().stable, 7.0);
    }

    #[test]
    fn pods_are_ready_after_their_delay_and_go_at_once() {
        for (delay_s, ready_s) in [(0, 1), (1, 1), (3, 3)] {
            let mut startup = Startup::new(delay_s, 1);
            for t_s in 0..10 {
                let expected = if t_s < ready_s { 1 } else { 4 };
                assert_eq!(startup.ready(t_s), expected, "{delay_s} {t_s}");
                startup.set(t_s, 4);
            }
            startup.ready(10);
            startup.set(10, 2);
            assert_eq!(startup.ready(11), 2);
        }
    }

    #[test]
    fn a_poke_comes_at_an_odd_second_with_a_request_when_none_is_wanted() {
        let poked = ReplayParams {
            poke: true,
            record_policy: RecordPolicy::ScrapeLike,
            initial_ready: 0,
            initial_replicas: 0,
            ..params(Mode::Closed)
        };
        let mut values = vec![0.0; 12];
        values[0] = 1e-9;
        values[7] = 15.0;
        let rows = replay(&poked, &input(&values));
        let at = |t_s| rows.iter().find(|row| row.t_s == t_s);
        assert_eq!(at(2).unwrap().replicas, Some(0));
        assert!(at(5).is_none());
        let poke = at(7).unwrap();
        assert_eq!((poke.kind, poke.ready_pods), (RowKind::Poke, 0));
        assert!(poke.replicas > Some(0));
        assert_eq!(at(8).unwrap().ready_pods, poke.replicas.unwrap());
    }
}
