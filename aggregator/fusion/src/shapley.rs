//! What each player brings to a coalition: exact Shapley values of up to ten players. (step 11)
//!
//! In: the worth of every coalition. Out: each player's share. Invariants: SP-1 shares add up to v(all) − v(none). SP-2 equal players have
//! equal shares. SP-3 a player that never changes anything has none. Limits: [`N_MAX`] players, 2ⁿ worths, each asked once.
//! Source: Shapley, A value for n-person games, 1953, eq. 13.

/// Most players: a thousand coalitions.
pub const N_MAX: usize = 10;

/// Shares of players 0 to `n` − 1; `worth` of a coalition is asked with bit i set for player i. Empty beyond [`N_MAX`] players.
/// O(2ⁿ · (n + worth)).
#[must_use]
pub fn values(n: usize, mut worth: impl FnMut(usize) -> f64) -> Vec<f64> {
    if n > N_MAX {
        return Vec::new();
    }
    let worths: Vec<f64> = (0..1_usize << n).map(&mut worth).collect();
    // |S|! (n − |S| − 1)! / n! = 1 / (n · C(n − 1, |S|)).
    let mut chance = vec![0.0; n];
    let mut ways = 1.0;
    for (size, chance) in chance.iter_mut().enumerate() {
        *chance = 1.0 / (n as f64 * ways);
        ways *= (n - 1 - size) as f64 / (size + 1) as f64;
    }
    let mut shares = vec![0.0; n];
    for (player, share) in shares.iter_mut().enumerate() {
        for without in (0..worths.len()).filter(|set| set & (1 << player) == 0) {
            let size = without.count_ones() as usize;
            *share += chance[size] * (worths[without | (1 << player)] - worths[without]);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::noise;
    use proptest::prelude::*;

    /// The definition: mean over all orders of what each adds when it comes.
    fn by_orders(n: usize, worth: &dyn Fn(usize) -> f64) -> Vec<f64> {
        fn visit(order: &mut Vec<usize>, n: usize, worth: &dyn Fn(usize) -> f64, sums: &mut [f64]) {
            if order.len() == n {
                let mut set = 0;
                for player in order.iter() {
                    sums[*player] += worth(set | (1 << player)) - worth(set);
                    set |= 1 << player;
                }
                return;
            }
            for player in 0..n {
                if !order.contains(&player) {
                    order.push(player);
                    visit(order, n, worth, sums);
                    order.pop();
                }
            }
        }
        let mut sums = vec![0.0; n];
        visit(&mut Vec::new(), n, worth, &mut sums);
        let n_orders: usize = (1..=n).product();
        sums.into_iter().map(|sum| sum / n_orders as f64).collect()
    }

    #[test]
    fn an_additive_game_gives_each_its_own_worth() {
        let own = [0.5, 0.0, 0.25, 1.0, 2.0, 0.125, 3.0, 0.5, 0.0, 4.0];
        let shares = values(10, |set| {
            (0..10)
                .filter(|i| set & (1 << i) != 0)
                .map(|i| own[i])
                .sum()
        });
        for (share, own) in shares.iter().zip(own) {
            assert!((share - own).abs() < 1e-9);
        }
    }

    #[test]
    fn glove_game_symmetry_and_a_dummy() {
        // One left glove, two right ones, somebody without: 2/3, 1/6, 1/6, 0.
        let shares = values(4, |set| {
            f64::from(u8::from(set & 1 != 0 && set & 0b110 != 0))
        });
        let expected = [2.0 / 3.0, 1.0 / 6.0, 1.0 / 6.0, 0.0];
        for (share, expected) in shares.iter().zip(expected) {
            assert!((share - expected).abs() < 1e-12);
        }
        assert!(values(11, |_| 0.0).is_empty());
    }

    proptest! {
        #[test]
        fn prop_shares_are_means_over_all_orders_and_add_up(n in 1_usize..6, seed in 0_i64..1_000) {
            let worth = |set: usize| noise(seed * 64 + set as i64, n);
            let shares = values(n, worth);
            for (share, expected) in shares.iter().zip(by_orders(n, &worth)) {
                prop_assert!((share - expected).abs() < 1e-9);
            }
            let sum: f64 = shares.iter().sum();
            prop_assert!((sum - (worth((1 << n) - 1) - worth(0))).abs() < 1e-9);
        }
    }
}
