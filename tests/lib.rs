//! What the tests of this workspace share: the servers that they start, and the stores on them.

pub mod opened;
pub mod servers;
