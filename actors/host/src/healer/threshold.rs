//! Whether a figure is out of bounds, told once when it gets there and once when it is back. Pure.

use std::collections::BTreeSet;

/// A bound of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// It should be at least so much.
    AtLeast(u64),
    /// It should be at most so much.
    AtMost(u64),
}

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crossing {
    /// It is out of bounds.
    Out,
    /// It is back.
    Back,
}

/// Which figures are out of bounds.
#[derive(Debug, Default)]
pub(super) struct Thresholds {
    out: BTreeSet<String>,
}

impl Thresholds {
    /// Looks at a figure. One that is out is back only with a fifth to spare, so that a figure at its
    /// bound does not tell of itself all the time.
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
