//! When iterations are due that start by the clock: arrival rates as pure schedules.
//!
//! A rate over time is a line of pieces, each constant or linear; iteration `i` is due where the
//! area under that line reaches `i` (constant-arrival-rate, whose first iteration is due at once)
//! or `i + 1` (ramping-arrival-rate), as in k6. Due times come from the area, never from adding up
//! periods. No clock, no VUs.

use std::time::Duration;

use super::segment::Stripe;
use crate::load::options::Executor;

/// Iterations per time unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub count: f64,
    pub unit: Duration,
}

impl Rate {
    pub fn per_second(self) -> f64 {
        self.count / self.unit.as_secs_f64()
    }
}

/// A stretch of time in which the rate is constant or linear.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    begins: Duration,
    length: Duration,
    from: Rate,
    to: Rate,
    /// Iterations due before it.
    before: f64,
}

/// Where the area below the rate has to be for the first iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// At once.
    AtZero,
    /// When there is one whole iteration of area.
    AtOne,
}

/// All due times of one scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrivals {
    pieces: Vec<Piece>,
    first: First,
}

impl Arrivals {
    /// The schedule of an arrival-rate executor; `None` of any other.
    pub fn of(executor: &Executor) -> Option<Arrivals> {
        let rate = |count: u64, unit: Duration| Rate {
            count: count as f64,
            unit,
        };
        Some(match executor {
            Executor::ConstantArrivalRate {
                rate: count,
                time_unit,
                duration,
                ..
            } => Arrivals::constant(rate(*count, *time_unit), *duration),
            Executor::RampingArrivalRate {
                start_rate,
                time_unit,
                stages,
                ..
            } => {
                let stages = stages.iter().map(|s| (s.duration, f64::from(s.target)));
                Arrivals::ramping(rate(*start_rate, *time_unit), stages)
            }
            _ => return None,
        })
    }

    pub fn constant(rate: Rate, duration: Duration) -> Arrivals {
        let mut arrivals = Arrivals {
            pieces: Vec::new(),
            first: First::AtZero,
        };
        arrivals.push(duration, rate, rate);
        arrivals
    }

    /// `stages` are lengths with the counts per `start.unit` at their ends.
    pub fn ramping(start: Rate, stages: impl IntoIterator<Item = (Duration, f64)>) -> Arrivals {
        let mut arrivals = Arrivals {
            pieces: Vec::new(),
            first: First::AtOne,
        };
        let mut from = start;
        for (length, count) in stages {
            let to = Rate { count, ..start };
            if !length.is_zero() {
                arrivals.push(length, from, to);
            }
            from = to;
        }
        arrivals
    }

    /// When the last piece is over.
    pub fn end(&self) -> Duration {
        self.pieces.last().map_or(Duration::ZERO, Piece::ends)
    }

    /// When iteration `index` of the whole test is due; `None` if it is not within the schedule.
    pub fn due(&self, index: u64) -> Option<Duration> {
        let number = match self.first {
            First::AtZero => index,
            First::AtOne => index + 1,
        };
        // Of pieces that end with this very area the first has it.
        let at = self.pieces.partition_point(|piece| match self.first {
            First::AtZero => piece.after() <= number as f64,
            First::AtOne => piece.after() * (1.0 + 1e-12) < number as f64,
        });
        self.pieces.get(at).map(|piece| piece.due(number))
    }

    /// The same schedule with `count` per time unit from `at` to the end, whatever it was to be.
    pub fn with_rate(&self, count: f64, at: Duration) -> Arrivals {
        let end = self.end();
        let mut arrivals = Arrivals {
            pieces: Vec::new(),
            first: self.first,
        };
        let mut unit = Duration::from_secs(1);
        for piece in &self.pieces {
            unit = piece.from.unit;
            let length = piece.length.min(at.saturating_sub(piece.begins));
            if !length.is_zero() {
                arrivals.push(length, piece.from, piece.rate_at(length));
            }
        }
        let rate = Rate { count, unit };
        if end > at {
            arrivals.push(end - at, rate, rate);
        }
        arrivals
    }

