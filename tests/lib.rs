//! What the tests of this workspace share: the servers that they start, the stores on them, and what goes wrong in between.

pub mod opened;
pub mod proxy;
pub mod servers;
