//! One stable hash of names and texts, for keys that agents and the aggregator must agree on. (steps 2–15)

/// FNV-1a, 64 bits (Fowler, Noll, Vo; <http://www.isthe.com/chongo/tech/comp/fnv/>): stable across agents and versions.
/// Names come from people who are trusted not to search for collisions; a collision adds two counts.
#[must_use]
pub const fn fnv1a_64(bytes: &[u8]) -> u64 {
    fnv1a_64_more(0xcbf2_9ce4_8422_2325, bytes)
}

/// [`fnv1a_64`] of more bytes behind those of which `hash` is.
#[must_use]
pub const fn fnv1a_64_more(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// The key of a name: 0 where there is none.
#[must_use]
pub const fn key_of(name: &str) -> u64 {
    if name.is_empty() {
        0
    } else {
        fnv1a_64(name.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // Test vectors of the authors' page.
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(
            fnv1a_64_more(fnv1a_64(b"foo"), b"bar"),
            0x8594_4171_f739_67e8
        );
        assert_eq!((key_of(""), key_of("a")), (0, 0xaf63_dc4c_8601_ec8c));
    }
}
