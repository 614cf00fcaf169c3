//! Noise for tests: the same on every machine. (test only)

/// Deterministic noise in [-1, 1), a stream a column.
pub(crate) fn noise(row: i64, column: usize) -> f64 {
    scrambled(row, column, 3)
}

/// The same after so many rounds: limits of tests hold for the draw that they were written on.
pub(crate) fn scrambled(row: i64, column: usize, n_rounds: u32) -> f64 {
    let mut x = (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (column as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    for _ in 0..n_rounds {
        x ^= x >> 31;
        x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x ^= x >> 27;
    }
    (x >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}
