//! Striping: which VUs and iterations of a whole test belong to one execution segment.
//!
//! VUs and iterations are numbered through the whole test. Every segment owns the same places in
//! each period of numbers, spread as evenly as its share allows, so that the segments of one test
//! add up to it at any instant. The assignment is k6's: segments of one test may run on both.
//! Pure values; knows no options and no clock.

use std::sync::Arc;

/// Longest period: one number for each place is kept.
pub const PERIOD_MAX: u64 = 1_000_000;

/// The numbers of one segment among 0, 1, 2, … of the whole test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stripe {
    /// For each place of a period the segment that owns it.
    owners: Arc<[u32]>,
    own: u32,
    /// Our places, ascending.
    places: Arc<[u64]>,
}

impl Stripe {
    /// The whole test.
    pub fn whole() -> Stripe {
        Stripe::of(&[1], 0).expect("one segment owns everything")
    }

    /// The segment at `index` of a sequence with these lengths, over any common denominator.
    /// `None` where it owns nothing or the period is longer than [`PERIOD_MAX`].
    pub fn of(lengths: &[u64], index: usize) -> Option<Stripe> {
        let divisor = lengths
            .iter()
            .fold(0, |a, b| greatest_common_divisor(a, *b));
        let lengths: Vec<u64> = lengths.iter().map(|l| l / divisor.max(1)).collect();
        let period = lengths
            .iter()
            .try_fold(0_u64, |sum, l| sum.checked_add(*l))?;
        if period > PERIOD_MAX || *lengths.get(index)? == 0 {
            return None;
        }
        let owners: Arc<[u32]> = assign(&lengths, period).into();
        let own = u32::try_from(index).ok()?;
        let places = (0..period).filter(|place| owners[*place as usize] == own);
        Some(Stripe {
            places: places.collect(),
            owners,
            own,
        })
    }

    pub fn is_whole(&self) -> bool {
        self.places.len() == self.owners.len()
    }

    /// How many of the numbers below `whole` are ours.
    pub fn scale(&self, whole: u64) -> u64 {
        let period = self.owners.len() as u64;
        let rest = whole % period;
        let own = self.places.len() as u64;
        whole / period * own + self.places.partition_point(|place| *place < rest) as u64
    }

    pub fn scale_vus(&self, whole: u32) -> u32 {
        u32::try_from(self.scale(u64::from(whole))).expect("a part is no greater than the whole")
    }

    /// The number in the whole test of our `local`-th one, from 0.
    pub fn global(&self, local: u64) -> u64 {
        let own = self.places.len() as u64;
        local / own * self.owners.len() as u64 + self.places[(local % own) as usize]
    }

    /// How iterations are striped where only segments with VUs can run them: the sequence whose
    /// lengths are each segment's part of `vus`. `None` where our part is none.
    pub fn of_those_with(&self, vus: u32) -> Option<Stripe> {
        let segments = self.owners.iter().max().map_or(1, |last| last + 1);
        let lengths: Vec<u64> = (0..segments)
            .map(|segment| {
                let whole = u64::from(vus);
                let period = self.owners.len() as u64;
                let owns = |place: &u32| *place == segment;
                let all = self.owners.iter().copied().filter(|o| owns(o)).count() as u64;
                let rest = self.owners[..(whole % period) as usize]
                    .iter()
                    .copied()
                    .filter(|o| owns(o))
                    .count() as u64;
                whole / period * all + rest
            })
            .collect();
        Stripe::of(&lengths, self.own as usize)
    }
}

/// Gives out the places of one period in order: each goes to the longest segment that has not yet
/// got its even share of the places so far.
fn assign(lengths: &[u64], period: u64) -> Vec<u32> {
    let mut by_length: Vec<usize> = (0..lengths.len()).filter(|i| lengths[*i] > 0).collect();
    by_length.sort_by_key(|index| std::cmp::Reverse(lengths[*index]));
    let mut taken = vec![0_u64; lengths.len()];
    let mut owners = Vec::with_capacity(period as usize);
    for place in 0..period {
        let is_due = |index: &&usize| place * lengths[**index] >= taken[**index] * period;
        let owner = *by_length
            .iter()
            .find(is_due)
            .expect("the shares add up to the period, so one of them is behind");
        taken[owner] += 1;
        owners.push(owner as u32);
    }
    owners
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

    fn all(lengths: &[u64]) -> Vec<Stripe> {
        (0..lengths.len())
            .filter_map(|index| Stripe::of(lengths, index))
            .collect()
    }

    #[test]
    fn segments_share_out_every_number_once() {
        for lengths in [
            &[1, 1][..],
            &[1, 2, 3],
            &[7, 20, 3, 5],
            &[5, 0, 5],
            &[2, 4, 6],
        ] {
            let stripes = all(lengths);
            for whole in 0..100 {
                let sum: u64 = stripes.iter().map(|stripe| stripe.scale(whole)).sum();
                assert_eq!(sum, whole, "{lengths:?}");
            }
            let mut seen: Vec<u64> = stripes
                .iter()
                .flat_map(|stripe| (0..stripe.scale(200)).map(|local| stripe.global(local)))
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..200).collect::<Vec<u64>>(), "{lengths:?}");
        }
    }

    #[test]
    fn numbers_are_spread_evenly_with_the_longest_segment_first() {
        let places = |index| {
            let stripe = Stripe::of(&[2, 5, 3], index).expect("a part");
            (0..stripe.scale(10))
                .map(|l| stripe.global(l))
                .collect::<Vec<u64>>()
        };
        assert_eq!(places(1), [0, 2, 4, 6, 8]);
        assert_eq!(places(2), [1, 5, 7]);
        assert_eq!(places(0), [3, 9]);
    }

    #[test]
    fn iterations_go_to_segments_that_have_vus() {
        let stripes = all(&[1, 1, 1]);
        // Two VUs for three segments: the third has none, and gets no iteration.
        let with: Vec<Option<Stripe>> = stripes.iter().map(|s| s.of_those_with(2)).collect();
        assert_eq!(with[2], None);
        let parts: Vec<u64> = with.iter().flatten().map(|s| s.scale(9)).collect();
        assert_eq!(parts, [5, 4]);
        assert!(Stripe::whole().of_those_with(3).expect("VUs").is_whole());
    }

    #[test]
    fn absurd_periods_are_refused() {
        assert_eq!(Stripe::of(&[1, PERIOD_MAX], 0), None);
        assert_eq!(Stripe::of(&[0, 1], 0), None);
    }
}
