//! Reads typed values out of an options object and collects everything that is wrong with it.
//!
//! Keys may be in any case, as in k6, whose JSON library does not look at it. `null` counts as absent. Numbers may be strings (`vus: __ENV.VUS` is in many scripts).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};

use super::duration;
use super::scenario::Stage;
use crate::load::threshold::{Aggregation, Threshold};

/// Shortest window of a threshold.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// One object under reading. Keys are told apart as read or unread.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// Begins every problem's text, such as `scenario 'a': `; empty at the top level.
    place: String,
    problems: &'a mut Vec<String>,
    read: BTreeSet<String>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(
        object: &'a Map<String, Value>,
        place: String,
        problems: &'a mut Vec<String>,
    ) -> Fields<'a> {
        Fields {
            object,
            place,
            problems,
            read: BTreeSet::new(),
        }
    }

    pub(super) fn problem(&mut self, text: &str) {
        self.problems.push(format!("{}{text}", self.place));
    }

    /// Fields of an object inside this one, with their own place in problems.
    pub(super) fn inner<'b>(
        &'b mut self,
        object: &'b Map<String, Value>,
        place: String,
    ) -> Fields<'b> {
        Fields::new(object, place, self.problems)
    }

    pub(super) fn ignore(&mut self, key: &str) {
        self.read.insert(key.to_ascii_lowercase());
    }

    /// Keys that nobody asked for, `null` ones aside.
    pub(super) fn unread(&self) -> Vec<String> {
        self.object
            .iter()
            .filter(|(key, value)| {
                !value.is_null() && !self.read.contains(&key.to_ascii_lowercase())
            })
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The raw value, marked as read.
    pub(super) fn value(&mut self, key: &str) -> Option<&'a Value> {
        self.ignore(key);
        entry(self.object, key).filter(|value| !value.is_null())
    }

    /// A whole number of at least 0 that fits `T`.
    pub(super) fn count<T: TryFrom<u64>>(&mut self, key: &str) -> Option<T> {
        let value = self.value(key)?;
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            other => whole(other),
        };
        let fitting = number.and_then(|number: u64| T::try_from(number).ok());
        self.or_wrong(key, value, "a whole number of at least 0", fitting)
    }

    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        let value = self.value(key)?;
        let duration = as_duration(value);
        self.or_wrong(key, value, "a duration such as '1m30s'", duration)
    }

    /// A duration without which nothing can be made of the object.
    pub(super) fn required_duration(&mut self, key: &str) -> Option<Duration> {
        if self.value(key).is_none() {
            self.problem(&format!("option '{key}' is missing"));
        }
        self.duration(key)
    }

    /// A count without which nothing can be made of the object.
    pub(super) fn required_count<T: TryFrom<u64>>(&mut self, key: &str) -> Option<T> {
        if self.value(key).is_none() {
            self.problem(&format!("option '{key}' is missing"));
        }
        self.count(key)
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => match text.trim() {
                "true" | "True" | "TRUE" | "t" | "T" | "1" => Some(true),
                "false" | "False" | "FALSE" | "f" | "F" | "0" | "" => Some(false),
                _ => None,
            },
            _ => None,
        };
        self.or_wrong(key, value, "true or false", flag)
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let value = self.value(key)?;
        let text = value.as_str().map(str::to_owned);
        self.or_wrong(key, value, "a string", text)
    }

    /// An object of strings; numbers and booleans in it become strings.
    pub(super) fn texts(&mut self, key: &str) -> Option<BTreeMap<String, String>> {
        let value = self.value(key)?;
        let texts = match value {
            Value::Object(object) => object
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| {
                    let text = match value {
                        Value::String(text) => text.clone(),
                        Value::Number(_) | Value::Bool(_) => value.to_string(),
                        _ => return None,
                    };
                    Some((key.clone(), text))
                })
                .collect(),
            // The environment's spelling: k=v,k2=v2.
            Value::String(text) => text
                .split(',')
                .map(|pair| pair.split_once('='))
                .map(|pair| pair.map(|(k, v)| (k.to_owned(), v.to_owned())))
                .collect(),
            _ => None,
        };
        self.or_wrong(key, value, "an object of strings", texts)
    }

    /// A list of `{duration, target}`, or `30s:10,1m:50`.
    pub(super) fn stages(&mut self, key: &str) -> Option<Vec<Stage>> {
        let value = self.value(key)?;
        let stages = match value {
            Value::Array(list) => list.iter().map(as_stage).collect(),
            Value::String(text) => text.split(',').map(parse_stage).collect(),
            _ => None,
        };
        let rule = "a list of {duration, target}, both at least 0";
        self.or_wrong(key, value, rule, stages)
    }

    /// Names of trend figures: `["avg", "p(95)"]`, or `avg,p(95)`.
    pub(super) fn trend_stats(&mut self, key: &str) -> Option<Vec<(String, Aggregation)>> {
        let value = self.value(key)?;
        let names: Option<Vec<&str>> = match value {
            Value::Array(list) => list.iter().map(Value::as_str).collect(),
            Value::String(text) => Some(text.split(',').collect()),
            _ => None,
        };
        let stats = names.and_then(|names| names.into_iter().map(parse_stat).collect());
        let rule = "a list of avg, min, med, max, count and p(0) to p(100)";
        self.or_wrong(key, value, rule, stats)
    }

    /// Thresholds by metric; each a string or `{threshold, abortOnFail, delayAbortEval}`.
    pub(super) fn thresholds(&mut self, key: &str) -> Option<BTreeMap<String, Vec<Threshold>>> {
        let value = self.value(key)?;
        let Some(object) = value.as_object() else {
            return self.or_wrong(key, value, "an object of lists", None);
        };
        let mut thresholds = BTreeMap::new();
        for (metric, list) in object {
            let one = std::slice::from_ref(list);
            let list = list.as_array().map_or(one, Vec::as_slice);
            let mut parsed = Vec::new();
            for entry in list {
                match as_threshold(entry) {
                    Ok(threshold) => parsed.push(threshold),
                    Err(text) => self.problem(&format!("thresholds of '{metric}': {text}")),
                }
            }
            thresholds.insert(metric.clone(), parsed);
        }
        Some(thresholds)
    }

    /// A whole number, negative ones included.
    pub(super) fn number(&mut self, key: &str) -> Option<i64> {
        let value = self.value(key)?;
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_i64(),
        };
        self.or_wrong(key, value, "a whole number", number)
    }

    /// A list of strings, or a text of them with commas between; an empty text has none.
    pub(super) fn list(&mut self, key: &str, rule: &str) -> Option<Vec<String>> {
        let value = self.value(key)?;
        let list = match value {
            Value::Array(list) => list.iter().map(|v| v.as_str().map(str::to_owned)).collect(),
            Value::String(text) if text.is_empty() => Some(Vec::new()),
            Value::String(text) => Some(text.split(',').map(|part| part.trim().into()).collect()),
            _ => None,
        };
        self.or_wrong(key, value, rule, list)
    }

    pub(super) fn or_wrong<T>(
        &mut self,
        key: &str,
        value: &Value,
        rule: &str,
        read: Option<T>,
    ) -> Option<T> {
        if read.is_none() {
            self.problem(&format!("option '{key}' must be {rule}, not {value}"));
        }
        read
    }
}

