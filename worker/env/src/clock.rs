//! Time and randomness.

use std::time::Duration;

/// Two clocks: one for spans, one for people and for processing time.
pub trait Clock: Send + Sync {
    /// Time since some fixed start; never goes back.
    fn monotonic(&self) -> Duration;

    /// Wall clock, milliseconds since the Unix epoch; may jump either way.
    fn wall_clock_ms(&self) -> i64;
}

/// Random numbers.
pub trait Entropy: Send + Sync {
    /// 64 random bits.
    fn next_u64(&self) -> u64;
}
