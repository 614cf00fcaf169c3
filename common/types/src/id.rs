//! Identities: of nodes and shards by name, of series and deliveries by number. (steps 1–15)

use std::fmt;

/// Why a name is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is not a valid name: 1 to 63 of a-z, A-Z, 0-9, '-', '_' and '.', beginning with a letter or digit"
)]
pub struct InvalidId {
    /// The refused text, cut to 80 characters.
    pub name: String,
}

fn checked(name: &str) -> Result<String, InvalidId> {
    let fits = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && name.as_bytes()[0].is_ascii_alphanumeric();
    if fits {
        Ok(name.to_owned())
    } else {
        Err(InvalidId {
            name: name.chars().take(80).collect(),
        })
    }
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks `name`: 1 to 63 characters that a DNS SAN can carry.
            ///
            /// # Errors
            /// [`InvalidId`] when the text is empty, too long or has other characters.
            pub fn new(name: &str) -> Result<Self, InvalidId> {
                checked(name).map(Self)
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

name_id! {
    /// One database process with an agent: the SAN of its certificate. Roles and shards change, nodes do not.
    NodeId
}

name_id! {
    /// One logical partition of the data; keeps its name when its primary moves to another node.
    ShardId
}

/// A series within one agent's dictionary; dense from 0, valid for one [`Incarnation`] and dictionary epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// One life of a spool directory: sequence numbers are unique within it. Random, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// The number of a summary within its [`Incarnation`]; counts from 1, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_certificate_cannot_carry_is_refused() {
        for bad in ["", "-a", "a b", "a/b", "ü", &"x".repeat(64)] {
            assert!(NodeId::new(bad).is_err(), "{bad}");
        }
        for good in ["a", "shard-1", "pg.shard_7.example", &"x".repeat(63)] {
            assert_eq!(NodeId::new(good).unwrap().as_str(), good);
        }
    }
}
