//! One service in the simulator: its users, revisions, pods and autoscalers.

use super::account::Account;
use super::curve::Spread;
use super::lognormal::{Component, p95_ms, residual_over};
use super::model::ServiceModel;
use super::revision::{Pod, PodState, Revision};
use super::revision_scaler::RevisionScaler;
use super::traffic_stats::{Stretch, Waited};
use super::users::UserRuns;
use crate::rng::Rng;
use crate::scenario::kpa::KpaConfig;
use crate::snapshot::ServiceDecision;

/// Users who wait for a pod, or are served after having waited.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cohort {
    /// Arrival tick while waiting; seconds waited while served.
    since: f64,
    users: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Service {
    pub runs: UserRuns,
    next_run: usize,
    /// Users in the present tick.
    pub users: u32,
    pub revisions: Vec<Revision>,
    pub pods: Vec<Pod>,
    pub free_slots: Vec<u32>,
    /// Index of the revision that serves.
    pub serving: usize,
    /// Index of the newest revision.
    pub newest: usize,
    pub account: Account,
    /// Pods created before the present cell.
    pub created_before: u64,
    /// Pods created at t = 0.
    pub created_at_start: u64,
    scalers: Vec<RevisionScaler>,
    free_scalers: Vec<usize>,
    pub rng: Rng,
    pub stretches: Vec<Stretch>,
    pub waited: Vec<Waited>,
    waiting: Vec<Cohort>,
    served: Vec<Cohort>,
    /// Whether pods or revisions changed since the stretch began.
    pub touched: bool,
    /// Requests in flight on pods at the moment they are force-deleted.
    pub requests_at_risk: f64,
}

impl Service {
    pub fn new(runs: UserRuns, rng: Rng) -> Self {
        // A change of users makes a stretch and, by way of the autoscaler, one or two more.
        let stretches = 3 * runs.len() + 256;
        Self {
            runs,
            next_run: 0,
            users: 0,
            revisions: Vec::with_capacity(64),
            pods: Vec::with_capacity(64),
            free_slots: Vec::with_capacity(64),
            serving: 0,
            newest: 0,
            account: Account::new(u64::MAX, u64::MAX),
            created_before: 0,
            created_at_start: 0,
            scalers: Vec::with_capacity(4),
            free_scalers: Vec::with_capacity(4),
            rng,
            stretches: Vec::with_capacity(stretches),
            waited: Vec::with_capacity(256),
            waiting: Vec::with_capacity(256),
            served: Vec::with_capacity(256),
            touched: true,
            requests_at_risk: 0.0,
        }
    }

    // ---- Users and requests -----------------------------------------------------------------

    pub fn follow_traffic(&mut self, tick: u32) {
        while let Some((from, users)) = self.runs.run(self.next_run) {
            if from > tick {
                break;
            }
            self.users = users;
            self.touched = true;
            self.next_run += 1;
        }
    }

    /// Requests of tick `tick`, and what the autoscalers are told of them.
    pub fn serve(&mut self, tick: u32, model: &ServiceModel) {
        let pods = self.revisions[self.serving].serving_pods;
        if pods == 0 {
            self.wait(tick);
        } else if !self.waiting.is_empty() {
            self.stop_waiting(tick);
        }
        if self.touched || !self.served.is_empty() {
            self.touched = false;
            let curve = self.revisions[self.serving].curve;
            let unwaited = if self.served.is_empty() || pods == 0 {
                1.0
            } else {
                self.serve_cohorts(tick, pods, curve, model)
            };
            self.lengthen(Stretch {
                from: tick,
                ticks: 1,
                users: self.users,
                pods,
                curve: curve as u32,
                unwaited,
            });
        } else if let Some(last) = self.stretches.last_mut() {
            last.ticks += 1;
        }
        self.record(tick + 1, 1);
    }

    /// `ticks` ticks from `from` on in which nothing changes.
    pub fn serve_idle(&mut self, from: u32, ticks: u32) {
        if let Some(last) = self.stretches.last_mut() {
            last.ticks += ticks;
        }
        self.record(from + 1, ticks);
    }

    fn lengthen(&mut self, stretch: Stretch) {
        match self.stretches.last_mut() {
            Some(last)
                if (last.users, last.pods, last.curve, last.unwaited)
                    == (stretch.users, stretch.pods, stretch.curve, stretch.unwaited) =>
            {
                last.ticks += 1;
            }
            _ => self.stretches.push(stretch),
        }
    }

    /// No pod is ready: new users join the queue, leaving ones are its youngest (rule 8).
    fn wait(&mut self, tick: u32) {
        self.served.clear();
        let mut missing = f64::from(self.users) - self.users_waiting();
        if missing > 0.0 {
            self.waiting.push(Cohort { since: f64::from(tick), users: missing });
        }
        while missing < 0.0 {
            let Some(youngest) = self.waiting.last_mut() else { break };
            if youngest.users > -missing {
                youngest.users += missing;
                break;
            }
            missing += youngest.users;
            self.waiting.pop();
        }
    }

