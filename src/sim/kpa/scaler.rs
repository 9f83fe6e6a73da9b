//! From desired pods to replicas: bounds, and the way to zero.

use crate::scenario::kpa::{KpaConfig, bounded};

/// How long a revision may try to become active before it is given up, seconds (Knative's progress
/// deadline and its buffer).
const ACTIVATION_TIMEOUT_S: i64 = 630;

/// State of the PodAutoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaState {
    /// Wanted, not enough pods ready yet.
    Activating,
    /// Wanted, and enough pods ready.
    Active,
    /// Not wanted.
    Inactive,
}

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SksMode {
    /// Straight to the pods.
    Serve,
    /// Through the activator.
    Proxy,
}

/// The reconciler of one revision.
#[derive(Clone, Debug)]
pub struct Scaler {
    least: u32,
    most: u32,
    initial_scale: u32,
    enable_scale_to_zero: bool,
    stable_window_s: f64,
    grace_period_s: f64,
    retention_period_s: f64,
    replicas: u32,
    /// Whether enough pods were ever ready.
    initialised: bool,
    state: PaState,
    state_since_s: i64,
    mode: SksMode,
    /// Since when the activator is in the path.
    proxied_since_s: Option<i64>,
}

/// What [`Scaler::reconcile`] wants, which is more than the replicas it sets.
#[derive(Clone, Copy, PartialEq)]
enum Want {
    /// Not known yet.
    Unknown,
    /// So many pods, though at 0 the replicas may stay a while.
    Pods(u32),
}

impl Scaler {
    /// A revision that has `replicas` pods and is in `state` since `created_s`, as long as which the
    /// activator is in its path.
    pub fn new(config: &KpaConfig, created_s: i64, replicas: u32, state: PaState) -> Self {
        Self {
            least: config.least_scale(),
            most: config.max_scale,
            initial_scale: config.initial_scale,
            enable_scale_to_zero: config.enable_scale_to_zero,
            stable_window_s: f64::from(config.stable_window_s),
            grace_period_s: config.scale_to_zero_grace_period_s,
            retention_period_s: config.scale_to_zero_pod_retention_period_s,
            replicas,
            initialised: false,
            state,
            state_since_s: created_s,
            mode: SksMode::Proxy,
            proxied_since_s: Some(created_s),
        }
    }

    /// Replicas in force.
    pub fn replicas(&self) -> u32 {
        self.replicas
    }

    /// State of the PodAutoscaler.
    pub fn state(&self) -> PaState {
        self.state
    }

    /// Where requests go.
    pub fn mode(&self) -> SksMode {
        self.mode
    }

    /// Changes the lower bound of a running revision; it acts at the next reconcile.
    pub fn set_min_scale(&mut self, min_scale: u32) {
        self.least = min_scale;
    }

    /// Pods have become ready since the last reconcile: Knative's own would have followed at once.
    pub fn note_ready(&mut self, ready_pods: u32) {
        self.initialised |= ready_pods >= self.need();
    }

    /// Pods that make the revision active.
    fn need(&self) -> u32 {
        self.least.max(if self.initialised { 1 } else { self.initial_scale })
    }

    /// Brings replicas, PodAutoscaler and activator in line with the decision in force, and gives the
    /// replicas.
    pub fn reconcile(
        &mut self,
        now_s: i64,
        desired: Option<u32>,
        excess_burst_capacity: i32,
        ready_pods: u32,
    ) -> u32 {
        let want = self.scale(now_s, desired);
        let serve = matches!(want, Want::Pods(pods) if pods > 0) && excess_burst_capacity >= 0;
        self.mode = if serve { SksMode::Serve } else { SksMode::Proxy };
        if serve && ready_pods > 0 {
            self.proxied_since_s = None;
        } else {
            self.proxied_since_s.get_or_insert(now_s);
        }
        self.update_state(now_s, want, ready_pods);
        self.replicas
    }

    fn scale(&mut self, now_s: i64, desired: Option<u32>) -> Want {
        if desired.is_none() && self.state != PaState::Activating {
            return Want::Unknown;
        }
        let least = if !self.initialised && self.initial_scale > 1 {
            self.least.max(self.initial_scale)
        } else {
            self.least
        };
        match bounded(desired.unwrap_or(0), least, self.most) {
            0 => self.scale_to_zero(now_s),
            pods => self.set(pods),
        }
    }

    fn set(&mut self, pods: u32) -> Want {
        self.replicas = pods;
        Want::Pods(pods)
    }

    fn scale_to_zero(&mut self, now_s: i64) -> Want {
        if !self.enable_scale_to_zero {
            return self.set(1);
        }
        let in_state_s = now_s - self.state_since_s;
        match self.state {
            PaState::Activating if in_state_s > ACTIVATION_TIMEOUT_S => self.set(0),
            PaState::Activating => Want::Unknown,
            // First it becomes inactive, which puts the activator into the path; the pods stay.
            PaState::Active if in_state_s as f64 >= self.stable_window_s => Want::Pods(0),
            PaState::Active => self.set(1),
            PaState::Inactive if self.may_go(now_s, in_state_s as f64) => self.set(0),
            PaState::Inactive => Want::Pods(0),
        }
    }

    /// Whether the last pods of an inactive revision may go.
    fn may_go(&self, now_s: i64, inactive_s: f64) -> bool {
        if inactive_s >= self.grace_period_s.max(self.retention_period_s) {
            return true;
        }
        if inactive_s < self.retention_period_s {
            return false;
        }
        self.proxied_since_s.is_some_and(|since_s| (now_s - since_s) as f64 >= self.grace_period_s)
    }

