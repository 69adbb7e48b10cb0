use std::fmt;

use super::{FirestoreStoreError, FirestoreTransaction, client::Client};

/// A project's default Firestore database, for keys and for the application's own documents.
///
/// ```no_run
/// use idempotency::{FirestoreDatabase, FirestoreStore, Idempotency};
///
/// # async fn example() -> Result<(), idempotency::store::FirestoreStoreError> {
/// let database = FirestoreDatabase::connect("my-project").await?;
/// let idempotency = Idempotency::new(FirestoreStore::new(database.clone()));
/// // Pass `database` to the handlers, which commit their documents with their keys.
/// # Ok(())
/// # }
/// ```
///
/// Clones are handles on one connection, which reconnects by itself, even if it only stops receiving responses.
#[derive(Clone)]
pub struct FirestoreDatabase(pub(super) Client);

impl FirestoreDatabase {
    /// Opens the default database of this project.
    ///
    /// `FIRESTORE_EMULATOR_HOST` in the environment, such as `127.0.0.1:8080`, selects an emulator. Without it,
    /// Google's own service is used with the application's default credentials. An emulator is named in the log. An
    /// emulator on another machine is refused, unless the project's name begins with `demo-`, as no name of a Google
    /// project does.
    ///
    /// # Errors
    ///
    /// If the program has not installed a rustls provider, or if Firestore does not respond within ten seconds, refuses
    /// the credentials, or has no such database.
    pub async fn connect(project: &str) -> Result<Self, FirestoreStoreError> {
        Client::connect(project).await.map(Self)
    }

    /// Opens the database of this project in an emulator at this address, such as `127.0.0.1:8080`, whatever the
    /// environment says.
    ///
    /// # Errors
    ///
    /// If the emulator does not respond.
    pub async fn connect_to_emulator(
        project: &str,
        address: &str,
    ) -> Result<Self, FirestoreStoreError> {
        let client = Client::connect_to_emulator(project, address).await;
        client.map(Self)
    }

    /// Starts an empty set of writes for [`Execution::commit`](crate::Execution::commit).
    pub fn transaction(&self) -> FirestoreTransaction {
        FirestoreTransaction::new(self.clone())
    }

    /// Whether both have the same name, and so are one database, over however many connections. Emulators that are used
    /// together need projects with different names.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.database() == other.0.database()
    }
}

impl fmt::Debug for FirestoreDatabase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("FirestoreDatabase")
            .field(&self.0.database())
            .finish()
    }
}