    fn push(&mut self, length: Duration, from: Rate, to: Rate) {
        self.pieces.push(Piece {
            begins: self.end(),
            length,
            from,
            to,
            before: self.pieces.last().map_or(0.0, Piece::after),
        });
    }
}

impl Piece {
    fn ends(&self) -> Duration {
        self.begins + self.length
    }

    /// Iterations due up to its end.
    fn after(&self) -> f64 {
        let mean = (self.from.per_second() + self.to.per_second()) / 2.0;
        self.before + mean * self.length.as_secs_f64()
    }

    fn rate_at(&self, since: Duration) -> Rate {
        let share = since.as_secs_f64() / self.length.as_secs_f64();
        let count = self.from.count + (self.to.count - self.from.count) * share;
        Rate { count, ..self.from }
    }

    fn due(&self, number: u64) -> Duration {
        if let Some(exact) = self.exact(number) {
            return self.begins + exact;
        }
        let area = number as f64 - self.before;
        let (from, to) = (self.from.per_second(), self.to.per_second());
        // from·x + (to − from)·x²/(2·length) = area, in the form that cancels no digits.
        let slope = (to - from) / self.length.as_secs_f64();
        let root = (from * from + 2.0 * area * slope).max(0.0).sqrt();
        let seconds = 2.0 * area / (from + root);
        let since = Duration::try_from_secs_f64(seconds).unwrap_or(self.length);
        self.begins + since.min(self.length)
    }

    /// In whole numbers, where the rate is constant and all counts are whole.
    fn exact(&self, number: u64) -> Option<Duration> {
        let whole = |count: f64| count.fract() == 0.0 && count < 1e15;
        let flat = self.from == self.to && self.from.count > 0.0;
        if !flat || !whole(self.from.count) || !whole(self.before) {
            return None;
        }
        let area = u128::from(number.checked_sub(self.before as u64)?);
        let nanos = area * self.from.unit.as_nanos() / self.from.count as u128;
        Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }
}

/// The due times of one segment, in order.
#[derive(Clone, Debug)]
pub struct Timetable {
    arrivals: Arrivals,
    stripe: Stripe,
    next: u64,
}

impl Timetable {
    pub fn new(arrivals: Arrivals, stripe: Stripe) -> Timetable {
        Timetable {
            arrivals,
            stripe,
            next: 0,
        }
    }

    /// When the next iteration is due; `None` when there is none any more.
    pub fn peek(&self) -> Option<Duration> {
        self.arrivals.due(self.stripe.global(self.next))
    }

    /// Goes on to the one after it.
    pub fn advance(&mut self) {
        self.next += 1;
    }

    /// Changes the rate of the whole test from `at` on.
    pub fn set_rate(&mut self, count: f64, at: Duration) {
        self.arrivals = self.arrivals.with_rate(count, at);
        // An iteration that was due meanwhile, and did not start, is due now: none is lost.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(count: f64) -> Rate {
        Rate {
            count,
            unit: SECOND,
        }
    }

    fn all(mut table: Timetable) -> Vec<Duration> {
        let mut dues = Vec::new();
        while let Some(due) = table.peek() {
            dues.push(due);
            table.advance();
        }
        dues
    }

    fn whole(arrivals: Arrivals) -> Vec<Duration> {
        all(Timetable::new(arrivals, Stripe::whole()))
    }

    #[test]
    fn constant_rate_is_due_at_multiples_of_the_period() {
        let dues = whole(Arrivals::constant(rate(3.0), 2 * SECOND));
        let nanos: Vec<u128> = dues.iter().map(Duration::as_nanos).collect();
        assert_eq!(
            nanos,
            [
                0,
                333_333_333,
                666_666_666,
                1_000_000_000,
                1_333_333_333,
                1_666_666_666
            ]
        );
        let slow = Rate {
            count: 1.0,
            unit: Duration::from_secs(60),
        };
        assert_eq!(
            whole(Arrivals::constant(slow, 121 * SECOND)),
            [Duration::ZERO, 60 * SECOND, 120 * SECOND]
        );
        // No drift after a day: the last of 86,400 × 7 is where it must be.
        let day = Arrivals::constant(rate(7.0), 86_400 * SECOND);
        assert_eq!(day.due(86_399 * 7), Some(86_399 * SECOND));
        assert_eq!(day.due(86_400 * 7), None);
    }

