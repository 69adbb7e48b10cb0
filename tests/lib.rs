//! What the tests of this workspace share: the servers that they start.

pub mod servers;
