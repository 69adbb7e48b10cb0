//! Which cryptography TLS uses.

use rustls::crypto::{CryptoProvider, ring};

/// Chooses for the process, unless the application has chosen. The clients of servers take what is chosen, and panic where two
/// are compiled in and none is.
pub(super) fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // Only another thread that did the same a moment ago can make it fail.
        drop(ring::default_provider().install_default());
    }
}