    #[test]
    fn ramp_is_due_where_the_area_reaches_whole_numbers() {
        // From 0 to 10/s in 10 s: area x²/2, so iteration n is due at √(2n).
        let dues = whole(Arrivals::ramping(rate(0.0), [(10 * SECOND, 10.0)]));
        assert_eq!(dues.len(), 50);
        for (index, due) in dues.iter().enumerate() {
            let expected = (2.0 * (index + 1) as f64).sqrt();
            assert!(
                (due.as_secs_f64() - expected).abs() < 1e-8,
                "{index}: {due:?}"
            );
        }
        // Downwards it is the mirror image.
        let down = whole(Arrivals::ramping(rate(10.0), [(10 * SECOND, 0.0)]));
        assert_eq!(down.len(), 50);
        assert!((down[0].as_secs_f64() - (10.0 - 98.0_f64.sqrt())).abs() < 1e-8);
        assert_eq!(down[49], 10 * SECOND);
    }

    #[test]
    fn stages_carry_their_fractions_over() {
        // 2.5 iterations each: the third is due in the middle of the second stage's first one.
        let stages = [
            (5 * SECOND, 1.0),
            (2 * SECOND + SECOND / 2, 1.0),
            (Duration::ZERO, 4.0),
        ];
        let flat = stages.into_iter().chain([(SECOND, 4.0)]);
        let dues = whole(Arrivals::ramping(rate(0.0), flat));
        let seconds: Vec<f64> = dues.iter().map(|due| due.as_secs_f64()).collect();
        let expected = [
            10_f64.sqrt(),
            20_f64.sqrt(),
            5.5,
            6.5,
            7.5,
            7.75,
            8.0,
            8.25,
            8.5,
        ];
        assert_eq!(seconds.len(), expected.len(), "{seconds:?}");
        for (due, expected) in seconds.iter().zip(expected) {
            assert!((due - expected).abs() < 1e-8, "{due} {expected}");
        }
        assert!(whole(Arrivals::ramping(rate(0.0), [(SECOND, 0.0)])).is_empty());
    }

    #[test]
    fn segments_add_up_to_the_whole_schedule() {
        let arrivals = Arrivals::ramping(rate(5.0), [(4 * SECOND, 50.0), (3 * SECOND, 20.0)]);
        let mut parts: Vec<Duration> = (0..3)
            .flat_map(|index| {
                let stripe = Stripe::of(&[1, 2, 4], index).expect("a part");
                all(Timetable::new(arrivals.clone(), stripe))
            })
            .collect();
        parts.sort_unstable();
        assert_eq!(parts, whole(arrivals));
    }

    #[test]
    fn changed_rate_holds_from_its_instant_to_the_end() {
        let arrivals = Arrivals::constant(rate(2.0), 10 * SECOND);
        let mut table = Timetable::new(arrivals, Stripe::whole());
        (0..5).for_each(|_| table.advance());
        assert_eq!(table.peek(), Some(2 * SECOND + SECOND / 2));
        table.set_rate(10.0, 2 * SECOND + SECOND / 4);
        // Half an iteration of area was left.
        assert_eq!(table.peek(), Some(Duration::from_millis(2_300)));
        assert_eq!(all(table.clone()).len(), 77);
        table.set_rate(0.0, 3 * SECOND);
        assert_eq!(all(table.clone()).len(), 7);
        table.set_rate(1.0, 4 * SECOND);
        assert_eq!(table.arrivals.end(), 10 * SECOND);
        assert_eq!(all(table).len(), 7 + 6);
    }
}
