//! Storage of named objects: job log, snapshot files, input and output files.
//!
//! # Guarantees that every implementation gives
//! - `PutNew` succeeds for at most one caller per path, and a reader sees the whole object or none.
//! - A reply to `Put`, `PutNew`, `Seal`, `Prepare` or `Publish` comes after the effect is durable.
//! - What `Append` wrote is staged: no reader and no listing sees it before `Seal`, or `Prepare` and then `Publish`. It belongs
//!   to the process that appended; another process can only publish it with its token, or discard it. What several processes
//!   stage for one path are so many things, each with a token of its own. When a request on it has failed, it may lack something:
//!   all that the process may do is to throw it away.

use std::fmt;
use streamfleet_types::Outlook;

/// Takes the answer of a request; called once, on any thread.
pub type Completion = Box<dyn FnOnce(Result<StorageReply, StorageError>) + Send>;

/// One operation on storage. Paths use `/`; they are relative to the storage's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageRequest {
    /// Create an object; fails with [`StorageErrorKind::AlreadyExists`] if the path is taken. Answered by `Done`.
    PutNew {
        /// Where.
        path: String,
        /// The whole content.
        bytes: Vec<u8>,
    },
    /// Write a whole object. Answered by `Done`.
    Put {
        /// Where.
        path: String,
        /// The whole content.
        bytes: Vec<u8>,
    },
    /// Append to what is staged for a path; the first append of a process begins it. Answered by `Done`.
    Append {
        /// Where it will be.
        path: String,
        /// What to append.
        bytes: Vec<u8>,
    },
    /// Make all that was appended durable, and show it at its path. Answered by `Done`.
    Seal {
        /// Where.
        path: String,
    },
    /// Make all that was appended durable, and show nothing yet. Answered by `Prepared`.
    Prepare {
        /// Where it will be.
        path: String,
    },
    /// Show what was prepared. If that was done before, nothing happens. Answered by `Done`.
    Publish {
        /// Where.
        path: String,
        /// What `Prepare` answered, in this process or in an earlier one.
        token: String,
    },
    /// What is staged for paths that begin with `prefix`, by whatever process. Answered by `Staged`.
    ListStaged {
        /// As of `List`.
        prefix: String,
    },
    /// Throw away what is staged; discarding what is not there is fine. Answered by `Done`.
    Discard {
        /// Where it would have been.
        path: String,
        /// As listed.
        token: String,
    },
    /// Throw away what this process has staged for a path, if anything; what others have is not touched. Answered by `Done`.
    Unstage {
        /// Where it would have been.
        path: String,
    },
    /// Read an object, or a part of it. Answered by `Bytes`; a range beyond the end is cut short.
    Get {
        /// Where.
        path: String,
        /// First byte and length; absent for all.
        range: Option<(u64, u64)>,
    },
    /// The objects in a folder and in those below it, sorted by path; of a single object's path, that object. Answered by `Paths`.
    List {
        /// A folder's path, empty for the root, or an object's path. A `/` at its end makes it a folder's.
        prefix: String,
    },
    /// Delete an object, and what this process has staged for its path. Deleting what is not there is fine. Answered by `Done`.
    Delete {
        /// Where.
        path: String,
    },
}

impl StorageRequest {
    /// The path that the request is about.
    pub fn path(&self) -> &str {
        match self {
            Self::PutNew { path, .. }
            | Self::Put { path, .. }
            | Self::Append { path, .. }
            | Self::Seal { path }
            | Self::Prepare { path }
            | Self::Publish { path, .. }
            | Self::Discard { path, .. }
            | Self::Unstage { path }
            | Self::Get { path, .. }
            | Self::Delete { path } => path,
            Self::List { prefix } | Self::ListStaged { prefix } => prefix,
        }
    }

    /// The same, to be changed.
    pub const fn path_mut(&mut self) -> &mut String {
        match self {
            Self::PutNew { path, .. }
            | Self::Put { path, .. }
            | Self::Append { path, .. }
            | Self::Seal { path }
            | Self::Prepare { path }
            | Self::Publish { path, .. }
            | Self::Discard { path, .. }
            | Self::Unstage { path }
            | Self::Get { path, .. }
            | Self::Delete { path } => path,
            Self::List { prefix } | Self::ListStaged { prefix } => prefix,
        }
    }

    /// The operation's name, for errors and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PutNew { .. } => "create",
            Self::Put { .. } => "write",
            Self::Append { .. } => "append",
            Self::Seal { .. } => "seal",
            Self::Prepare { .. } => "prepare",
            Self::Publish { .. } => "publish",
            Self::ListStaged { .. } => "list what is staged in",
            Self::Discard { .. } => "discard",
            Self::Unstage { .. } => "unstage",
            Self::Get { .. } => "read",
            Self::List { .. } => "list",
            Self::Delete { .. } => "delete",
        }
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageReply {
    /// It is done.
    Done,
    /// What was read.
    Bytes(Vec<u8>),
    /// Path and size in bytes of every object found.
    Paths(Vec<(String, u64)>),
    /// The token that publishes what was prepared.
    Prepared(String),
    /// Everything staged that was found.
    Staged(Vec<Staged>),
}

/// Something staged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Staged {
    /// Where it would be shown.
    pub path: String,
    /// Names it for `Discard`.
    pub token: String,
}

/// What kind of thing went wrong: what a caller may do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// The path is taken.
    AlreadyExists,
    /// There is no such object.
    NotFound,
    /// It may or may not have happened: look, or try again.
    Uncertain,
    /// No room is left.
    Full,
    /// Not allowed.
    Denied,
    /// This place cannot create an object for one caller only.
    NotExclusive,
    /// Anything else that trying again will not mend.
    Broken,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageError {
    /// What may be done about it.
    pub kind: StorageErrorKind,
    /// The operation, as by [`StorageRequest::name`].
    pub operation: &'static str,
    /// The path, as a user would find it.
    pub path: String,
    /// What the system said.
    pub detail: String,
}

impl StorageError {
    /// What another run may expect of it.
    pub const fn outlook(&self) -> Outlook {
        match self.kind {
            StorageErrorKind::Uncertain | StorageErrorKind::Full => Outlook::MayPass,
            StorageErrorKind::AlreadyExists
            | StorageErrorKind::NotFound
            | StorageErrorKind::Denied
            | StorageErrorKind::Broken => Outlook::Refused,
            StorageErrorKind::NotExclusive => Outlook::Lasts,
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.operation, self.path, self.detail)?;
        match self.kind {
            StorageErrorKind::Full => {
                f.write_str(" (free some space and start the job again: it goes on from its last checkpoint)")
            }
            StorageErrorKind::Denied => f.write_str(" (check the permissions of this place)"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for StorageError {}

/// A place for objects.
pub trait Storage: Send + Sync {
    /// Starts a request; `done` gets its answer. Requests on one path from one caller happen in the order submitted.
    fn submit(&self, request: StorageRequest, done: Completion);
}
