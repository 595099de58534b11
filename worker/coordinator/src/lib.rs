//! The job's master: starts, snapshots, recovers and ends a job.
