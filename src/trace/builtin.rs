//! Traces that come with the program. `traces/README.md` says where each is from.

use crate::error::Error;
use crate::scenario::did_you_mean;

/// A trace that comes with the program, in interval form with rows of
/// [`DEFAULT_STAGE_S`](super::DEFAULT_STAGE_S).
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The CSV text.
    pub text: &'static str,
}

/// All of them.
pub const BUILTIN: [Builtin; 3] = [
    Builtin {
        name: "paper",
        about: "The evaluation trace of DOI 10.1016/j.future.2024.06.019.",
        text: include_str!("../../traces/paper.csv"),
    },
    Builtin {
        name: "diurnal",
        about: "Three generated days of 60 rows: a wave that all services share, with noise.",
        text: include_str!("../../traces/diurnal.csv"),
    },
    Builtin {
        name: "bursts",
        about: "Generated bursts over a low base, independent from service to service.",
        text: include_str!("../../traces/bursts.csv"),
    },
];

/// The built-in trace called `name`.
pub fn find(name: &str) -> Option<&'static Builtin> {
    BUILTIN.iter().find(|known| known.name == name)
}

/// The error for a name that is no built-in.
pub(super) fn unknown(place: &str, name: &str) -> Error {
    let names = BUILTIN.map(|known| known.name);
    Error::input(
        place,
        format!("there is no built-in trace `{name}`"),
        format!("{}built in: {}", did_you_mean(name, &names), names.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{DEFAULT_STAGE_S, Trace, csv};

    #[test]
    fn all_are_in_interval_form_with_the_services_of_the_paper() {
        for builtin in &BUILTIN {
            let trace = Trace::load(builtin.name, DEFAULT_STAGE_S, &[]).unwrap();
            assert_eq!(csv::interval_s(&trace), Some(DEFAULT_STAGE_S));
            let names: Vec<&str> =
                trace.services.iter().map(|service| service.service.as_str()).collect();
            assert_eq!(names, ["house", "senti", "numbr"]);
        }
    }
}
