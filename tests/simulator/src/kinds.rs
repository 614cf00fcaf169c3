//! A closed list of named kinds, written as one table: the enum, all of it, names, and a line for people.

/// `kinds! { "doc" Enum  Kind "name" "about" … }`
macro_rules! kinds {
    ($doc:literal $list:ident $($kind:ident $name:literal $about:literal)*) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $list {
            $(#[doc = $about] $kind),*
        }

        impl $list {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// As commands and files name it; where the test bed has the same, its name there.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }

            /// One line for people.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$kind => $about),* }
            }

            /// The kind of that name.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }
    };
}

pub(crate) use kinds;
