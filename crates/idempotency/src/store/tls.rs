//! Which cryptography TLS uses is the application's choice.

#[cfg(any(feature = "firestore", feature = "redis-tls"))]
use rustls::crypto::CryptoProvider;

/// What an application is told that has chosen none.
pub(super) const PROVIDER_MISSING: &str = "TLS needs a CryptoProvider of rustls 0.23, and none is installed; call \
    rustls::crypto::ring::default_provider().install_default() once, at the start of the program";

/// Whether the application has chosen one. The clients of servers panic where none is installed, unless their program has
/// exactly one compiled in, which cannot be asked.
#[cfg(any(feature = "firestore", feature = "redis-tls"))]
pub(super) fn is_provider_installed() -> bool {
    CryptoProvider::get_default().is_some()
}
