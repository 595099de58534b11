//! Queues, credits and barrier alignment as state machines.
