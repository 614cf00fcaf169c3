//! Numbers and texts as bytes: varints (LEB128), lengths first, all bounded.

use crate::Error;

/// Longest text; names are shorter.
const TEXT_BYTES_MAX: usize = 4_096;

pub(crate) fn put_u64(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(crate) fn put_i64(out: &mut Vec<u8>, n: i64) {
    put_u64(out, ((n << 1) ^ (n >> 63)).cast_unsigned());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes being read.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        let (first, rest) = self.0.split_first().ok_or(Error::Damaged("too short"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            n |= bits << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(Error::Damaged("a number is too long"))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Error> {
        let n = self.u64()?;
        Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let n = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        if n > self.0.len() {
            return Err(Error::Damaged("a length is longer than its block"));
        }
        let (taken, rest) = self.0.split_at(n);
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn text(&mut self) -> Result<String, Error> {
        let bytes = self.bytes()?;
        if bytes.len() > TEXT_BYTES_MAX {
            return Err(Error::Damaged("a text is too long"));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::Damaged("a text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prop_numbers_come_back(n in any::<i64>(), m in any::<u64>()) {
            let mut bytes = Vec::new();
            put_i64(&mut bytes, n);
            put_u64(&mut bytes, m);
            let mut cursor = Cursor(&bytes);
            prop_assert_eq!((cursor.i64().unwrap(), cursor.u64().unwrap()), (n, m));
            prop_assert!(cursor.0.is_empty());
        }
    }
}
