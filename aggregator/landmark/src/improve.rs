//! A set made smaller: landmarks nobody needs, two for which one will do.
//!
//! In: a set that tells enough vertices apart. Out: one no larger that does too. Vertices are told apart by signatures, the
//! exclusive or of a keyed hash per landmark and distance (Zobrist 1970), 128 bits: a landmark is taken out in O(n).

use crate::distance::Matrix;

/// Looks at a distance that local search may spend.
const LOOKS_MAX: u64 = 300_000_000;

/// Keyed hash of a landmark's distance.
#[inline]
pub(crate) fn hash(landmark: u32, distance: u16) -> u128 {
    let key = u64::from(landmark) << 16 | u64::from(distance);
    u128::from(mix(key)) << 64 | u128::from(mix(key ^ 0x5bd1_e995_9d1d_4a7b))
}

/// SplitMix64's finalizer (Steele, Lea, Flood 2014, with Stafford's thirteenth constants).
const fn mix(key: u64) -> u64 {
    let key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

/// Signature of each vertex: colour, then every landmark.
pub(crate) fn signatures(
    matrix: &Matrix,
    landmarks: &[u32],
    colours: Option<&[u32]>,
    n: usize,
) -> Vec<u128> {
    let colour = |v: usize| colours.and_then(|c| c.get(v)).copied().unwrap_or(0);
    let of = |v: usize| {
        let start = hash(u32::MAX, 0).wrapping_mul(u128::from(colour(v)) + 1);
        let row = matrix.row(v as u32).iter().zip(landmarks);
        row.fold(start, |sum, (d, l)| sum ^ hash(*l, *d))
    };
    (0..n).map(of).collect()
}

/// Vertices whose signature no other has.
fn n_alone(signatures: &mut [u128]) -> usize {
    signatures.sort_unstable();
    signatures
        .chunk_by(|a, b| a == b)
        .filter(|same| same.len() == 1)
        .count()
}

/// Takes out landmarks, the last chosen first, without which at least `n_needed` vertices are still alone. O(k · n log n).
/// `matrix` has the landmarks' columns in order.
pub(crate) fn prune(
    matrix: &Matrix,
    landmarks: &mut Vec<u32>,
    colours: Option<&[u32]>,
    n: usize,
    n_needed: usize,
) {
    let mut kept = signatures(matrix, landmarks, colours, n);
    let columns = landmarks.clone();
    for (at, landmark) in columns.iter().enumerate().rev() {
        let without = |v: usize, sum: u128| sum ^ hash(*landmark, matrix.row(v as u32)[at]);
        let new: Vec<u128> = kept
            .iter()
            .enumerate()
            .map(|(v, sum)| without(v, *sum))
            .collect();
        if n_alone(&mut new.clone()) >= n_needed {
            kept = new;
            landmarks.retain(|l| l != landmark);
        }
    }
}

/// Replaces two landmarks by one for as long as that can be done within [`LOOKS_MAX`]; every vertex stays alone. `all` are the
/// distances between all vertices.
pub(crate) fn two_for_one(all: &Matrix, landmarks: &mut Vec<u32>, colours: Option<&[u32]>) {
    let n = all.n_columns();
    let mut looks = 0_u64;
    'again: loop {
        let of_landmarks = |v: u32| landmarks.iter().map(move |l| all.row(v)[*l as usize]);
        let colour = |v: u32| {
            colours
                .and_then(|c| c.get(v as usize))
                .copied()
                .unwrap_or(0)
        };
        let start = |v: u32| hash(u32::MAX, 0).wrapping_mul(u128::from(colour(v)) + 1);
        let whole: Vec<u128> = (0..n as u32)
            .map(|v| {
                of_landmarks(v)
                    .zip(&*landmarks)
                    .fold(start(v), |sum, (d, l)| sum ^ hash(*l, d))
            })
            .collect();
        for a in 0..landmarks.len() {
            for b in 0..a {
                let pair = [landmarks[a], landmarks[b]];
                looks += n as u64 * 8;
                let mut rest: Vec<(u128, u32)> = (0..n as u32)
                    .map(|v| {
                        let row = all.row(v);
                        let out = pair
                            .iter()
                            .fold(0, |sum, l| sum ^ hash(*l, row[*l as usize]));
                        (whole[v as usize] ^ out, v)
                    })
                    .collect();
                rest.sort_unstable();
                let together: Vec<&[(u128, u32)]> = rest
                    .chunk_by(|x, y| x.0 == y.0)
                    .filter(|same| same.len() > 1)
                    .collect();
                let tells = |c: u32| {
                    together.iter().all(|class| {
                        let mut seen: Vec<u16> =
                            class.iter().map(|(_, v)| all.row(*v)[c as usize]).collect();
                        seen.sort_unstable();
                        seen.windows(2).all(|two| two[0] != two[1])
                    })
                };
                looks += n as u64 * 4;
                if let Some(one) = (0..n as u32).find(|c| tells(*c)) {
                    landmarks.retain(|l| !pair.contains(l));
                    if !landmarks.contains(&one) {
                        landmarks.push(one);
                    }
                    continue 'again;
                }
                if looks > LOOKS_MAX {
                    return;
                }
            }
        }
        return;
    }
}
