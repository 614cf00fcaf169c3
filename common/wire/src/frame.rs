//! The frame: four bytes of length, one of version, then a body in bincode's wire format. (steps 5–6)
//!
//! Layout: `u32` little endian = bytes after it (version and body), `u8` version, body.
//! The body is what bincode 1.3 and bincode 2's legacy configuration write (fixed integers, little endian); the
//! maintained crate `wincode` writes it, bincode itself is the oracle in the tests (RUSTSEC-2025-0141 is why).

use wincode::config::DefaultConfig;
use wincode::io::Reader as _;
use wincode::{SchemaRead, SchemaWrite};

/// Frames longer than this are refused on both sides: 1 MiB. A usual summary has 3 KiB.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// Length field and version.
pub const FRAME_HEADER_BYTES: usize = 5;

/// The frame version every peer reads, and most messages are written in.
pub const VERSION: u8 = 1;

/// The version that adds messages about triggers. Only such messages carry it, and only peers that say they read it are
/// sent any.
pub const VERSION_TRIGGERS: u8 = 2;

/// The version that adds an agent's role in the interaction graph; likewise.
pub const VERSION_ROLES: u8 = 3;

/// The highest version this code reads.
pub const VERSION_MAX: u8 = VERSION_ROLES;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The peer speaks a version this side cannot read.
    #[error(
        "frame version {found} is not known here (this side reads {VERSION} to {VERSION_MAX}): upgrade the older side"
    )]
    UnknownVersion {
        /// What the frame says.
        found: u8,
    },
    /// A length over the limit.
    #[error("a {what} of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// How long.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Bytes that are not what they should be.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// Why it cannot be.
        why: String,
    },
}

/// Bytes of the body that follow this header.
///
/// # Errors
/// [`Error::TooLong`] over [`FRAME_BYTES_MAX`], [`Error::UnknownVersion`] for a version it does not read, [`Error::Malformed`]
/// for a frame without a version byte.
pub fn frame_length(header: [u8; FRAME_HEADER_BYTES]) -> Result<usize, Error> {
    let [a, b, c, d, version] = header;
    let bytes = u32::from_le_bytes([a, b, c, d]) as usize;
    if bytes > FRAME_BYTES_MAX {
        return Err(Error::TooLong {
            what: "frame",
            bytes,
            limit: FRAME_BYTES_MAX,
        });
    }
    let Some(body) = bytes.checked_sub(1) else {
        return Err(Error::Malformed {
            what: "frame",
            why: "no version byte".to_owned(),
        });
    };
    if !(VERSION..=VERSION_MAX).contains(&version) {
        return Err(Error::UnknownVersion { found: version });
    }
    Ok(body)
}

/// A whole frame of this version around `message`.
pub(crate) fn encode<T>(message: &T, version: u8) -> Result<Vec<u8>, Error>
where
    T: SchemaWrite<DefaultConfig, Src = T>,
{
    let body = to_bytes("message", message)?;
    let bytes = body.len() + 1;
    if bytes > FRAME_BYTES_MAX {
        return Err(Error::TooLong {
            what: "frame",
            bytes,
            limit: FRAME_BYTES_MAX,
        });
    }
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
    frame.extend_from_slice(&u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes());
    frame.push(version);
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The bytes of `value` in bincode's wire format.
pub(crate) fn to_bytes<T>(what: &'static str, value: &T) -> Result<Vec<u8>, Error>
where
    T: SchemaWrite<DefaultConfig, Src = T>,
{
    wincode::serialize(value).map_err(|why| Error::Malformed {
        what,
        why: why.to_string(),
    })
}

/// Reads a body; wincode refuses a length prefix that asks for more than 4 MiB before it allocates.
pub(crate) fn decode<'de, T>(body: &'de [u8]) -> Result<T, Error>
where
    T: SchemaRead<'de, DefaultConfig, Dst = T>,
{
    if body.len() > FRAME_BYTES_MAX {
        return Err(Error::TooLong {
            what: "message",
            bytes: body.len(),
            limit: FRAME_BYTES_MAX,
        });
    }
    wincode::deserialize_exact(body).map_err(|why| Error::Malformed {
        what: "message",
        why: why.to_string(),
    })
}

/// Reads a value from the beginning of `body`; what follows it comes back.
pub(crate) fn decode_first<'de, T>(mut body: &'de [u8]) -> Result<(T, &'de [u8]), Error>
where
    T: SchemaRead<'de, DefaultConfig, Dst = T>,
{
    let value = T::get(body.by_ref()).map_err(|why| Error::Malformed {
        what: "message",
        why: why.to_string(),
    })?;
    Ok((value, body))
}
