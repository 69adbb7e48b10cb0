//! Which functions can be handlers of this kind.