    /// Users who wait for a pod.
    pub fn users_waiting(&self) -> f64 {
        self.waiting.iter().map(|cohort| cohort.users).sum()
    }

    /// Pods are ready: the whole queue goes to them at once (rule 8).
    fn stop_waiting(&mut self, tick: u32) {
        let mut left = f64::from(self.users);
        for cohort in self.waiting.drain(..) {
            // Users who left in this very tick were the youngest.
            let users = cohort.users.min(left);
            left -= users;
            if users > 0.0 {
                self.served.push(Cohort { since: f64::from(tick) - cohort.since, users });
            }
        }
    }

    /// For one mean latency the completions come from the cohorts, oldest first. Gives the share of
    /// the tick's completions that does not.
    fn serve_cohorts(&mut self, tick: u32, pods: u32, curve: usize, model: &ServiceModel) -> f64 {
        let spread = Spread::new(self.users, pods);
        let (heavy, light) = spread.rates(&model.curves[curve]);
        let all = heavy + light;
        if all <= 0.0 {
            self.served.clear();
            return 1.0;
        }
        self.drop_served_beyond(f64::from(self.users));
        let mut left = all;
        let mut done = 0;
        for cohort in &mut self.served {
            let users = cohort.users.min(left);
            left -= users;
            cohort.users -= users;
            for (rate, load) in [(heavy, spread.light_load + 1), (light, spread.light_load)] {
                if rate > 0.0 && users > 0.0 {
                    self.waited.push(Waited {
                        tick,
                        completions: users * rate / all,
                        wait_s: cohort.since,
                        curve: curve as u32,
                        load,
                    });
                }
            }
            if cohort.users > 0.0 {
                break;
            }
            done += 1;
        }
        self.served.drain(..done);
        self.touched = true;
        left / all
    }

    /// Users who leave before their first answer are the youngest, as in [`Self::wait`].
    fn drop_served_beyond(&mut self, users: f64) {
        let mut surplus = self.served.iter().map(|cohort| cohort.users).sum::<f64>() - users;
        while surplus > 0.0 {
            let Some(youngest) = self.served.last_mut() else { break };
            if youngest.users > surplus {
                youngest.users -= surplus;
                break;
            }
            surplus -= youngest.users;
            self.served.pop();
        }
    }

    /// p95 over [from, to), ms.
    pub fn recent_p95(&self, model: &ServiceModel, shape: f64, from: u32, to: u32) -> Option<f64> {
        let mut components: Vec<Component> = Vec::with_capacity(16);
        for stretch in self.stretches.iter().rev().take_while(|stretch| stretch.end() > from) {
            let ticks = stretch.end().min(to).saturating_sub(stretch.from.max(from));
            if stretch.pods == 0 || stretch.users == 0 || ticks == 0 {
                continue;
            }
            let curve = &model.curves[stretch.curve as usize];
            let spread = Spread::new(stretch.users, stretch.pods);
            let (heavy, light) = spread.rates(curve);
            for (rate, load) in [(heavy, spread.light_load + 1), (light, spread.light_load)] {
                if rate > 0.0 {
                    components.push(Component {
                        weight: rate * stretch.unwaited * f64::from(ticks),
                        mu: curve.load(load).mu,
                        shift_ms: 0.0,
                    });
                }
            }
        }
        for piece in self.waited.iter().rev().take_while(|piece| piece.tick >= from) {
            components.push(Component {
                weight: piece.completions,
                mu: model.curves[piece.curve as usize].load(piece.load).mu,
                shift_ms: piece.wait_s * 1000.0,
            });
        }
        p95_ms(&components, shape)
    }

    /// Completed requests per second in tick `tick`, the last one played.
    pub fn throughput(&self, model: &ServiceModel, tick: u32) -> f64 {
        let Some(last) = self.stretches.last().filter(|last| last.pods > 0) else { return 0.0 };
        debug_assert_eq!(last.end(), tick + 1);
        let (heavy, light) =
            Spread::new(last.users, last.pods).rates(&model.curves[last.curve as usize]);
        heavy + light
    }

