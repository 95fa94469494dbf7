//! Threshold expressions and metric selectors: text in, values that can't be wrong out.
//!
//! Grammar as in k6's documentation ("Thresholds"): `aggregation operator number`, where the
//! aggregation is one that the metric's type has; selectors are `metric` or `metric{tag:value,…}`.

use std::time::Duration;

use crate::load::metrics::MetricKind;

/// A figure of a sink.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aggregation {
    Count,
    Rate,
    Value,
    Avg,
    Min,
    Med,
    Max,
    /// 0 to 100.
    Percentile(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
}

/// One parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// As written in the script.
    pub source: String,
    pub aggregation: Aggregation,
    pub operator: Operator,
    /// Or by how much the baseline's figure is multiplied, see `relative`.
    pub limit: f64,
    /// Whether the limit is one of the baseline's figure.
    pub relative: bool,
    /// Judges every complete window of this length rather than the run as a whole.
    pub window: Option<Duration>,
    pub abort_on_fail: bool,
    /// No abort before this much of the run has passed.
    pub delay_abort: Duration,
}

/// A metric, or the part of its samples that carry all these tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub metric: String,
    /// As written between the braces, trimmed.
    pub suffix: Option<String>,
    pub tags: Vec<(String, String)>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseError {
    #[error(
        "'{0}' is no threshold expression\nhint: write an aggregation, an operator and a number, as in p(95)<500"
    )]
    Expression(String),
    #[error("'{0}' is no metric selector\nhint: write metric or metric{{tag:value}}")]
    Selector(String),
    #[error("aggregation '{aggregation}' is not one of a {kind}: {allowed}")]
    Aggregation {
        aggregation: String,
        kind: &'static str,
        allowed: &'static str,
    },
}

impl Aggregation {
    /// Reads `avg`, `p(95)` and so on.
    pub fn parse(text: &str) -> Option<Aggregation> {
        Some(match text {
            "count" => Aggregation::Count,
            "rate" => Aggregation::Rate,
            "value" => Aggregation::Value,
            "avg" => Aggregation::Avg,
            "min" => Aggregation::Min,
            "med" => Aggregation::Med,
            "max" => Aggregation::Max,
            _ => {
                let percent: f64 = text
                    .strip_prefix("p(")?
                    .strip_suffix(')')?
                    .trim()
                    .parse()
                    .ok()?;
                if !(0.0..=100.0).contains(&percent) {
                    return None;
                }
                Aggregation::Percentile(percent)
            }
        })
    }

    fn fits(self, kind: MetricKind) -> bool {
        match kind {
            MetricKind::Counter => matches!(self, Aggregation::Count | Aggregation::Rate),
            MetricKind::Gauge => matches!(self, Aggregation::Value),
            MetricKind::Rate => matches!(self, Aggregation::Rate),
            MetricKind::Trend => !matches!(
                self,
                Aggregation::Count | Aggregation::Rate | Aggregation::Value
            ),
        }
    }
}

impl Operator {
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Operator::Greater => left > right,
            Operator::GreaterOrEqual => left >= right,
            Operator::Less => left < right,
            Operator::LessOrEqual => left <= right,
            Operator::Equal => left == right,
            Operator::NotEqual => left != right,
        }
    }
}

impl Threshold {
    /// Parses an expression without abort settings.
    ///
    /// # Errors
    /// Text that is no expression of the grammar.
    pub fn parse(source: &str) -> Result<Threshold, ParseError> {
        let wrong = || ParseError::Expression(source.to_owned());
        let at = source.find(['<', '>', '=', '!']).ok_or_else(wrong)?;
        let (left, rest) = source.split_at(at);
        let length = rest
            .find(|c| !matches!(c, '<' | '>' | '=' | '!'))
            .ok_or_else(wrong)?;
        let (operator, right) = rest.split_at(length);
        let operator = match operator {
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            "==" | "===" => Operator::Equal,
            "!=" => Operator::NotEqual,
            _ => return Err(wrong()),
        };
        let (limit, relative) = limit(right.trim()).ok_or_else(wrong)?;
        Ok(Threshold {
            source: source.to_owned(),
            aggregation: Aggregation::parse(left.trim()).ok_or_else(wrong)?,
            operator,
            limit,
            relative,
            window: None,
            abort_on_fail: false,
            delay_abort: Duration::ZERO,
        })
    }

    /// What tells it apart in verdicts: the expression, with the window if it has one.
    pub fn name(&self) -> String {
        match self.window {
            None => self.source.clone(),
            Some(window) => {
                let window = crate::load::options::duration::format(window);
                format!("{} per {window}", self.source)
            }
        }
    }

