//! The largest N items of a stream in memory for N, in an order that does not depend on the order of arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Keeps the `limit` items with the largest key; among equal keys the smaller name wins.
pub(super) struct Top<S: Ord, N: Ord> {
    limit: usize,
    heap: BinaryHeap<Reverse<(S, Reverse<N>)>>,
}

impl<S: Ord, N: Ord> Top<S, N> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::with_capacity(limit + 1) }
    }

    pub(super) fn push(&mut self, size: S, item: N) {
        self.heap.push(Reverse((size, Reverse(item))));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }

    /// The items kept, largest first.
    pub(super) fn into_sorted(self) -> Vec<(S, N)> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse((size, Reverse(item)))| (size, item)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Top;

    #[test]
    fn keeps_the_largest_and_breaks_ties_by_name() {
        let mut top = Top::new(2);
        for (size, name) in [(1, "z"), (3, "b"), (3, "a"), (3, "c")] {
            top.push(size, name);
        }
        assert_eq!(top.into_sorted(), [(3, "a"), (3, "b")]);
    }
}
