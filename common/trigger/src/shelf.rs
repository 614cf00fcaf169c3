//! What waits at each node: a heap of next signals and a list of triggers that are told of every hit. (ALGORITHMS 2.2, 2.6)
//!
//! In: entries with the version of the trigger's round. Out: the least signal value, the direct list.
//! Invariants: SH-1 a node holds at most one current entry per trigger, so after compaction at most as many entries as
//! triggers have it canonical; its place is half as large again and never moves. SH-2 the heap's first is its least.
//! Limits: 24 bytes per node, 24 per trigger and canonical node. Entries of ended rounds go when they surface or when
//! the place is full; a search for them would cost a miss per node.
//! Source: lazy deletion by version; 4-ary heap (Johnson 1975), whose four children share a cache line.

/// Children of a heap's entry.
const ARITY: usize = 4;

/// One trigger at one node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The counter's value at which a signal is due; unused in the direct list.
    pub(crate) at: u64,
    pub(crate) query: u32,
    /// Current while the trigger's round has this number. A trigger has some hundred rounds at most.
    pub(crate) version: u16,
    /// The node's slack in this round.
    pub(crate) slack: Slack,
}

/// A slack in 16 bits: ten bits below a leading one, and a shift. What does not fit is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slack(u16);

impl Slack {
    const BITS: u32 = 10;

    pub(crate) const fn new(slack: u64) -> Self {
        let shift = (u64::BITS - slack.leading_zeros()).saturating_sub(Self::BITS);
        Self((shift << Self::BITS) as u16 | (slack >> shift) as u16)
    }

    pub(crate) const fn get(self) -> u64 {
        ((self.0 & ((1 << Self::BITS) - 1)) as u64) << (self.0 >> Self::BITS)
    }
}

/// A node's place: the heap from the left, the direct list from the right.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    start: usize,
    size: u32,
    n_heap: u32,
    n_direct: u32,
}

/// The places of all nodes in one allocation.
#[derive(Debug)]
pub(crate) struct Shelves {
    places: Vec<Place>,
    entries: Vec<Entry>,
}

impl Shelves {
    /// Room for as many triggers at each node as are canonical there. O(nodes + entries).
    pub(crate) fn new(n_at: &[u32]) -> Self {
        let mut start = 0;
        let place = |&n: &u32| {
            let size = if n == 0 { 0 } else { n + n / 2 + 1 };
            let place = Place {
                start,
                size,
                ..Place::default()
            };
            start += size as usize;
            place
        };
        let places = n_at.iter().map(place).collect();
        let nothing = Entry {
            at: 0,
            query: 0,
            version: 0,
            slack: Slack::new(0),
        };
        Self {
            places,
            entries: vec![nothing; start],
        }
    }

    /// The entry whose signal is due first.
    pub(crate) fn first(&self, node: usize) -> Option<Entry> {
        let place = self.places[node];
        (place.n_heap > 0).then(|| self.entries[place.start])
    }

    /// Puts an entry into the heap. O(log n); all that is stale goes first where the place is full.
    pub(crate) fn push(&mut self, node: usize, entry: Entry, is_current: impl Fn(&Entry) -> bool) {
        self.make_room(node, is_current);
        let place = &mut self.places[node];
        let last = place.n_heap as usize;
        place.n_heap += 1;
        let heap = &mut self.entries[place.start..=place.start + last];
        heap[last] = entry;
        sift_up(heap, last);
    }

    /// Puts an entry into the heap without order; [`Self::order`] follows. Only while the tree is built.
    pub(crate) fn fill(&mut self, node: usize, entry: Entry) {
        let place = &mut self.places[node];
        self.entries[place.start + place.n_heap as usize] = entry;
        place.n_heap += 1;
    }

    /// Makes every heap one. O(entries).
    pub(crate) fn order(&mut self) {
        for place in &self.places {
            order(&mut self.entries[place.start..place.start + place.n_heap as usize]);
        }
    }

    /// Removes the first entry. O(log n).
    pub(crate) fn pop(&mut self, node: usize) {
        let place = &mut self.places[node];
        let Some(last) = place.n_heap.checked_sub(1) else {
            return;
        };
        place.n_heap = last;
        let heap = &mut self.entries[place.start..=place.start + last as usize];
        heap.swap(0, last as usize);
        sift_down(&mut heap[..last as usize], 0);
    }

    /// Puts off the first entry's signal. O(log n).
    pub(crate) fn put_off(&mut self, node: usize, at: u64) {
        let place = self.places[node];
        let heap = &mut self.entries[place.start..place.start + place.n_heap as usize];
        if let Some(first) = heap.first_mut() {
            first.at = at;
            sift_down(heap, 0);
        }
    }

    /// Puts an entry on the direct list.
    pub(crate) fn push_direct(
        &mut self,
        node: usize,
        entry: Entry,
        is_current: impl Fn(&Entry) -> bool,
    ) {
        self.make_room(node, is_current);
        let place = &mut self.places[node];
        place.n_direct += 1;
        let end = place.start + place.size as usize;
        self.entries[end - place.n_direct as usize] = entry;
    }

    /// Triggers told of every hit, stale ones among them.
    pub(crate) fn n_direct(&self, node: usize) -> usize {
        self.places[node].n_direct as usize
    }

