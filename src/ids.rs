//! Names of things: small, cheap to clone, and not to be mistaken for one another.
//!
//! Ground: imports nothing of the house.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name as it is written.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }
    };
}

name! {
    /// A project, by the id that the access list gives it.
    ProjectId
}
name! {
    /// A task, by Label Studio's id for it; unique over all projects.
    TaskId
}
name! {
    /// A storage, by the `id` of its `[[storage]]` section.
    StorageId
}
name! {
    /// An annotator: the token's `sub` claim.
    Subject
}
name! {
    /// One request, for logs and problem documents: 32 hexadecimal digits, always the same length.
    RequestId
}

impl RequestId {
    /// A new random id.
    pub fn random() -> Self {
        Self::new(format!("{:032x}", fastrand::u128(..)))
    }
}
