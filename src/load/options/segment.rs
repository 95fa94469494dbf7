//! Execution segments: which part of a test this machine runs.
//!
//! A segment is `(from, to]` of the whole, a sequence is how all machines together cover it.
//! Exact fractions; nothing is rounded before [`Segment::scale`].

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::reader::Fields;

/// Largest denominator: products of two stay far below what `i128` holds.
const DENOMINATOR_MAX: u64 = 1_000_000_000_000;

/// A reduced fraction of at least 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    pub numerator: u64,
    pub denominator: u64,
}

/// One part, `from` < `to`; the default is the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub from: Fraction,
    pub to: Fraction,
}

/// Boundaries of consecutive segments, ascending; at least two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub points: Vec<Fraction>,
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SegmentError {
    #[error("'{0}' is not a valid percentage, decimal, fraction or interval value")]
    Unreadable(String),
    #[error("segment start value must be less than its end, but {0} is not less than {1}")]
    Empty(Fraction, Fraction),
    #[error("segment end value {0} must be at most 1")]
    BeyondEnd(Fraction),
    #[error("at least 2 points are needed for an execution segment sequence, {0} given")]
    TooFewPoints(usize),
}

impl Fraction {
    pub const ZERO: Fraction = Fraction {
        numerator: 0,
        denominator: 1,
    };
    pub const ONE: Fraction = Fraction {
        numerator: 1,
        denominator: 1,
    };

    fn new(numerator: u64, denominator: u64) -> Option<Fraction> {
        let divisor = greatest_common_divisor(numerator, denominator);
        if divisor == 0 || denominator / divisor > DENOMINATOR_MAX {
            return None;
        }
        Some(Fraction {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        })
    }

    pub fn as_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// `value` × this, rounded half up.
    fn rounded(self, value: u64) -> u128 {
        let product = u128::from(value) * u128::from(self.numerator);
        let denominator = u128::from(self.denominator);
        (product * 2 + denominator) / (denominator * 2)
    }
}

impl FromStr for Fraction {
    type Err = SegmentError;

    /// `25%`, `1/4` or `0.25`.
    fn from_str(text: &str) -> Result<Fraction, SegmentError> {
        let unreadable = || SegmentError::Unreadable(text.to_owned());
        let (numerator, denominator) = if let Some(percent) = text.strip_suffix('%') {
            (percent.parse().map_err(|_| unreadable())?, 100)
        } else if let Some((above, below)) = text.split_once('/') {
            let above = above.parse().map_err(|_| unreadable())?;
            (above, below.parse().map_err(|_| unreadable())?)
        } else {
            decimal(text).ok_or_else(unreadable)?
        };
        if denominator == 0 {
            return Err(unreadable());
        }
        Fraction::new(numerator, denominator).ok_or_else(unreadable)
    }
}

/// `0.25` as 25 of 100.
fn decimal(text: &str) -> Option<(u64, u64)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if (whole.is_empty() && part.is_empty()) || part.len() > 12 {
        return None;
    }
    let digits = format!("{whole}{part}");
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let power = u32::try_from(part.len()).ok()?;
    Some((digits.parse().ok()?, 10_u64.pow(power)))
}

impl Ord for Fraction {
    fn cmp(&self, other: &Fraction) -> Ordering {
        let left = u128::from(self.numerator) * u128::from(other.denominator);
        left.cmp(&(u128::from(other.numerator) * u128::from(self.denominator)))
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Fraction) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.denominator == 1 {
            write!(f, "{}", self.numerator)
        } else {
            write!(f, "{}/{}", self.numerator, self.denominator)
        }
    }
}

impl Segment {
    pub const WHOLE: Segment = Segment {
        from: Fraction::ZERO,
        to: Fraction::ONE,
    };

    fn new(from: Fraction, to: Fraction) -> Result<Segment, SegmentError> {
        if from >= to {
            return Err(SegmentError::Empty(from, to));
        }
        if to > Fraction::ONE {
            return Err(SegmentError::BeyondEnd(to));
        }
        Ok(Segment { from, to })
    }

    /// This part of a whole number, so that the parts of a sequence add up to it.
    pub fn scale(&self, value: u64) -> u64 {
        // round(value·to − round(value·from)); the inner value is whole, so it can be moved out.
        let part = self.to.rounded(value) - self.from.rounded(value);
        u64::try_from(part).unwrap_or(value)
    }
}

