//! Where `k6/secrets` come from: `--secret-source file=…`, `mock=…` or `url=…`.
//!
//! Each value is told to the owner of the logs before a script gets it, so that it never shows
//! there. Values are fetched once. Knows neither JavaScript nor the logs.

mod fetch;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use self::fetch::Address;

/// The source that `secrets.get` asks.
pub(crate) const DEFAULT: &str = "default";

/// Told of every secret before it is used.
type Told = Box<dyn Fn(&str) + Send + Sync>;

/// Why there is no such secret, or no such source; k6's words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("couldn't parse secret source configuration {0:?}")]
    Empty(String),
    #[error(
        "no secret source for type {kind:?} for configuration {line:?}\nhint: file, mock or url"
    )]
    Kind { kind: String, line: String },
    #[error("secret source for name {name:?} already registered before configuration {line:?}")]
    Twice { name: String, line: String },
    #[error("can't have two secret sources that are default ones, second one was {0:?}")]
    TwoDefaults(String),
    #[error("parsing {0:?}, needs =")]
    NoPair(String),
    #[error("unknown configuration key for {kind} secret source {key:?}")]
    Key { kind: &'static str, key: String },
    #[error("the secrets in {path:?} can't be read: {reason}")]
    File { path: String, reason: String },
    #[error("missing or invalid config: {0}")]
    Config(String),
    #[error("no secret sources are configured")]
    None,
    #[error("no secret source with name {0:?} is configured")]
    Unknown(String),
    #[error("no value")]
    NoValue,
    #[error("{0}")]
    Fetch(String),
}

/// All sources of a run, by name.
#[derive(Default)]
pub struct Secrets {
    sources: HashMap<String, Arc<Source>>,
    told: Option<Told>,
}

struct Source {
    kind: Kind,
    /// What was asked for before.
    cache: Mutex<HashMap<String, Arc<str>>>,
}

enum Kind {
    /// `file` and `mock`: everything is known at once.
    Pairs(HashMap<String, String>),
    Url(Box<Address>),
}

impl Secrets {
    /// Reads `--secret-source` lines; `variables` are the process's.
    ///
    /// # Errors
    /// A line that names no source, or a source that can't be read.
    pub fn new(
        lines: &[String],
        variables: &HashMap<String, String>,
        told: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Secrets, Error> {
        let mut sources: HashMap<String, Arc<Source>> = HashMap::new();
        for line in lines {
            let (kind, config) = line.split_once('=').unwrap_or((line, ""));
            if kind.trim().is_empty() {
                return Err(Error::Empty(line.clone()));
            }
            let given = Given::read(kind, config);
            let source = Arc::new(Source {
                kind: Kind::make(kind, &given.config, line, variables)?,
                cache: Mutex::default(),
            });
            if sources.insert(given.name.clone(), source.clone()).is_some() {
                return Err(Error::Twice {
                    name: given.name,
                    line: line.clone(),
                });
            }
            if given.is_default && sources.insert(DEFAULT.to_owned(), source).is_some() {
                return Err(Error::TwoDefaults(given.config));
            }
        }
        if sources.len() == 1 {
            let only = sources.values().next().cloned();
            sources.extend(only.map(|only| (DEFAULT.to_owned(), only)));
        }
        Ok(Secrets {
            sources,
            told: Some(Box::new(told)),
        })
    }

    /// What can be had without waiting; `None`: it must be fetched.
    pub(crate) fn known(&self, source: &str, name: &str) -> Option<Result<Arc<str>, Error>> {
        let found = match self.source(source) {
            Ok(found) => found,
            Err(error) => return Some(Err(error)),
        };
        if let Some(value) = lock(&found.cache).get(name) {
            return Some(Ok(value.clone()));
        }
        match &found.kind {
            Kind::Pairs(pairs) => Some(match pairs.get(name) {
                Some(value) => Ok(self.keep(found, name, value)),
                None => Err(Error::NoValue),
            }),
            Kind::Url(_) => None,
        }
    }

    /// Blocks until the value is there: not for a thread that VUs run on.
    pub(crate) fn get(&self, source: &str, name: &str) -> Result<Arc<str>, Error> {
        if let Some(known) = self.known(source, name) {
            return known;
        }
        let found = self.source(source)?;
        match &found.kind {
            Kind::Url(address) => {
                let value = address.get(name)?;
                Ok(self.keep(found, name, &value))
            }
            Kind::Pairs(_) => Err(Error::NoValue),
        }
    }

    fn source(&self, name: &str) -> Result<&Source, Error> {
        if self.sources.is_empty() {
            return Err(Error::None);
        }
        let found = self.sources.get(name);
        found
            .map(AsRef::as_ref)
            .ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    fn keep(&self, source: &Source, name: &str, value: &str) -> Arc<str> {
        if let Some(told) = &self.told {
            told(value);
        }
        let value: Arc<str> = value.into();
        lock(&source.cache).insert(name.to_owned(), value.clone());
        value
    }
}

/// Never shows a value.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.sources.keys()).finish()
    }
}

