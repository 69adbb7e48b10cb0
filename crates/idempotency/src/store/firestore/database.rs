use std::fmt;

use super::{FirestoreStoreError, FirestoreTransaction, client::Client};

/// A project's default Firestore database, for keys and for the application's own documents alike.
///
/// ```no_run
/// use idempotency::{FirestoreDatabase, FirestoreStore, Idempotency};
///
/// # async fn example() -> Result<(), idempotency::FirestoreStoreError> {
/// let database = FirestoreDatabase::connect("my-project").await?;
/// let idempotency = Idempotency::new(FirestoreStore::new(database.clone()));
/// // And `database` goes to the handlers, which commit their documents with their keys.
/// # Ok(())
/// # }
/// ```
///
/// Clones are handles on one connection, which comes back by itself, also where nothing comes back on it.
#[derive(Clone)]
pub struct FirestoreDatabase(pub(super) Client);

impl FirestoreDatabase {
    /// The default database of this project.
    ///
    /// The environment says which: `FIRESTORE_EMULATOR_HOST`, such as `127.0.0.1:8080`, is an emulator, and
    /// without it the application's default credentials are used for Google's own. An emulator is named in the log, and on
    /// another machine it is refused, unless the project's name begins with `demo-`, as none of Google's does.
    ///
    /// # Errors
    ///
    /// If the program has installed no rustls provider, and if Firestore does not answer within ten seconds, or refuses the credentials, or has no such database.
    pub async fn connect(project: &str) -> Result<Self, FirestoreStoreError> {
        Client::connect(project).await.map(Self)
    }

    /// The one in an emulator at this address, such as `127.0.0.1:8080`, whatever the environment says.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn connect_to_emulator(
        project: &str,
        address: &str,
    ) -> Result<Self, FirestoreStoreError> {
        let client = Client::connect_to_emulator(project, address).await;
        client.map(Self)
    }

    /// Writes for [`Execution::commit`](crate::Execution::commit), none at first.
    pub fn transaction(&self) -> FirestoreTransaction {
        FirestoreTransaction::new(self.clone())
    }

    /// Whether both have one name, which is one database, over however many connections. Emulators that are used together
    /// must have projects of different names.
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
