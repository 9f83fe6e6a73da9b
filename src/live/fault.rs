//! What can go wrong with an input or output, by source and kind.
//!
//! Both sets are closed, because they are labels of a metric that starts at zero for every member
//! ([`FaultSource::kinds`]).

use std::fmt;

/// Where a fault arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultSource {
    /// The Prometheus HTTP API.
    Prometheus,
    /// Locust's web API.
    Locust,
    /// The Kubernetes API server.
    Kubernetes,
    /// The Lease that makes one replica the writer.
    Lease,
    /// Saved state.
    State,
    /// The clock.
    Clock,
}

impl FaultSource {
    /// All sources.
    pub const ALL: [Self; 6] =
        [Self::Prometheus, Self::Locust, Self::Kubernetes, Self::Lease, Self::State, Self::Clock];

    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Locust => "locust",
            Self::Kubernetes => "kubernetes",
            Self::Lease => "lease",
            Self::State => "state",
            Self::Clock => "clock",
        }
    }

    /// The kinds of fault that this source can have.
    pub fn kinds(self) -> &'static [FaultKind] {
        use FaultKind as K;
        const HTTP: [FaultKind; 13] = [
            K::Timeout,
            K::Connect,
            K::Redirect,
            K::Unauthorized,
            K::Throttled,
            K::Unavailable,
            K::ServerError,
            K::Status,
            K::ContentType,
            K::Truncated,
            K::Oversized,
            K::Decode,
            K::Credentials,
        ];
        const PROMETHEUS: [FaultKind; 22] = joined(
            HTTP,
            [
                K::ErrorAnswer,
                K::Empty,
                K::Doubled,
                K::NotANumber,
                K::Infinite,
                K::Negative,
                K::Stale,
                K::ZeroLatency,
                K::Warning,
            ],
        );
        const LOCUST: [FaultKind; 18] = joined(
            HTTP,
            [K::UnknownKeys, K::Stopped, K::WorkersMissing, K::Negative, K::ZeroLatency],
        );
        const KUBERNETES: [FaultKind; 15] = [
            K::Timeout,
            K::Connect,
            K::Unauthorized,
            K::Forbidden,
            K::Throttled,
            K::Unavailable,
            K::ServerError,
            K::Status,
            K::Decode,
            K::Conflict,
            K::Changed,
            K::CrdMissing,
            K::Schema,
            K::NotFollowed,
            K::QuotaDiffers,
        ];
        const LEASE: [FaultKind; 11] = [
            K::Timeout,
            K::Connect,
            K::Unauthorized,
            K::Forbidden,
            K::Throttled,
            K::Unavailable,
            K::ServerError,
            K::Status,
            K::Decode,
            K::Changed,
            K::Lost,
        ];
        const STATE: [FaultKind; 5] =
            [K::Unreadable, K::OtherVersion, K::OtherCheckpoint, K::Unwritable, K::Unpublished];
        match self {
            Self::Prometheus => &PROMETHEUS,
            Self::Locust => &LOCUST,
            Self::Kubernetes => &KUBERNETES,
            Self::Lease => &LEASE,
            Self::State => &STATE,
            Self::Clock => &[K::SetBack],
        }
    }
}

