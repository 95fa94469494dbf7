//! Prometheus' native histogram: sparse exponential buckets.

use std::collections::BTreeMap;

use super::message::{BucketSpan, Histogram};

/// Buckets grow by 2^(1/8), about 9 %: the widest that a factor of 1.1 allows.
const SCHEMA: i32 = 3;
const BUCKETS_PER_OCTAVE: f64 = 8.0;
/// Values this near to zero count as zero (2^-128, as Prometheus' own library has it).
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;
/// Empty buckets between two others that are cheaper to send than a new span.
const GAP_MAX: i32 = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct NativeHistogram {
    count: u64,
    zeros: u64,
    sum: f64,
    positive: BTreeMap<i32, i64>,
    negative: BTreeMap<i32, i64>,
}

impl NativeHistogram {
    pub(super) fn record(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if value.abs() <= ZERO_THRESHOLD {
            self.zeros += 1;
            return;
        }
        let buckets = if value > 0.0 {
            &mut self.positive
        } else {
            &mut self.negative
        };
        *buckets.entry(bucket(value.abs())).or_default() += 1;
    }

    pub(super) fn message(&self, timestamp: i64) -> Histogram {
        let (positive_spans, positive_deltas) = spans(&self.positive);
        let (negative_spans, negative_deltas) = spans(&self.negative);
        Histogram {
            count_int: Some(self.count),
            sum: self.sum,
            schema: SCHEMA,
            zero_threshold: ZERO_THRESHOLD,
            zero_count_int: Some(self.zeros),
            negative_spans,
            negative_deltas,
            positive_spans,
            positive_deltas,
            timestamp,
        }
    }
}

/// The bucket whose upper bound, which belongs to it, is the smallest that is not below `value`.
fn bucket(value: f64) -> i32 {
    (value.log2() * BUCKETS_PER_OCTAVE).ceil() as i32
}

/// Spans of buckets, and each bucket's count as difference to the one before.
fn spans(buckets: &BTreeMap<i32, i64>) -> (Vec<BucketSpan>, Vec<i64>) {
    let (mut spans, mut deltas): (Vec<BucketSpan>, Vec<i64>) = (Vec::new(), Vec::new());
    let (mut next, mut last) = (0, 0);
    for (&index, &count) in buckets {
        let gap = index - next;
        match spans.last_mut() {
            Some(span) if gap <= GAP_MAX => {
                for _ in 0..gap {
                    deltas.push(-last);
                    last = 0;
                    span.length += 1;
                }
                span.length += 1;
            }
            _ => spans.push(BucketSpan {
                offset: gap,
                length: 1,
            }),
        }
        deltas.push(count - last);
        last = count;
        next = index + 1;
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_include_their_upper_bound() {
        assert_eq!(bucket(1.0), 0);
        assert_eq!(bucket(2.0), 8);
        assert_eq!(bucket(1.000_1), 1);
        assert_eq!(bucket(0.5), -8);
    }

    #[test]
    fn counts_come_as_differences_in_spans() {
        let buckets = BTreeMap::from([(3, 5), (4, 2), (6, 2), (20, 1)]);
        let (spans, deltas) = spans(&buckets);
        let pairs: Vec<(i32, u32)> = spans.iter().map(|s| (s.offset, s.length)).collect();
        assert_eq!(pairs, [(3, 4), (13, 1)]);
        assert_eq!(deltas, [5, -3, -2, 2, -1]);
    }
}
