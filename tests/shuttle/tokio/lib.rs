//! The part of tokio that the library uses, for one execution under shuttle: its scheduler decides which task goes on, and time stands
//! still until a test moves it.
//!
//! Locks, semaphores and channels are tokio's own, which need no runtime. `Notify` is too, with a point before each call at which another
//! task may go on. Tasks, time and task-local values are written here: a schedule must decide all of them.

pub mod execution;
mod local;
pub mod runtime;
pub mod sync;
pub mod task;
pub mod time;

pub use local::AccessError;
pub use local::LocalKey;
pub use task::spawn;

/// Under these names the macros find what they are made of.
#[doc(hidden)]
pub mod __macros {
    pub use shuttle::thread_local;
    pub use tokio::select;

    use shuttle::rand::{Rng, thread_rng};

    /// The branch that a `select!` polls first, by the scheduler's choice.
    #[must_use]
    pub fn first(branches: u32) -> u32 {
        thread_rng().gen_range(0..branches)
    }
}

/// As `tokio::select!`.
#[macro_export]
macro_rules! select {
    (biased; $($branches:tt)*) => {
        $crate::__macros::select!(@{ start=0; () } $($branches)*)
    };
    ($($branches:tt)*) => {
        // `BRANCHES` is a constant of the macro that this one calls.
        $crate::__macros::select!(@{ start=$crate::__macros::first(BRANCHES); () } $($branches)*)
    };
}

/// As `tokio::task_local!`, of one value.
#[macro_export]
macro_rules! task_local {
    ($(#[$attribute:meta])* $visible:vis static $name:ident: $type:ty;) => {
        $(#[$attribute])*
        $visible static $name: $crate::LocalKey<$type> = {
            $crate::__macros::thread_local! {
                static SLOT: ::std::cell::RefCell<::std::option::Option<$type>> = ::std::cell::RefCell::new(None)
            }
            $crate::LocalKey::new(&SLOT)
        };
    };
}