/// Two lists of kinds one after the other.
const fn joined<const A: usize, const B: usize, const N: usize>(
    first: [FaultKind; A],
    second: [FaultKind; B],
) -> [FaultKind; N] {
    assert!(A + B == N);
    let mut all = [FaultKind::Timeout; N];
    let mut index = 0;
    while index < N {
        all[index] = if index < A { first[index] } else { second[index - A] };
        index += 1;
    }
    all
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// No whole answer before the deadline.
    Timeout,
    /// No connection: refused, no such host, or no trust in the server's certificate.
    Connect,
    /// The server sends elsewhere; redirects are not followed.
    Redirect,
    /// 401 or 403.
    Unauthorized,
    /// 429.
    Throttled,
    /// 503.
    Unavailable,
    /// Another status of 500 or above.
    ServerError,
    /// Any other status than 200.
    Status,
    /// The answer is not JSON by its content type.
    ContentType,
    /// The answer ended early.
    Truncated,
    /// The answer is longer than allowed.
    Oversized,
    /// The answer is not of the shape that the API has.
    Decode,
    /// A file with a token, password or certificate cannot be read.
    Credentials,
    /// A count or a latency below zero.
    Negative,
    /// Prometheus answers that the query failed.
    ErrorAnswer,
    /// No series.
    Empty,
    /// More than one series where one was expected.
    Doubled,
    /// The value is NaN.
    NotANumber,
    /// The value is infinite.
    Infinite,
    /// The sample is older than allowed.
    Stale,
    /// A p95 latency of zero with users there: an old exporter on a newer Locust reports that.
    ZeroLatency,
    /// The answer came with warnings (Thanos: a store did not answer). The value is used.
    Warning,
    /// The answer has none of the fields that Locust's versions are known by.
    UnknownKeys,
    /// Locust does not run: no users, no latency. The value is used.
    Stopped,
    /// Locust lost its workers: its count of users means nothing.
    WorkersMissing,
    /// The API server does not let us: a verb is missing from our Role.
    Forbidden,
    /// Another field manager owns what we want to set, or another installation writes the object.
    Conflict,
    /// The object has changed since it was read.
    Changed,
    /// The API server does not know the custom resource.
    CrdMissing,
    /// The definition of the custom resource lacks a field.
    Schema,
    /// The pods did not reach within an interval what was asked for.
    NotFollowed,
    /// The real ResourceQuota differs from the scenario's.
    QuotaDiffers,
    /// The lease was lost, or is over too soon to write.
    Lost,
    /// The saved state cannot be read.
    Unreadable,
    /// The saved state is of another format.
    OtherVersion,
    /// The saved state belongs to another checkpoint, scenario or forecaster.
    OtherCheckpoint,
    /// The state cannot be saved.
    Unwritable,
    /// The state cannot be published to followers.
    Unpublished,
    /// The clock was set back by more than an interval.
    SetBack,
}

impl FaultKind {
    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Redirect => "redirect",
            Self::Unauthorized => "unauthorized",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::ServerError => "server_error",
            Self::Status => "status",
            Self::ContentType => "content_type",
            Self::Truncated => "truncated",
            Self::Oversized => "oversized",
            Self::Decode => "decode",
            Self::Credentials => "credentials",
            Self::Negative => "negative",
            Self::ErrorAnswer => "error_answer",
            Self::Empty => "empty",
            Self::Doubled => "doubled",
            Self::NotANumber => "nan",
            Self::Infinite => "infinite",
            Self::Stale => "stale",
            Self::ZeroLatency => "zero_latency",
            Self::Warning => "warning",
            Self::UnknownKeys => "unknown_keys",
            Self::Stopped => "stopped",
            Self::WorkersMissing => "workers_missing",
            Self::Forbidden => "forbidden",
            Self::Conflict => "conflict",
            Self::Changed => "changed",
            Self::CrdMissing => "crd_missing",
            Self::Schema => "schema",
            Self::NotFollowed => "not_followed",
            Self::QuotaDiffers => "quota_differs",
            Self::Lost => "lost",
            Self::Unreadable => "unreadable",
            Self::OtherVersion => "other_version",
            Self::OtherCheckpoint => "other_checkpoint",
            Self::Unwritable => "unwritable",
            Self::Unpublished => "unpublished",
            Self::SetBack => "set_back",
        }
    }
}

/// One thing that went wrong. Its text holds no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub source: FaultSource,
    /// What.
    pub kind: FaultKind,
    /// For a log line: the place and the details.
    pub text: String,
}

impl Fault {
    /// A fault.
    pub fn new(source: FaultSource, kind: FaultKind, text: impl Into<String>) -> Self {
        Self { source, kind, text: text.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.source.name(), self.kind.name(), self.text)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn kinds_have_names_of_their_own_within_a_source() {
        for source in FaultSource::ALL {
            let names: HashSet<&str> = source.kinds().iter().map(|kind| kind.name()).collect();
            assert_eq!(names.len(), source.kinds().len(), "{}", source.name());
        }
    }
}
