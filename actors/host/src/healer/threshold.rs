//! Whether a figure is out of bounds, reported once when it leaves them and once when it returns. Pure.

use std::collections::BTreeSet;

/// A bound of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// The figure should be at least this much.
    AtLeast(u64),
    /// The figure should be at most this much.
    AtMost(u64),
}

/// The crossing of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crossing {
    /// The figure is out of bounds.
    Out,
    /// The figure is within bounds again.
    Back,
}

/// The figures that are out of bounds.
#[derive(Debug, Default)]
pub(super) struct Thresholds {
    out: BTreeSet<String>,
}

impl Thresholds {
    /// Checks a figure. One that is out of bounds must return with a fifth to spare, so that a figure at its
    /// bound is not reported all the time.
    pub(super) fn look(&mut self, name: &str, value: u64, bound: Bound) -> Option<Crossing> {
        let is_out = match bound {
            Bound::AtLeast(limit) => value < limit,
            Bound::AtMost(limit) => value > limit,
        };
        let is_back = match bound {
            Bound::AtLeast(limit) => value >= limit.saturating_add(limit / 5),
            Bound::AtMost(limit) => value <= limit - limit / 5,
        };
        let was_out = self.out.contains(name);
        if is_out && !was_out {
            self.out.insert(name.to_owned());
            return Some(Crossing::Out);
        }
        if is_back && was_out {
            self.out.remove(name);
            return Some(Crossing::Back);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_tells_once_that_it_left_and_once_that_it_is_back() {
        let mut thresholds = Thresholds::default();
        let mut look = |value| thresholds.look("disk", value, Bound::AtLeast(100));
        let seen: Vec<_> = [150, 99, 90, 101, 119, 120, 150, 99].into_iter().map(&mut look).collect();
        let (out, back) = (Some(Crossing::Out), Some(Crossing::Back));
        assert_eq!(seen, [None, out, None, None, None, back, None, out]);
        let mut look = |value| thresholds.look("lag", value, Bound::AtMost(100));
        let seen: Vec<_> = [100, 101, 90, 80].into_iter().map(&mut look).collect();
        assert_eq!(seen, [None, out, None, back]);
    }
}