impl FromStr for Segment {
    type Err = SegmentError;

    /// `1/4:1/2`, or `1/4` for the first quarter; empty is the whole.
    fn from_str(text: &str) -> Result<Segment, SegmentError> {
        match text.split_once(':') {
            Some((from, to)) => Segment::new(from.parse()?, to.parse()?),
            None if text.is_empty() => Ok(Segment::WHOLE),
            None => Segment::new(Fraction::ZERO, text.parse()?),
        }
    }
}

impl Default for Segment {
    fn default() -> Segment {
        Segment::WHOLE
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.from, self.to)
    }
}

impl Sequence {
    /// Its segments in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        self.points.windows(2).map(|pair| Segment {
            from: pair[0],
            to: pair[1],
        })
    }
}

impl Sequence {
    /// The whole, with `segment` as one of its parts: `sequence` where it is given, with what it
    /// leaves out at its ends, else just what lies before and after the segment.
    pub fn filled(sequence: Option<&Sequence>, segment: &Segment) -> Sequence {
        let mut points = match sequence {
            Some(sequence) => sequence.points.clone(),
            None => vec![segment.from, segment.to],
        };
        if points.first() != Some(&Fraction::ZERO) {
            points.insert(0, Fraction::ZERO);
        }
        if points.last() != Some(&Fraction::ONE) {
            points.push(Fraction::ONE);
        }
        Sequence { points }
    }
}

impl FromStr for Sequence {
    type Err = SegmentError;

    /// `0,1/4,1/2,1`.
    fn from_str(text: &str) -> Result<Sequence, SegmentError> {
        let points: Vec<Fraction> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        if points.len() < 2 {
            return Err(SegmentError::TooFewPoints(points.len()));
        }
        let sequence = Sequence { points };
        for pair in sequence.points.windows(2) {
            Segment::new(pair[0], pair[1])?;
        }
        Ok(sequence)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.points.iter().map(Fraction::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

impl Fields<'_> {
    pub(super) fn segment(&mut self, key: &str) -> Option<Segment> {
        let text = self.text(key)?;
        let parsed = text.parse();
        self.or_said(key, parsed)
    }

    /// An empty text is none.
    pub(super) fn sequence(&mut self, key: &str) -> Option<Sequence> {
        let text = self.text(key).filter(|text| !text.is_empty())?;
        let parsed = text.parse();
        self.or_said(key, parsed)
    }

    fn or_said<T>(&mut self, key: &str, parsed: Result<T, SegmentError>) -> Option<T> {
        parsed
            .map_err(|error| self.problem(&format!("option '{key}': {error}")))
            .ok()
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_read_in_all_spellings() {
        for (text, expected) in [
            ("20%", "0:1/5"),
            ("0.2", "0:1/5"),
            ("1/5", "0:1/5"),
            ("50%:0.75", "1/2:3/4"),
            ("2/4:75%", "1/2:3/4"),
            ("", "0:1"),
        ] {
            let segment: Segment = text.parse().expect(text);
            assert_eq!(segment.to_string(), expected);
        }
        for text in [
            "1/0",
            "x",
            "3/4:1/2",
            "1/2:1/2",
            "1.5",
            "-1",
            "1:2",
            "0.1234567890123",
        ] {
            assert!(text.parse::<Segment>().is_err(), "{text}");
        }
    }

    #[test]
    fn parts_of_a_sequence_add_up() {
        let sequence: Sequence = "0,1/3,0.5,80%,1".parse().expect("valid");
        assert_eq!(sequence.to_string(), "0,1/3,1/2,4/5,1");
        for value in [0, 1, 2, 3, 7, 10, 101, 9_999] {
            let sum: u64 = sequence.segments().map(|part| part.scale(value)).sum();
            assert_eq!(sum, value);
        }
        let half: Segment = "1/4:1/2".parse().expect("valid");
        assert_eq!(Sequence::filled(None, &half).to_string(), "0,1/4,1/2,1");
        assert_eq!("0".parse::<Sequence>(), Err(SegmentError::TooFewPoints(1)));
    }
}
