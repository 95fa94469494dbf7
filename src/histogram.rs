//! Bounded-memory distribution of f64 values: exact while small, log-linear beyond.
//!
//! A leaf, used by the load engine's trends, by the reporter's per-second points and by the
//! stored series, so that one layout holds in memory, on the wire and in the file.
//!
//! Up to [`EXACT_MAX`] values are kept as they are, so small runs give k6's own percentiles.
//! Beyond that a value falls into the bucket of its sign, exponent and first mantissa bits: 10
//! bits put the bucket's middle within 0.05 % of the value, 6 bits (the coarse variant for
//! storage) within 0.8 %. Buckets are sparse and ascending, merging adds counts.

use std::fmt::Write as _;

/// Values kept exactly before buckets take over.
pub const EXACT_MAX: usize = 1_000;
/// Mantissa bits of a histogram in memory and on the wire.
const FINE_BITS: u32 = 10;
/// Mantissa bits of the coarse variant: a bucket is 1.6 % wide.
const COARSE_BITS: u32 = 6;
/// Values that the coarse variant keeps exactly: about as short as their buckets would be.
const COARSE_EXACT_MAX: usize = 16;
/// Buckets that `from_wire` accepts: more than a fine histogram of 64 octaves has.
const WIRE_BUCKETS_MAX: usize = 65_536;

#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    values: Values,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    /// In order of arrival.
    Exact(Vec<f64>),
    /// Ascending by key; a key is the value's order-preserving bits cut to `bits` of mantissa.
    Buckets { bits: u32, buckets: Vec<(u32, u64)> },
}