    fn update_state(&mut self, now_s: i64, want: Want, ready_pods: u32) {
        let need = self.need();
        if ready_pods >= need {
            self.initialised = true;
        }
        let wanted = matches!(want, Want::Pods(pods) if pods > 0);
        let given_up = want == Want::Pods(0) || need == 0;
        // What is inactive stays so until pods are wanted.
        let state = if given_up || (!wanted && self.state == PaState::Inactive) {
            PaState::Inactive
        } else if ready_pods < need {
            PaState::Activating
        } else {
            PaState::Active
        };
        if state != self.state {
            self.state = state;
            self.state_since_s = now_s;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reconciles every second of `seconds` with the same input; replicas after the last.
    fn hold(
        scaler: &mut Scaler,
        seconds: std::ops::Range<i64>,
        desired: Option<u32>,
        excess: i32,
        ready_pods: u32,
    ) -> u32 {
        for now_s in seconds {
            scaler.reconcile(now_s, desired, excess, ready_pods);
        }
        scaler.replicas()
    }

    #[test]
    fn the_last_pod_waits_for_the_grace_period_of_the_activator() {
        let config = KpaConfig::default();
        let mut scaler = Scaler::new(&config, 0, 3, PaState::Active);
        assert_eq!(hold(&mut scaler, 1..10, Some(3), 5, 3), 3);
        assert_eq!((scaler.state(), scaler.mode()), (PaState::Active, SksMode::Serve));
        // Not active for a stable window yet: one pod stays.
        assert_eq!(hold(&mut scaler, 10..60, Some(0), 5, 1), 1);
        assert_eq!(scaler.state(), PaState::Active);
        assert_eq!(hold(&mut scaler, 60..61, Some(0), 5, 1), 1);
        assert_eq!((scaler.state(), scaler.mode()), (PaState::Inactive, SksMode::Proxy));
        assert_eq!(hold(&mut scaler, 61..90, Some(0), 5, 1), 1);
        assert_eq!(hold(&mut scaler, 90..91, Some(0), 5, 1), 0);
        assert_eq!(hold(&mut scaler, 91..92, Some(2), 5, 0), 2);
        assert_eq!(scaler.state(), PaState::Activating);
        hold(&mut scaler, 92..93, Some(2), 5, 1);
        assert_eq!(scaler.state(), PaState::Active);
    }

    #[test]
    fn an_activator_already_in_the_path_costs_no_grace_but_retention_holds() {
        let mut fast = Scaler::new(&KpaConfig::default(), 0, 1, PaState::Active);
        hold(&mut fast, 1..100, Some(1), -5, 1);
        assert_eq!(hold(&mut fast, 100..101, Some(0), -5, 1), 1);
        assert_eq!(hold(&mut fast, 101..102, Some(0), -5, 1), 0);
        let config =
            KpaConfig { scale_to_zero_pod_retention_period_s: 45.0, ..KpaConfig::default() };
        let mut kept = Scaler::new(&config, 0, 1, PaState::Active);
        hold(&mut kept, 1..100, Some(1), -5, 1);
        assert_eq!(hold(&mut kept, 100..145, Some(0), -5, 1), 1);
        assert_eq!(hold(&mut kept, 145..146, Some(0), -5, 1), 0);
    }

    #[test]
    fn without_scale_to_zero_one_pod_stays() {
        let config = KpaConfig { enable_scale_to_zero: false, ..KpaConfig::default() };
        let mut scaler = Scaler::new(&config, 0, 4, PaState::Active);
        assert_eq!(hold(&mut scaler, 1..200, Some(0), 0, 4), 1);
    }

    #[test]
    fn the_initial_scale_binds_until_it_was_reached_once() {
        let config = KpaConfig::default().for_revision(10.0, 1, 5);
        let mut scaler = Scaler::new(&config, 0, 5, PaState::Activating);
        assert_eq!(hold(&mut scaler, 1..20, Some(2), -1, 3), 5);
        assert_eq!(scaler.state(), PaState::Activating);
        hold(&mut scaler, 20..21, Some(2), -1, 5);
        assert_eq!((scaler.state(), scaler.replicas()), (PaState::Active, 5));
        assert_eq!(hold(&mut scaler, 21..22, Some(2), -1, 5), 2);
        scaler.set_min_scale(4);
        assert_eq!(hold(&mut scaler, 22..23, Some(2), -1, 2), 4);
    }

    #[test]
    fn an_unknown_scale_changes_nothing_but_lifts_an_activating_revision_to_its_minimum() {
        let config = KpaConfig::default().for_revision(10.0, 3, 3);
        let mut active = Scaler::new(&config, 0, 4, PaState::Active);
        assert_eq!(hold(&mut active, 1..2, None, -1, 4), 4);
        assert_eq!(active.mode(), SksMode::Proxy);
        let mut activating = Scaler::new(&config, 0, 0, PaState::Activating);
        assert_eq!(hold(&mut activating, 1..2, None, -1, 0), 3);
    }

    #[test]
    fn a_revision_that_never_becomes_active_is_given_up() {
        let mut scaler = Scaler::new(&KpaConfig::default(), 0, 1, PaState::Activating);
        assert_eq!(hold(&mut scaler, 1..631, Some(0), -1, 0), 1);
        assert_eq!(scaler.state(), PaState::Activating);
        assert_eq!(hold(&mut scaler, 631..632, Some(0), -1, 0), 0);
        assert_eq!(scaler.state(), PaState::Inactive);
    }
}
