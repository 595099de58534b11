//! What a user writes: the StreamJob manifest as serde types.
