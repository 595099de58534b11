//! Snapshot decisions without I/O: begin, complete, abort, commit, retire.
