//! The application chooses which cryptography TLS uses.

#[cfg(any(feature = "firestore", feature = "redis-tls"))]
use rustls::crypto::CryptoProvider;

/// The message for an application that has not chosen one.
pub(super) const PROVIDER_MISSING: &str = "TLS needs a CryptoProvider of rustls 0.23, and none is installed; call \
    rustls::crypto::ring::default_provider().install_default() once, at the start of the program";

/// Whether the application has chosen one. Without one the client libraries panic, unless exactly one is compiled into
/// the program, which cannot be queried.
#[cfg(any(feature = "firestore", feature = "redis-tls"))]
pub(super) fn is_provider_installed() -> bool {
    CryptoProvider::get_default().is_some()
}
