//! Who may write: the rules of a Lease, without a server and with the time given.
//!
//! As client-go's leader election: a holder is trusted for the lease's duration after its record was
//! last *seen to change* here, so that no two machines' clocks are compared. All instants are of the
//! monotonic clock.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::LeaseSpec;

/// What to do with the lease that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// There is none: create it.
    Create,
    /// Its holder let go or is silent: take it over.
    Take,
    /// It is ours: renew it.
    Renew,
    /// Somebody else's.
    Wait,
}

/// One candidate.
#[derive(Clone, Debug)]
pub struct Elector {
    identity: String,
    duration: Duration,
    renew_deadline: Duration,
    /// The last record that was seen, and when it was first seen so.
    seen: Option<(LeaseSpec, Instant)>,
    held_until: Option<Instant>,
}

impl Elector {
    /// A candidate named `identity`, which nobody else may be named.
    pub fn new(identity: String, duration: Duration, renew_deadline: Duration) -> Self {
        Self { identity, duration, renew_deadline, seen: None, held_until: None }
    }

    /// Its name.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Until when this candidate may write, if it holds the lease.
    pub fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// When a silent holder's lease is over.
    pub fn over_at(&self) -> Option<Instant> {
        let (record, since) = self.seen.as_ref()?;
        Some(*since + self.duration_of(record))
    }

    fn duration_of(&self, record: &LeaseSpec) -> Duration {
        let stated = record.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        stated.map_or(self.duration, Duration::from_secs)
    }

    /// Looks at the lease as read at `now`.
    pub fn look(&mut self, lease: Option<&LeaseSpec>, now: Instant) -> Action {
        let Some(record) = lease else {
            self.held_until = None;
            return Action::Create;
        };
        let holder = record.holder_identity.as_deref().unwrap_or_default();
        if holder == self.identity {
            return Action::Renew;
        }
        self.held_until = None;
        if holder.is_empty() {
            return Action::Take;
        }
        match &self.seen {
            Some((seen, since)) if seen == record => {
                if now.duration_since(*since) >= self.duration_of(record) {
                    Action::Take
                } else {
                    Action::Wait
                }
            }
            _ => {
                self.seen = Some((record.clone(), now));
                Action::Wait
            }
        }
    }

    /// The lease was created, taken or renewed by a request that was sent at `asked`.
    pub fn got_it(&mut self, asked: Instant) {
        self.seen = None;
        self.held_until = Some(asked + self.renew_deadline);
    }

    /// Somebody else was faster, or the lease was given back.
    pub fn lost_it(&mut self) {
        self.held_until = None;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn record(holder: &str, renewed_s: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed_s).unwrap())),
            ..LeaseSpec::default()
        }
    }

    fn candidate() -> (Elector, Instant) {
        let (duration, deadline) = (Duration::from_secs(15), Duration::from_secs(10));
        (Elector::new("me".to_owned(), duration, deadline), Instant::now())
    }

    #[test]
    fn a_holder_is_trusted_for_its_duration_after_it_was_last_seen_to_renew() {
        let (mut me, start) = candidate();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        // Whatever time the other's clock shows.
        assert_eq!(me.look(Some(&record("other", 0)), at(0)), Action::Wait);
        assert_eq!(me.look(Some(&record("other", 2)), at(14)), Action::Wait);
        assert_eq!(me.look(Some(&record("other", 2)), at(28)), Action::Wait);
        assert_eq!(me.over_at(), Some(at(29)));
        assert_eq!(me.look(Some(&record("other", 2)), at(29)), Action::Take);
        me.got_it(at(29));
        assert_eq!(me.held_until(), Some(at(39)));
        assert_eq!(me.look(Some(&record("me", 30)), at(31)), Action::Renew);
        assert_eq!(me.held_until(), Some(at(39)), "a look renews nothing");
        // Stopped until another took over: it holds nothing from the first look on.
        assert_eq!(me.look(Some(&record("other", 60)), at(60)), Action::Wait);
        assert_eq!(me.held_until(), None);
    }

    #[test]
    fn a_lease_that_is_free_or_missing_is_taken_at_once() {
        let (mut me, now) = candidate();
        assert_eq!(me.look(Some(&record("", 0)), now), Action::Take);
        assert_eq!(me.look(None, now), Action::Create);
    }
}
