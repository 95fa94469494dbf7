//! An output's own settings: `K6_*` variables and the text behind `NAME=`.
//!
//! Pure: the environment is handed in. Every problem is kept and told at once by
//! [`Settings::finish`].

use std::time::Duration;

use super::Error;
use crate::load::options::duration;

/// What the outputs of a run may be configured from.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    output: String,
    variables: Vec<(String, String)>,
    problems: Vec<String>,
}

impl Settings {
    /// `variables` is the environment; empty values count as unset.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Settings {
        Settings {
            variables: variables
                .into_iter()
                .filter(|(_, v)| !v.is_empty())
                .collect(),
            ..Settings::default()
        }
    }

    /// The same variables for one output, whose name begins its errors.
    pub(super) fn of(&self, output: &str) -> Settings {
        Settings {
            output: output.to_owned(),
            problems: Vec::new(),
            ..self.clone()
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    #[cfg(feature = "remote-outputs")]
    /// Values of all variables whose names begin with `prefix`, by the rest of their names.
    pub(super) fn prefixed(&self, prefix: &str) -> Vec<(String, String)> {
        self.variables
            .iter()
            .filter_map(|(name, value)| {
                Some((name.strip_prefix(prefix)?.to_owned(), value.clone()))
            })
            .collect()
    }

    pub(super) fn duration(&mut self, name: &str, default: Duration) -> Duration {
        self.parsed(name, default, "a duration such as 5s or 500ms", |text| {
            duration::parse(text).filter(|parsed| !parsed.is_zero())
        })
    }

    #[cfg(feature = "remote-outputs")]
    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
        self.parsed(name, default, "true or false", parse_flag)
    }

    #[cfg(feature = "remote-outputs")]
    pub(super) fn count(&mut self, name: &str, default: usize) -> usize {
        self.parsed(name, default, "a positive number", |text| {
            text.parse().ok().filter(|count| *count > 0)
        })
    }

    /// A variable that `parse` understands, or the default; `wanted` says what it must be.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        default: T,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some(text) = self.text(name) else {
            return default;
        };
        parse(text.trim()).unwrap_or_else(|| {
            self.problem(format!("{name} must be {wanted}, not '{text}'"));
            default
        })
    }

    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// # Errors
    /// Everything that was wrong.
    pub(super) fn finish(self) -> Result<(), Error> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Error::Refused {
            output: self.output,
            reason: self.problems.join("; "),
        })
    }
}

#[cfg(feature = "remote-outputs")]
/// A boolean as Go reads it.
pub(super) fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `a=1,b=2` with either separator; parts without one are `None`.
pub(super) fn pairs(text: &str, separator: char) -> Option<Vec<(String, String)>> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once(separator)?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "remote-outputs")]
    #[test]
    fn all_problems_are_told_at_once() {
        let variables = [
            ("K6_A", "soon"),
            ("K6_B", "-3"),
            ("K6_C", "yes"),
            ("K6_D", ""),
        ];
        let settings = Settings::new(variables.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let mut settings = settings.of("test");
        settings.duration("K6_A", Duration::ZERO);
        settings.count("K6_B", 1);
        settings.flag("K6_C", false);
        assert_eq!(
            settings.duration("K6_D", Duration::from_secs(1)).as_secs(),
            1
        );
        let error = settings.finish().expect_err("three are wrong").to_string();
        for name in ["K6_A", "K6_B", "K6_C"] {
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn pairs_need_their_separator() {
        let two = vec![
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), "2=3".to_owned()),
        ];
        assert_eq!(pairs("a=1, b=2=3", '='), Some(two));
        assert_eq!(pairs("a", '='), None);
    }
}