    /// CPU of revisions other than the serving one, millicores.
    pub fn overlap_cpu_m(&self) -> u64 {
        self.revisions
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != self.serving)
            .map(|(_, revision)| u64::from(revision.held_pods) * revision.cpu_m)
            .sum()
    }

    /// A replaced revision's pods are force-deleted at `time_s`: what is still in flight there is at risk.
    pub fn count_requests_at_risk(
        &mut self,
        model: &ServiceModel,
        shape: f64,
        revision: usize,
        time_s: f64,
    ) {
        let revision = &self.revisions[revision];
        let Some(left) = revision.left.filter(|left| left.pods > 0) else { return };
        let delay_ms = (time_s - left.time_s) * 1000.0;
        let curve = &model.curves[revision.curve];
        let spread = Spread::new(left.users, left.pods);
        for (pods, load) in
            [(spread.heavy, spread.light_load + 1), (spread.light, spread.light_load)]
        {
            if load > 0 {
                let in_flight = f64::from(pods) * f64::from(load);
                self.requests_at_risk +=
                    in_flight * residual_over(curve.load(load).mu, shape, delay_ms);
            }
        }
    }

    // ---- Pods -------------------------------------------------------------------------------

    pub fn take_slot(&mut self, pod: Pod) -> u32 {
        match self.free_slots.pop() {
            Some(slot) => {
                self.pods[slot as usize] = pod;
                slot
            }
            None => {
                self.pods.push(pod);
                self.pods.len() as u32 - 1
            }
        }
    }

    /// Whether the newest revision waits for nothing more.
    pub fn roll_out_complete(&self) -> bool {
        self.newest != self.serving && self.revisions[self.newest].unready == 0
    }

    /// Pods of a revision that count as its replicas.
    pub fn replica_count(&self, revision: usize) -> u32 {
        self.pods
            .iter()
            .filter(|pod| {
                pod.revision as usize == revision
                    && !matches!(pod.state, PodState::Free | PodState::Terminating)
            })
            .count() as u32
    }

    /// The pod that goes first (rule 17): denied, then pending, then starting, then ready, each the
    /// youngest first.
    pub fn first_to_go(&self, revision: usize) -> Option<usize> {
        self.pods
            .iter()
            .enumerate()
            .filter(|(_, pod)| pod.revision as usize == revision)
            .filter_map(|(slot, pod)| {
                let rank = match pod.state {
                    PodState::Requested | PodState::Denied => 3,
                    PodState::Pending => 2,
                    PodState::Starting => 1,
                    PodState::Ready => 0,
                    PodState::Free | PodState::Terminating => return None,
                };
                Some(((rank, pod.id), slot))
            })
            .max()
            .map(|(_, slot)| slot)
    }

    // ---- Autoscalers ------------------------------------------------------------------------

    /// The autoscaler of a new revision; gives its index.
    pub fn start_scaler(
        &mut self,
        kpa: &KpaConfig,
        decision: &ServiceDecision,
        min_scale: u32,
        now: u32,
        ready_pods: u32,
    ) -> usize {
        let fresh = || RevisionScaler::new(kpa, decision, min_scale, now, ready_pods);
        match self.free_scalers.pop() {
            Some(index) => {
                self.scalers[index].restart(kpa, decision, min_scale, now, ready_pods);
                index
            }
            None => {
                self.scalers.push(fresh());
                self.scalers.len() - 1
            }
        }
    }

    pub fn stop_scaler(&mut self, revision: usize) {
        if let Some(index) = self.revisions[revision].scaler.take() {
            self.free_scalers.push(index);
        }
    }

    pub fn set_min_scale(&mut self, revision: usize, min_scale: u32) {
        self.revisions[revision].min_scale = min_scale;
        if let Some(index) = self.revisions[revision].scaler {
            self.scalers[index].set_min_scale(min_scale);
        }
    }

    /// Tells the autoscalers of `ticks` seconds with the present requests, the first reported at `at` (rule 25).
    fn record(&mut self, at: u32, ticks: u32) {
        let serving = &self.revisions[self.serving];
        if let Some(index) = serving.scaler
            && (serving.serving_pods > 0 || self.users > 0)
        {
            self.scalers[index].record(at, ticks, f64::from(self.users));
        }
        if self.newest != self.serving {
            let newest = &self.revisions[self.newest];
            if let Some(index) = newest.scaler
                && newest.serving_pods > 0
            {
                self.scalers[index].record(at, ticks, 0.0);
            }
        }
    }

    /// The replicas that a revision's autoscaler wants from `now` on; `None`: as they are.
    pub fn evaluate(&mut self, revision: usize, now: u32) -> Option<u32> {
        let state = &self.revisions[revision];
        let scaler = &mut self.scalers[state.scaler?];
        let replicas = scaler.evaluate(now, state.serving_pods, state.replicas)?;
        (replicas != state.replicas).then_some(replicas)
    }

    /// The first tick at or after `now` in which more than the passing of time can happen.
    pub fn next_change(&self, now: u32) -> u32 {
        let settled = !self.touched
            && !self.roll_out_complete()
            && self.waiting.is_empty()
            && self.served.is_empty()
            && self.is_settled(self.serving, now)
            && (self.newest == self.serving || self.is_settled(self.newest, now));
        if !settled {
            return now;
        }
        self.runs.run(self.next_run).map_or(u32::MAX, |(tick, _)| tick)
    }

    /// Whether the autoscaler of a revision would go on deciding what it decided last.
    fn is_settled(&self, revision: usize, now: u32) -> bool {
        let state = &self.revisions[revision];
        match state.scaler {
            None => true,
            Some(index) => self.scalers[index].is_settled(now, state.serving_pods, state.replicas),
        }
    }
}
