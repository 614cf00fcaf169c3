//! A total over processes that come and go, which neither loses nor doubles what the ended ones used. (step 1)
//!
//! In: how much each living process gained, and the last figure of each that ended. Out: a total.
//! When a process is reaped, its parent's own figure grows by all the child ever used; most of that is counted already.
//! Invariants: LE-1 the total never runs backwards. LE-2 once everything is reaped, it equals what was used.
//! Does not: know what it counts.

/// Rounds after which a total waits no longer for an ended process to be reaped.
const CARRY_ROUNDS_MAX: u32 = 10;

/// A total over processes of which some end between two looks.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Never runs backwards.
    pub(crate) total: f64,
    /// Negative while an ended process has not reached its parent's figures yet.
    carry: f64,
    carried_for: u32,
    gained: f64,
}

impl Ledger {
    /// A process used more.
    pub(crate) fn gain(&mut self, now: u64, before: u64) {
        self.gained += now as f64 - before as f64;
    }

    /// A process has ended; its parent gets, or has got, all it ever used.
    pub(crate) fn lose(&mut self, last: u64) {
        self.gained -= last as f64;
    }

    /// The round is over.
    pub(crate) fn settle(&mut self) {
        self.carry += std::mem::take(&mut self.gained);
        self.carried_for += 1;
        if self.carry >= 0.0 {
            self.total += self.carry;
        }
        if self.carry >= 0.0 || self.carried_for > CARRY_ROUNDS_MAX {
            self.carry = 0.0;
            self.carried_for = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_ended_process_nobody_accounts_for_holds_the_total_up_for_a_while_only() {
        let mut ledger = Ledger::default();
        ledger.gain(100, 0);
        ledger.settle();
        ledger.lose(50);
        ledger.settle();
        for _ in 0..CARRY_ROUNDS_MAX {
            ledger.gain(1, 0);
            ledger.settle();
        }
        assert_eq!(ledger.total, 100.0);
        ledger.gain(1, 0);
        ledger.settle();
        assert_eq!(ledger.total, 101.0);
    }

    proptest! {
        #[test]
        fn prop_the_total_is_what_was_used_however_late_the_parent_reaps(
            seen in prop::collection::vec(0_u64..1000, 1..20),
            unseen in 0_u64..1000,
            late in 0_u32..8,
        ) {
            let mut ledger = Ledger::default();
            let mut last = 0;
            for gain in &seen {
                ledger.gain(last + gain, last);
                last += gain;
                ledger.settle();
            }
            ledger.lose(last);
            for _ in 0..late {
                ledger.settle();
                prop_assert_eq!(ledger.total, last as f64);
            }
            ledger.gain(last + unseen, 0);
            ledger.settle();
            prop_assert_eq!(ledger.total, (last + unseen) as f64);
        }
    }
}
