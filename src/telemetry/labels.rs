//! The words that labels and log lines may hold: closed lists, so that no client and no object can make a new series.
//!
//! Each has its place in its list (`index`), by which a metric's handle is found without hashing a string.

use serde::{Serialize, Serializer};

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word as it is written.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Its place in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

label! {
    /// Where a request was routed to.
    Route {
        /// `/tasks/{task}/…`
        Tasks = "tasks",
        /// `/projects/{project}/…`
        Projects = "projects",
        /// `/data/local-files/`
        LocalFiles = "local-files",
        /// `/session`
        Session = "session",
        /// What the annotation application answers.
        Upstream = "upstream",
        /// Anything else.
        Other = "other",
    }
}

label! {
    /// A request's method; what no route takes is `other`.
    Method {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// OPTIONS.
        Options = "OPTIONS",
        /// POST.
        Post = "POST",
        /// DELETE.
        Delete = "DELETE",
        /// Any other.
        Other = "other",
    }
}

impl From<&str> for Method {
    fn from(method: &str) -> Self {
        let known = Self::ALL.iter().find(|known| known.as_str() == method);
        known.copied().unwrap_or(Self::Other)
    }
}

label! {
    /// A floor of the cache.
    Tier {
        /// Chunks in memory.
        Memory = "memory",
        /// Chunks on disk.
        Disk = "disk",
        /// Objects' metadata.
        Metadata = "metadata",
    }
}

label! {
    /// How something was had, in nginx's words.
    CacheResult {
        /// From the cache.
        Hit = "hit",
        /// Metadata was stale and storage said it still holds.
        Revalidated = "revalidated",
        /// Metadata was stale and storage could not be asked.
        Stale = "stale",
        /// Joined a fetch that another request had begun.
        Updating = "updating",
        /// Fetched from storage.
        Miss = "miss",
    }
}

label! {
    /// What storage was asked for.
    Operation {
        /// Metadata.
        Head = "head",
        /// Bytes.
        Get = "get",
        /// Keys.
        List = "list",
        /// A presigned URL.
        Presign = "presign",
    }
}

label! {
    /// What came of a second request to a slow storage.
    Hedging {
        /// It was answered first.
        Won = "won",
        /// The first request was, or neither, or nobody waited any more.
        Lost = "lost",
    }
}

label! {
    /// How storage answered.
    Outcome {
        /// With what was asked for.
        Ok = "ok",
        /// The version that was named still holds.
        NotModified = "not_modified",
        /// No such object or bucket.
        NotFound = "not_found",
        /// The range begins past the end.
        RangeNotSatisfiable = "range_not_satisfiable",
        /// Another version is there now.
        Changed = "changed",
        /// Lockgate's credentials were refused, or there are none.
        AccessDenied = "access_denied",
        /// Slow down.
        Throttled = "throttled",
        /// Not reached, broken off, or a server error.
        Unavailable = "unavailable",
        /// Not in time.
        TimedOut = "timed_out",
        /// Not what the protocol says.
        Protocol = "protocol",
    }
}

label! {
    /// Why somebody may or may not see something; it says which decision it was.
    Reason {
        /// Allowed.
        Permitted = "permitted",
        /// No or no valid credential.
        Unauthenticated = "unauthenticated",
        /// The token names another task or other media.
        OutsideScope = "outside_scope",
        /// The token ended while a body ran.
        Expired = "expired",
        /// No such task or project.
        Unknown = "unknown",
        /// Neither a member nor in a group of the project.
        NotMember = "not_member",
        /// The task is assigned to others.
        NotAssigned = "not_assigned",
        /// The media occurs in no task of theirs.
        NotInTask = "not_in_task",
        /// No storage of the project holds such a URI.
        NoStorage = "no_storage",
        /// The access source is down: no decision, so no media.
        SourceUnavailable = "source_unavailable",
    }
}

impl Reason {
    /// The decision: `allow`, `deny`, or `error` where there was none.
    pub const fn decision(self) -> &'static str {
        match self {
            Self::Permitted => "allow",
            Self::SourceUnavailable => "error",
            Self::Unauthenticated
            | Self::OutsideScope
            | Self::Expired
            | Self::Unknown
            | Self::NotMember
            | Self::NotAssigned
            | Self::NotInTask
            | Self::NoStorage => "deny",
        }
    }
}

label! {
    /// Why a body ended before its last byte.
    Abort {
        /// The client left, or stopped reading for too long.
        ClientGone = "client_gone",
        /// The process ended, and the time for bodies to finish was over.
        Drained = "drained",
        /// The annotator lost the right to see it.
        Revoked = "revoked",
        /// The token ended.
        Expired = "expired",
        /// The access source is down and the last decision too old.
        AccessUnavailable = "access_unavailable",
        /// Storage failed.
        Storage = "storage",
        /// Storage sent nothing for too long.
        Stalled = "stalled",
        /// The object changed.
        Changed = "changed",
        /// The annotation application broke off.
        Upstream = "upstream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_method_is_other_and_makes_no_new_series() {
        assert_eq!(Method::from("GET"), Method::Get);
        assert_eq!(Method::from("get"), Method::Other);
        assert_eq!(Method::from("X-HOSTILE"), Method::Other);
    }

    #[test]
    fn an_index_is_the_place_in_the_list() {
        for (place, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(outcome.index(), place);
        }
    }
}
