//! Event time.

/// Milliseconds since the Unix epoch, UTC; also a span of milliseconds.
pub type Millis = i64;

/// The watermark before anything was seen.
pub const MIN_WATERMARK: Millis = i64::MIN;

/// The watermark after which nothing comes: the end of a bounded input.
pub const MAX_WATERMARK: Millis = i64::MAX;
