//! What another run of a job may expect of what failed this one.

/// What another run may expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// It may have passed by then.
    MayPass,
    /// Something outside refuses what the job asks for: it passes only if somebody changes something there.
    Refused,
    /// The next run would fail in the same way, or must not be.
    Lasts,
}
