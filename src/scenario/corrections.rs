//! Corrections of the original environment's quirks, each by its own name.

use crate::error::{Error, Result};

macro_rules! corrections {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Which quirks of the original environment are corrected. All off: the original, exactly.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Corrections {
            $($(#[$doc])* pub $name: bool,)*
        }

        impl Corrections {
            /// Names of all corrections.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The flag called `name`.
            fn flag(&mut self, name: &str) -> Option<&mut bool> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }

            /// Names of those that are on.
            pub fn names(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$name { names.push(stringify!($name)); })*
                names
            }
        }
    };
}

corrections! {
    /// Users at reset are the first row of the trace, not 34, 28, 16.
    first_users_from_trace,
    /// CPU held and latency entries at reset agree with the options in force.
    consistent_initial_state,
    /// The shrink test counts the third service too.
    include_third_service,
    /// The shrink test does not truncate CPU to whole cores.
    exact_cpu_arithmetic,
    /// Pods needed are the exact ceil(10 u / 7 m).
    exact_pod_formula,
    /// No users still need one pod.
    min_one_pod,
    /// The last step follows the reward and state rules of all others.
    final_step_like_others,
    /// An episode ends with its trace, not at step 200.
    truncate_at_trace_end,
    /// The observation shows at most 100 users.
    clamp_observed_users,
    /// The shrink test uses the quota field rather than a literal 40.
    quota_everywhere,
    /// Single-precision arithmetic as NumPy 2 promotes it (a difference of the platform, not a correction).
    numpy2_promotion,
}

impl Corrections {
    /// From names.
    ///
    /// # Errors
    /// [`Error::Input`] at `place` for an unknown name.
    pub fn from_names<S: AsRef<str>>(place: &str, names: &[S]) -> Result<Self> {
        let mut corrections = Self::default();
        for name in names {
            let name = name.as_ref();
            match corrections.flag(name) {
                Some(flag) => *flag = true,
                None => {
                    return Err(Error::input(
                        place,
                        format!("unknown correction `{name}`"),
                        format!("known: {}", Self::NAMES.join(", ")),
                    ));
                }
            }
        }
        Ok(corrections)
    }

    /// From a list as typed: `A,B`, `A+B`, `none` or nothing.
    ///
    /// # Errors
    /// As [`Self::from_names`].
    pub fn parse(place: &str, text: &str) -> Result<Self> {
        let names: Vec<&str> = text
            .split([',', '+'])
            .map(str::trim)
            .filter(|name| !name.is_empty() && *name != "none")
            .collect();
        Self::from_names(place, &names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_parse_with_both_separators_and_none() {
        let parsed = Corrections::parse("here", "exact_pod_formula+min_one_pod").unwrap();
        assert!(parsed.exact_pod_formula && parsed.min_one_pod && !parsed.numpy2_promotion);
        assert_eq!(parsed.names(), ["exact_pod_formula", "min_one_pod"]);
        assert_eq!(Corrections::parse("here", "none").unwrap(), Corrections::default());
        let error = Corrections::parse("--corrections", "minonepod").unwrap_err();
        assert!(error.to_string().contains("min_one_pod"), "{error}");
    }
}
