//! Logical plan to job graph to execution graph.