    /// Whether the aggregation is one of a metric of `kind`.
    ///
    /// # Errors
    /// Names what the type has instead.
    pub fn check_kind(&self, kind: MetricKind) -> Result<(), ParseError> {
        if self.aggregation.fits(kind) {
            return Ok(());
        }
        let (kind, allowed) = match kind {
            MetricKind::Counter => ("counter", "count, rate"),
            MetricKind::Gauge => ("gauge", "value"),
            MetricKind::Rate => ("rate", "rate"),
            MetricKind::Trend => ("trend", "avg, min, med, max, p(0) to p(100)"),
        };
        Err(ParseError::Aggregation {
            aggregation: self
                .source
                .split(['<', '>', '=', '!'])
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned(),
            kind,
            allowed,
        })
    }
}

impl Selector {
    /// Parses `metric` or `metric{tag:value,…}`. Spaces and quotes around names and values go; a
    /// value may contain colons (`group:::setup`).
    ///
    /// # Errors
    /// Unbalanced braces, an empty metric, or a tag without colon.
    pub fn parse(text: &str) -> Result<Selector, ParseError> {
        let wrong = || ParseError::Selector(text.to_owned());
        let text = text.trim();
        let Some((metric, rest)) = text.split_once('{') else {
            if text.is_empty() || text.contains('}') {
                return Err(wrong());
            }
            return Ok(Selector {
                metric: text.to_owned(),
                suffix: None,
                tags: Vec::new(),
            });
        };
        let suffix = rest.strip_suffix('}').ok_or_else(wrong)?.trim();
        if metric.trim().is_empty() || suffix.is_empty() {
            return Err(wrong());
        }
        let mut tags = Vec::new();
        for pair in suffix.split(',') {
            let (name, value) = pair.split_once(':').ok_or_else(wrong)?;
            let name = trimmed(name);
            if name.is_empty() {
                return Err(wrong());
            }
            tags.push((name.to_owned(), trimmed(value).to_owned()));
        }
        Ok(Selector {
            metric: metric.trim().to_owned(),
            suffix: Some(suffix.to_owned()),
            tags,
        })
    }
}

/// A number, or `baseline` with at most one factor on either side.
fn limit(text: &str) -> Option<(f64, bool)> {
    let number = |text: &str| text.trim().parse().ok().filter(|n: &f64| n.is_finite());
    if text == "baseline" {
        return Some((1.0, true));
    }
    let Some((left, right)) = text.split_once('*') else {
        return Some((number(text)?, false));
    };
    let factor = match (left.trim(), right.trim()) {
        (factor, "baseline") | ("baseline", factor) => factor,
        _ => return None,
    };
    Some((number(factor)?, true))
}

fn trimmed(text: &str) -> &str {
    text.trim().trim_matches(['"', '\'']).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_the_grammar_are_read() {
        let threshold = Threshold::parse("p(99.9) <= 1.5e3").expect("an expression");
        assert_eq!(threshold.aggregation, Aggregation::Percentile(99.9));
        assert_eq!(threshold.operator, Operator::LessOrEqual);
        assert_eq!(threshold.limit, 1500.0);
        for good in ["rate<0.01", "count===0", "value!=3", "med > 1", "p(0)>=0"] {
            assert!(Threshold::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", "p(95)", "p(101)<5", "rate<", "rate=5", "avg<x", "mean<5", "rate!==0",
        ] {
            assert!(Threshold::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_may_be_relative_to_a_baseline() {
        for (text, factor) in [
            ("p(95) < 1.1 * baseline", 1.1),
            ("avg<=baseline*2", 2.0),
            ("max<baseline", 1.0),
        ] {
            let threshold = Threshold::parse(text).expect("an expression");
            assert_eq!(
                (threshold.limit, threshold.relative),
                (factor, true),
                "{text}"
            );
        }
        for bad in [
            "avg<2*2",
            "avg<baseline*baseline",
            "avg<1*baseline*2",
            "avg<baselines",
        ] {
            assert!(Threshold::parse(bad).is_err(), "{bad}");
        }
        assert!(!Threshold::parse("avg<2").expect("an expression").relative);
    }

    #[test]
    fn aggregations_must_fit_the_type() {
        let threshold = Threshold::parse("p(95)<5").expect("an expression");
        assert!(threshold.check_kind(MetricKind::Trend).is_ok());
        let error = threshold.check_kind(MetricKind::Rate).expect_err("no fit");
        assert!(error.to_string().contains("'p(95)'"), "{error}");
    }

    #[test]
    fn selectors_keep_colons_in_values() {
        let selector =
            Selector::parse("http_reqs{group:::setup, status: \"200\"}").expect("a selector");
        assert_eq!(selector.metric, "http_reqs");
        assert_eq!(
            selector.tags,
            [
                ("group".to_owned(), "::setup".to_owned()),
                ("status".to_owned(), "200".to_owned())
            ]
        );
        for bad in ["", "m{", "m{}", "m{a}", "m}", "{a:b}"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }
}
