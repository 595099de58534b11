//! The roles of the binary as a library.
