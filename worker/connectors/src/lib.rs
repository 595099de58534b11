//! Connectors, one folder per external system, and formats.