/// A source's line without what is common to all kinds.
struct Given {
    name: String,
    is_default: bool,
    config: String,
}

impl Given {
    fn read(kind: &str, config: &str) -> Given {
        let (mut name, mut is_default) = (String::new(), false);
        let mut rest = Vec::new();
        for part in config.split(',') {
            match part.split_once('=') {
                _ if part == "default" => is_default = true,
                Some(("name", given)) => given.clone_into(&mut name),
                _ => rest.push(part),
            }
        }
        if name.is_empty() {
            kind.clone_into(&mut name);
        }
        Given {
            name,
            is_default,
            config: rest.join(","),
        }
    }
}

impl Kind {
    fn make(
        kind: &str,
        config: &str,
        line: &str,
        variables: &HashMap<String, String>,
    ) -> Result<Kind, Error> {
        match kind {
            "mock" => pairs(config.split(',')).map(Kind::Pairs),
            "file" => file(config).map(Kind::Pairs),
            "url" => Ok(Kind::Url(Box::new(Address::read(config, variables)?))),
            _ => Err(Error::Kind {
                kind: kind.to_owned(),
                line: line.to_owned(),
            }),
        }
    }
}

/// `PATH` or `filename=PATH`: lines of `name=value`.
fn file(config: &str) -> Result<HashMap<String, String>, Error> {
    let mut path = "";
    for part in config.split(',') {
        match part.split_once('=') {
            None => path = part,
            Some(("filename", given)) => path = given,
            Some((key, _)) => {
                return Err(Error::Key {
                    kind: "file",
                    key: key.to_owned(),
                });
            }
        }
    }
    let text = std::fs::read_to_string(Path::new(path)).map_err(|error| Error::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    pairs(text.lines())
}

fn pairs<'a>(lines: impl Iterator<Item = &'a str>) -> Result<HashMap<String, String>, Error> {
    lines
        .map(|line| match line.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(Error::NoPair(line.to_owned())),
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no thread panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(lines: &[&str]) -> Result<Secrets, Error> {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        Secrets::new(&lines, &HashMap::new(), |_| {})
    }

    #[test]
    fn sources_have_names_and_one_default() {
        let one = secrets(&["mock=a=1,b=2=3"]).expect("valid");
        assert_eq!(one.get(DEFAULT, "b").as_deref(), Ok("2=3"));
        assert_eq!(one.get("mock", "a").as_deref(), Ok("1"));
        assert_eq!(one.get(DEFAULT, "c"), Err(Error::NoValue));
        assert_eq!(one.get("x", "a"), Err(Error::Unknown("x".to_owned())));
        let two = secrets(&["mock=name=one,a=1", "mock=name=two,default,a=2"]).expect("valid");
        assert_eq!(two.get("one", "a").as_deref(), Ok("1"));
        assert_eq!(two.get(DEFAULT, "a").as_deref(), Ok("2"));
        let none = secrets(&[]).expect("valid");
        assert_eq!(none.get(DEFAULT, "a"), Err(Error::None));
    }

    #[test]
    fn wrong_sources_are_refused() {
        let refused = |lines: &[&str]| secrets(lines).expect_err("wrong").to_string();
        assert!(refused(&["vault=x"]).contains("no secret source for type \"vault\""));
        assert!(refused(&["mock=a"]).contains("parsing \"a\", needs ="));
        assert!(refused(&["mock=a=1", "mock=b=1"]).contains("already registered"));
        let twice = ["mock=default,a=1", "mock=name=b,default,a=1"];
        assert!(refused(&twice).contains("two secret sources that are default"));
        assert!(refused(&["file=/none/at/all"]).contains("can't be read"));
        assert!(refused(&["=x"]).contains("couldn't parse"));
    }

    #[test]
    fn values_are_told_before_they_are_given() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let tell = heard.clone();
        let told = move |value: &str| lock(&tell).push(value.to_owned());
        let lines = ["mock=a=hidden".to_owned()];
        let secrets = Secrets::new(&lines, &HashMap::new(), told).expect("valid");
        let _ = secrets.get(DEFAULT, "a");
        let _ = secrets.get(DEFAULT, "a");
        assert_eq!(*lock(&heard), ["hidden"]);
        assert!(!format!("{secrets:?}").contains("hidden"));
    }
}
