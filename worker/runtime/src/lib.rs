//! Runs slots.