    /// Shows each direct entry; those for which `keep` is false go. O(list).
    pub(crate) fn each_direct(&mut self, node: usize, mut keep: impl FnMut(&Entry) -> bool) {
        let place = &mut self.places[node];
        let end = place.start + place.size as usize;
        let list = &mut self.entries[end - place.n_direct as usize..end];
        let n = list.len();
        let mut first_kept = n;
        for i in (0..n).rev() {
            if keep(&list[i]) {
                first_kept -= 1;
                // Writing what stands there already would dirty a long list at every hit.
                if first_kept != i {
                    list[first_kept] = list[i];
                }
            }
        }
        place.n_direct = (n - first_kept) as u32;
    }

    fn make_room(&mut self, node: usize, is_current: impl Fn(&Entry) -> bool) {
        let place = self.places[node];
        if place.n_heap + place.n_direct < place.size {
            return;
        }
        self.each_direct(node, &is_current);
        let heap = &mut self.entries[place.start..place.start + place.n_heap as usize];
        let mut n = 0;
        for i in 0..heap.len() {
            if is_current(&heap[i]) {
                heap[n] = heap[i];
                n += 1;
            }
        }
        order(&mut heap[..n]);
        self.places[node].n_heap = n as u32;
    }
}

fn order(heap: &mut [Entry]) {
    if heap.len() > 1 {
        for at in (0..=(heap.len() - 2) / ARITY).rev() {
            sift_down(heap, at);
        }
    }
}

fn sift_up(heap: &mut [Entry], mut at: usize) {
    let entry = heap[at];
    while at > 0 {
        let parent = (at - 1) / ARITY;
        if heap[parent].at <= entry.at {
            break;
        }
        heap[at] = heap[parent];
        at = parent;
    }
    heap[at] = entry;
}

fn sift_down(heap: &mut [Entry], mut at: usize) {
    let Some(&entry) = heap.get(at) else {
        return;
    };
    loop {
        let first = at * ARITY + 1;
        let children = first..heap.len().min(first + ARITY);
        let Some(least) = children.min_by_key(|&child| heap[child].at) else {
            break;
        };
        if entry.at <= heap[least].at {
            break;
        }
        heap[at] = heap[least];
        at = least;
    }
    heap[at] = entry;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(at: u64, query: u32, version: u16) -> Entry {
        Entry {
            at,
            query,
            version,
            slack: Slack::new(1),
        }
    }

    #[test]
    fn stale_entries_go_when_the_place_is_full_and_the_rest_keeps_its_order() {
        let mut shelves = Shelves::new(&[0, 4]);
        let is_current = |entry: &Entry| entry.version == 9;
        for at in [8, 3, 5] {
            shelves.push(1, entry(at, 0, 1), is_current);
        }
        shelves.push_direct(1, entry(0, 3, 9), is_current);
        shelves.push_direct(1, entry(0, 4, 2), is_current);
        shelves.push(1, entry(7, 1, 9), is_current);
        shelves.push(1, entry(6, 2, 9), is_current);
        assert_eq!(shelves.first(1).map(|first| first.at), Some(3));
        shelves.push(1, entry(9, 5, 9), is_current);
        let mut seen = Vec::new();
        while let Some(first) = shelves.first(1) {
            seen.push(first.at);
            shelves.pop(1);
        }
        assert_eq!(seen, [6, 7, 9]);
        assert_eq!(shelves.n_direct(1), 1);
    }

    proptest! {
        #[test]
        fn prop_a_slack_is_kept_within_a_thousandth_and_never_grows(slack in 0u64..1 << 63, shift in 0u32..63) {
            let slack = slack >> shift;
            let kept = Slack::new(slack).get();
            prop_assert!(kept <= slack && slack - kept <= slack / 500);
        }

        #[test]
        fn prop_entries_leave_in_the_order_of_their_signals(
            values in prop::collection::vec(0u64..50, 1..80),
            n_filled in 0usize..80,
        ) {
            let mut shelves = Shelves::new(&[values.len() as u32]);
            let n_filled = n_filled.min(values.len());
            for &at in &values[..n_filled] {
                shelves.fill(0, entry(at, 0, 0));
            }
            shelves.order();
            for &at in &values[n_filled..] {
                shelves.push(0, entry(at, 0, 0), |_| true);
            }
            let first = shelves.first(0).map_or(0, |first| first.at);
            shelves.put_off(0, first + 10);
            let mut expected = values;
            let least = expected.iter().position(|&at| at == first).unwrap();
            expected[least] += 10;
            expected.sort_unstable();
            for at in expected {
                prop_assert_eq!(shelves.first(0).map(|first| first.at), Some(at));
                shelves.pop(0);
            }
            prop_assert!(shelves.first(0).is_none());
        }

        #[test]
        fn prop_the_direct_list_loses_exactly_what_is_not_kept(n in 0u32..40, modulus in 1u32..6) {
            let mut shelves = Shelves::new(&[n.max(1)]);
            for query in 0..n {
                shelves.push_direct(0, entry(0, query, 0), |_| true);
            }
            let mut seen = Vec::new();
            shelves.each_direct(0, |one| { seen.push(one.query); one.query % modulus != 0 });
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..n).collect::<Vec<_>>());
            let mut left = Vec::new();
            shelves.each_direct(0, |one| { left.push(one.query); true });
            left.sort_unstable();
            prop_assert_eq!(left, (0..n).filter(|query| query % modulus != 0).collect::<Vec<_>>());
        }
    }
}
