//! Histograms as they lie in `point.histogram`: coarse, without what the row's columns say.
//!
//! First byte 0: up to 16 values, each an f32 in little-endian order (relative error 6e-8). First byte
//! `b` > 0: buckets of `b` mantissa bits; for each the difference of its key to the one before,
//! doubled, plus 1 if a count follows (else the count is 1), both as LEB128. Sum, min and max stand
//! in the row. Typical: 3 bytes a bucket. Pure.

use std::fmt::Write as _;

use crate::histogram::Histogram;

/// What the row's own columns hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

/// Cuts to 1 % and packs. An empty histogram gives an empty blob.
pub(super) fn pack(histogram: &Histogram) -> Vec<u8> {
    let wire = histogram.coarse().to_wire();
    if let Some(values) = wire.strip_prefix('x') {
        let numbers = values.split(',').filter_map(|v| v.parse::<f64>().ok());
        let mut blob = vec![0];
        for number in numbers {
            blob.extend_from_slice(&(number as f32).to_le_bytes());
        }
        return blob;
    }
    let mut parts = wire.trim_start_matches('h').splitn(5, ';');
    let bits: u8 = parts.next().and_then(|b| b.parse().ok()).unwrap_or(0);
    let buckets = parts.nth(3).unwrap_or_default();
    let mut blob = vec![bits];
    for bucket in buckets.split(',') {
        let (step, count) = bucket.split_once(':').unwrap_or((bucket, "1"));
        let step: u64 = step.parse().unwrap_or(0);
        let count: u64 = count.parse().unwrap_or(1);
        push_varint(&mut blob, step << 1 | u64::from(count != 1));
        if count != 1 {
            push_varint(&mut blob, count);
        }
    }
    blob
}

/// Reads what [`pack`] wrote; `None` if the blob is damaged.
pub(super) fn unpack(blob: &[u8], bounds: Bounds) -> Option<Histogram> {
    let (&bits, mut rest) = blob.split_first()?;
    if bits == 0 {
        let mut histogram = Histogram::new();
        for bytes in rest.chunks_exact(4) {
            let value = f32::from_le_bytes(bytes.try_into().ok()?);
            histogram.record(widened(value, bounds));
        }
        return Some(histogram);
    }
    let mut wire = format!("h{bits};{};{};{};", bounds.sum, bounds.min, bounds.max);
    let mut first = true;
    while !rest.is_empty() {
        let step = take_varint(&mut rest)?;
        let comma = if first { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(wire, "{comma}{}", step >> 1);
        if step & 1 == 1 {
            let _ = write!(wire, ":{}", take_varint(&mut rest)?);
        }
        first = false;
    }
    Histogram::from_wire(&wire).ok()
}

/// The row states the extremes exactly, and rounding to f32 must not leave its range.
fn widened(value: f32, bounds: Bounds) -> f64 {
    if value == bounds.min as f32 {
        bounds.min
    } else if value == bounds.max as f32 {
        bounds.max
    } else {
        f64::from(value).clamp(bounds.min, bounds.max)
    }
}

fn push_varint(blob: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        blob.push(value as u8 | 0x80);
        value >>= 7;
    }
    blob.push(value as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Histogram {
        let mut histogram = Histogram::new();
        values.into_iter().for_each(|value| histogram.record(value));
        histogram
    }

    fn round_trip(histogram: &Histogram) -> (Histogram, usize) {
        let bounds = Bounds {
            sum: histogram.sum(),
            min: histogram.min(),
            max: histogram.max(),
        };
        let blob = pack(histogram);
        let back = unpack(&blob, bounds).expect("what was packed unpacks");
        (back, blob.len())
    }

    #[test]
    fn few_values_come_back_almost_exactly() {
        let (back, bytes) = round_trip(&of([1.1, 250.0, 3.3]));
        assert_eq!(bytes, 13);
        assert_eq!(back.count(), 3);
        assert_eq!((back.min(), back.max()), (1.1, 250.0));
        assert!((back.quantile(0.5) - 3.3).abs() < 1e-5);
    }

    #[test]
    fn many_values_come_back_within_one_percent() {
        let original = of((0..20_000).map(|n| 1.0 + f64::from(n).sqrt()));
        let (back, bytes) = round_trip(&original);
        assert!(bytes < 2_000, "{bytes} bytes");
        assert_eq!(back.count(), original.count());
        for p in [0.01, 0.5, 0.95, 0.99, 1.0] {
            let error = back.quantile(p) / original.quantile(p) - 1.0;
            assert!(error.abs() < 0.01, "p{p}: {error}");
        }
    }

    #[test]
    fn damaged_blobs_are_refused() {
        let bounds = Bounds {
            sum: 1.0,
            min: 0.0,
            max: 1.0,
        };
        assert!(unpack(&[], bounds).is_none());
        assert!(unpack(&[6, 0x80], bounds).is_none());
        assert!(unpack(&[6, 1], bounds).is_none());
    }
}