/// Why a text is no histogram.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a histogram: {0}")]
pub struct WireError(&'static str);

impl Histogram {
    pub fn new() -> Histogram {
        Histogram {
            count: 0,
            sum: 0.0,
            min: 0.0,
            max: 0.0,
            values: Values::Exact(Vec::new()),
        }
    }

    /// Adds one value. NaN is ignored; infinities count as the largest finite numbers.
    pub fn record(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        let value = value.clamp(f64::MIN, f64::MAX);
        self.note(value, value, value, 1);
        match &mut self.values {
            Values::Exact(values) if values.len() < EXACT_MAX => values.push(value),
            Values::Exact(values) => {
                let mut buckets = bucketed(values, FINE_BITS);
                add_to(&mut buckets, key(value, FINE_BITS), 1);
                self.values = Values::Buckets {
                    bits: FINE_BITS,
                    buckets,
                };
            }
            Values::Buckets { bits, buckets } => add_to(buckets, key(value, *bits), 1),
        }
    }

    /// Adds everything that `other` holds. The result is as coarse as the coarser of the two.
    pub fn merge(&mut self, other: &Histogram) {
        if other.count == 0 {
            return;
        }
        self.note(other.min, other.max, other.sum, other.count);
        if let (Values::Exact(own), Values::Exact(theirs)) = (&mut self.values, &other.values)
            && own.len() + theirs.len() <= EXACT_MAX
        {
            own.extend_from_slice(theirs);
            return;
        }
        let bits = self.bits().min(other.bits());
        let merged = merge_sorted(&self.buckets_at(bits), &other.buckets_at(bits));
        self.values = Values::Buckets {
            bits,
            buckets: merged,
        };
    }

    /// The value below which the share `p` (0 to 1) lies, by k6's definition: linear interpolation
    /// between the two values around rank `p * (count - 1)`. Empty: 0.
    pub fn quantile(&self, p: f64) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let rank = p.clamp(0.0, 1.0) * (self.count - 1) as f64;
        let lower = rank.floor() as u64;
        let upper = rank.ceil() as u64;
        let (low, high) = match &self.values {
            Values::Exact(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable_by(f64::total_cmp);
                (sorted[lower as usize], sorted[upper as usize])
            }
            Values::Buckets { bits, buckets } => (
                value_at(buckets, *bits, lower),
                value_at(buckets, *bits, upper),
            ),
        };
        (low + (high - low) * (rank - lower as f64)).clamp(self.min, self.max)
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The smallest value; 0 while empty, as in k6.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The largest value; 0 while empty.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The mean; 0 while empty.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum / self.count as f64
        }
    }

    /// A copy with buckets 1.6 % wide (error at most 0.8 %) for storage.
    pub fn coarse(&self) -> Histogram {
        match &self.values {
            Values::Exact(values) if values.len() <= COARSE_EXACT_MAX => self.clone(),
            _ => Histogram {
                values: Values::Buckets {
                    bits: self.bits().min(COARSE_BITS),
                    buckets: self.buckets_at(self.bits().min(COARSE_BITS)),
                },
                ..*self
            },
        }
    }

    /// Text for JSON strings, without characters that JSON escapes. Exact: `x` and the values;
    /// else `h`, mantissa bits, sum, min, max and `key:count` pairs, keys as differences.
    pub fn to_wire(&self) -> String {
        let mut text = String::new();
        match &self.values {
            Values::Exact(values) => {
                text.push('x');
                for (index, value) in values.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    let _ = write!(text, "{comma}{value}");
                }
            }
            Values::Buckets { bits, buckets } => {
                let _ = write!(text, "h{bits};{};{};{};", self.sum, self.min, self.max);
                let mut previous = 0;
                for (index, (key, count)) in buckets.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    let _ = write!(text, "{comma}{}", key - previous);
                    if *count != 1 {
                        let _ = write!(text, ":{count}");
                    }
                    previous = *key;
                }
            }
        }
        text
    }

    /// Reads what [`Histogram::to_wire`] wrote.
    ///
    /// # Errors
    /// Anything else, also too many values or buckets.
    pub fn from_wire(text: &str) -> Result<Histogram, WireError> {
        if let Some(list) = text.strip_prefix('x') {
            let mut histogram = Histogram::new();
            for part in list.split(',').filter(|_| !list.is_empty()) {
                if histogram.count as usize == EXACT_MAX {
                    return Err(WireError("too many exact values"));
                }
                histogram.record(finite(part)?);
            }
            return Ok(histogram);
        }
        let rest = text
            .strip_prefix('h')
            .ok_or(WireError("unknown first letter"))?;
        let mut parts = rest.splitn(5, ';');
        let mut part = || parts.next().ok_or(WireError("cut off"));
        let bits: u32 = part()?.parse().map_err(|_| WireError("bits"))?;
        if !(1..=FINE_BITS).contains(&bits) {
            return Err(WireError("bits out of range"));
        }
        let (sum, min, max) = (finite(part()?)?, finite(part()?)?, finite(part()?)?);
        let (count, buckets) = parse_buckets(part()?, bits)?;
        if count == 0 || min > max {
            return Err(WireError("empty or reversed"));
        }
        Ok(Histogram {
            count,
            sum,
            min,
            max,
            values: Values::Buckets { bits, buckets },
        })
    }

    fn note(&mut self, min: f64, max: f64, sum: f64, count: u64) {
        if self.count == 0 {
            (self.min, self.max) = (min, max);
        } else {
            (self.min, self.max) = (self.min.min(min), self.max.max(max));
        }
        self.count += count;
        self.sum = (self.sum + sum).clamp(f64::MIN, f64::MAX);
    }

    fn bits(&self) -> u32 {
        match &self.values {
            Values::Exact(_) => FINE_BITS,
            Values::Buckets { bits, .. } => *bits,
        }
    }

    fn buckets_at(&self, wanted: u32) -> Vec<(u32, u64)> {
        match &self.values {
            Values::Exact(values) => bucketed(values, wanted),
            Values::Buckets { bits, buckets } => {
                let mut cut: Vec<(u32, u64)> = Vec::new();
                for &(key, count) in buckets {
                    let key = key >> (bits - wanted);
                    match cut.last_mut() {
                        Some(last) if last.0 == key => last.1 += count,
                        _ => cut.push((key, count)),
                    }
                }
                cut
            }
        }
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

/// Sign, exponent and `bits` of mantissa as a number that ascends with the value.
fn key(value: f64, bits: u32) -> u32 {
    // Adding 0 turns -0 into 0, so that both share a bucket.
    let raw = (value + 0.0).to_bits();
    let ordered = if raw >> 63 == 1 {
        !raw
    } else {
        raw | (1 << 63)
    };
    (ordered >> (52 - bits)) as u32
}

/// The middle of a bucket.
fn middle(key: u32, bits: u32) -> f64 {
    let low = bound(u64::from(key), bits);
    let high = bound(u64::from(key) + 1, bits);
    if low == 0.0 || !low.is_finite() {
        // Zero and the subnormals beside it; infinities come only from a foreign wire text.
        0.0
    } else if high.is_finite() {
        low + (high - low) / 2.0
    } else {
        low
    }
}

fn bound(key: u64, bits: u32) -> f64 {
    let ordered = key << (52 - bits);
    if ordered >> 63 == 1 {
        f64::from_bits(ordered & !(1 << 63))
    } else {
        f64::from_bits(!ordered)
    }
}

fn bucketed(values: &[f64], bits: u32) -> Vec<(u32, u64)> {
    let mut keys: Vec<u32> = values.iter().map(|value| key(*value, bits)).collect();
    keys.sort_unstable();
    let mut buckets: Vec<(u32, u64)> = Vec::new();
    for key in keys {
        match buckets.last_mut() {
            Some(last) if last.0 == key => last.1 += 1,
            _ => buckets.push((key, 1)),
        }
    }
    buckets
}

fn add_to(buckets: &mut Vec<(u32, u64)>, key: u32, count: u64) {
    match buckets.binary_search_by_key(&key, |bucket| bucket.0) {
        Ok(index) => buckets[index].1 += count,
        Err(index) => buckets.insert(index, (key, count)),
    }
}

fn merge_sorted(left: &[(u32, u64)], right: &[(u32, u64)]) -> Vec<(u32, u64)> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut l, mut r) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let next = match (l.peek(), r.peek()) {
            (Some(a), Some(b)) if a.0 == b.0 => {
                let both = (a.0, a.1 + b.1);
                l.next();
                r.next();
                both
            }
            (Some(a), Some(b)) if a.0 > b.0 => {
                let next = **b;
                r.next();
                next
            }
            (Some(a), _) => {
                let next = **a;
                l.next();
                next
            }
            (None, Some(b)) => {
                let next = **b;
                r.next();
                next
            }
            (None, None) => return merged,
        };
        merged.push(next);
    }
}

