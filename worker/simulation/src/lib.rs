//! The whole fleet in one process under a seed.