/// Reads the command line's `30s:10`.
pub fn parse_stage(text: &str) -> Option<Stage> {
    let (length, target) = text.split_once(':')?;
    Some(Stage {
        duration: duration::parse(length)?,
        target: target.trim().parse().ok()?,
    })
}

/// Reads one name of `summaryTrendStats`.
pub fn parse_stat(name: &str) -> Option<(String, Aggregation)> {
    let name = name.trim();
    let stat = Aggregation::parse(name)
        .filter(|stat| !matches!(stat, Aggregation::Rate | Aggregation::Value))?;
    Some((name.to_owned(), stat))
}

/// The value of a key in its own case, else in any.
fn entry<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    object.get(key).or_else(|| {
        let mut entries = object.iter();
        entries
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    })
}

fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64)
    })
}

fn as_duration(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => duration::parse(text),
        Value::Number(number) => duration::from_ms(number.as_f64()?),
        _ => None,
    }
}

fn as_stage(value: &Value) -> Option<Stage> {
    let object = value.as_object()?;
    let target = entry(object, "target")?;
    let target = match target {
        Value::String(text) => text.trim().parse().ok()?,
        other => whole(other)?,
    };
    Some(Stage {
        duration: as_duration(entry(object, "duration")?)?,
        target: u32::try_from(target).ok()?,
    })
}

fn as_threshold(value: &Value) -> Result<Threshold, String> {
    let parse = |text: &str| Threshold::parse(text).map_err(|error| error.to_string());
    match value {
        Value::String(text) => parse(text),
        Value::Object(object) => {
            let text = entry(object, "threshold")
                .and_then(Value::as_str)
                .ok_or("an entry has no string 'threshold'")?;
            let mut threshold = parse(text)?;
            threshold.abort_on_fail =
                matches!(entry(object, "abortOnFail"), Some(Value::Bool(true)));
            if let Some(delay) = entry(object, "delayAbortEval").filter(|v| !v.is_null()) {
                threshold.delay_abort = as_duration(delay)
                    .ok_or_else(|| format!("'delayAbortEval' must be a duration, not {delay}"))?;
            }
            if let Some(window) = entry(object, "window").filter(|v| !v.is_null()) {
                let length = as_duration(window).filter(|length| *length >= WINDOW_MIN);
                let length =
                    length.ok_or_else(|| format!("'window' must be at least 1s, not {window}"))?;
                threshold.window = Some(length);
            }
            Ok(threshold)
        }
        other => Err(format!(
            "an entry must be a string or an object, not {other}"
        )),
    }
}