fn value_at(buckets: &[(u32, u64)], bits: u32, rank: u64) -> f64 {
    let mut seen = 0;
    for &(key, count) in buckets {
        seen += count;
        if seen > rank {
            return middle(key, bits);
        }
    }
    buckets.last().map_or(0.0, |last| middle(last.0, bits))
}

fn finite(text: &str) -> Result<f64, WireError> {
    let value: f64 = text.parse().map_err(|_| WireError("bad number"))?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(WireError("not finite"))
    }
}

fn parse_buckets(list: &str, bits: u32) -> Result<(u64, Vec<(u32, u64)>), WireError> {
    let mut buckets: Vec<(u32, u64)> = Vec::new();
    let (mut total, mut key) = (0_u64, 0_u32);
    for pair in list.split(',') {
        let (step, count) = pair.split_once(':').unwrap_or((pair, "1"));
        let step: u32 = step.parse().map_err(|_| WireError("bad key"))?;
        let count: u64 = count.parse().map_err(|_| WireError("bad count"))?;
        key = key.checked_add(step).ok_or(WireError("key too large"))?;
        let ascending = buckets.is_empty() || step > 0;
        if !ascending || count == 0 || key >> (12 + bits) != 0 {
            return Err(WireError("bad bucket"));
        }
        total = total
            .checked_add(count)
            .ok_or(WireError("count too large"))?;
        if buckets.len() == WIRE_BUCKETS_MAX {
            return Err(WireError("too many buckets"));
        }
        buckets.push((key, count));
    }
    Ok((total, buckets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Histogram {
        let mut histogram = Histogram::new();
        values.into_iter().for_each(|value| histogram.record(value));
        histogram
    }

    #[test]
    fn small_sets_interpolate_as_k6_does() {
        let histogram = of([40.0, 10.0, 30.0, 20.0]);
        assert_eq!(histogram.quantile(0.5), 25.0);
        assert_eq!(histogram.quantile(0.9), 37.0);
        assert_eq!(histogram.quantile(0.0), 10.0);
        assert_eq!(histogram.quantile(1.0), 40.0);
        assert_eq!(Histogram::new().quantile(0.95), 0.0);
    }

    #[test]
    fn large_sets_stay_within_the_stated_error() {
        let values: Vec<f64> = (0..50_000)
            .map(|n| 0.003 * f64::from(n).powf(1.5) - 40.0)
            .collect();
        let histogram = of(values.iter().copied());
        for p in [0.001, 0.01, 0.25, 0.5, 0.9, 0.95, 0.999] {
            let rank = p * 49_999.0_f64;
            let (low, high) = (values[rank as usize], values[rank as usize + 1]);
            let exact = low + (high - low) * rank.fract();
            let error = ((histogram.quantile(p) - exact) / exact).abs();
            assert!(error < 0.000_51, "p{p}: {error}");
        }
        assert_eq!(histogram.min(), -40.0);
        assert_eq!(histogram.max(), values[49_999]);
        assert_eq!(histogram.count(), 50_000);
    }

    #[test]
    fn merging_parts_equals_recording_the_whole() {
        let whole = of((0..5_000).map(|n| f64::from(n) / 7.0));
        let mut merged = of((0..300).map(|n| f64::from(n) / 7.0));
        merged.merge(&of((300..4_000).map(|n| f64::from(n) / 7.0)));
        merged.merge(&of((4_000..5_000).map(|n| f64::from(n) / 7.0)));
        assert_eq!(merged.values, whole.values);
        assert!((merged.sum() - whole.sum()).abs() < 1e-6);
    }

    #[test]
    fn wire_text_reads_back_and_refuses_nonsense() {
        for histogram in [
            Histogram::new(),
            of([1.5, -2.0, 0.0]),
            of((0..3_000).map(f64::from)),
            of((-900..3_000).map(f64::from)).coarse(),
        ] {
            assert_eq!(
                Histogram::from_wire(&histogram.to_wire()),
                Ok(histogram.clone())
            );
        }
        for text in [
            "",
            "y1",
            "x1,NaN",
            "h10;1;1;1;",
            "h99;1;1;1;5",
            "h6;1;1;1;5,0",
        ] {
            assert!(Histogram::from_wire(text).is_err(), "{text}");
        }
    }

    #[test]
    fn coarse_copies_stay_within_one_percent() {
        let coarse = of((1..=20_000).map(f64::from)).coarse();
        assert!((coarse.quantile(0.95) - 19_000.0).abs() < 190.0);
        assert_eq!(coarse.count(), 20_000);
    }
}
