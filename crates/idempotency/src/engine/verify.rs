//! Asks the store what would go wrong.

use super::Idempotency;
use crate::store::Verification;

impl Idempotency {
    /// Checks what would go wrong with the store: whether it can be reached and written, and its server's or file's
    /// settings.
    ///
    /// ```
    /// use idempotency::{Idempotency, MemoryStore, store::Verdict};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let idempotency = Idempotency::new(MemoryStore::new());
    /// let verification = idempotency.verify().await;
    /// assert_eq!(verification.verdict(), Verdict::Warning);
    /// assert!(verification.findings.iter().any(|finding| finding.check == "durability"));
    /// # }
    /// ```
    ///
    /// It claims and releases a key of its own, and changes no other. It takes up to half a minute where the store does not
    /// respond, and reads a SQLite file as a whole. See [`Store::verify`](crate::Store::verify).
    pub async fn verify(&self) -> Verification {
        self.0.store.verify().await
    }
}
