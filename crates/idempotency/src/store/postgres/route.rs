//! What is between this process and the server.

use std::collections::HashSet;

use sqlx::{Connection, PgConnection, Row, postgres::PgConnectOptions, raw_sql};

/// How the server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Each connection has a server process of its own: statements stay prepared, notifications arrive.
    Direct,
    /// A pooler lends out each server process for one transaction at a time. A statement that is prepared in one
    /// process may be missing in the next, or be another client's statement of the same name.
    Pooled,
}

/// How often both connections are asked. A pooler that is busy with other clients may reply differently by chance.
const ROUNDS: usize = 8;

const PROCESS: &str = "select pg_backend_pid()";

/// For a connection that has a server process to itself.
///
/// The server keeps one plan for each statement, and does not plan it again for each number of keys, which takes it longer than the
/// statement. So the plan must be good for a table of any size: it finds each record through an index, also if the table is
/// small when it is made, and in the order in which they are wanted. A plan that cannot do so counts as a long one, for which the server would compile code.
pub(super) const SET_UP: &str = "
    set lock_timeout = '3s';
    set plan_cache_mode = force_generic_plan;
    set enable_seqscan = off;
    set enable_bitmapscan = off;
    set jit = off
";

/// For one transaction, because a pooler's server process runs another client's transaction next.
pub(super) const BEGIN_LIMITED: &str = "begin; set local lock_timeout = '3s'";

impl Route {
    /// Asks two connections for the process that serves them. Without a pooler each always names its own. With one they
    /// share a process, or theirs changes.
    pub(super) async fn find(
        connection: &mut PgConnection,
        options: &PgConnectOptions,
    ) -> Result<Self, sqlx::Error> {
        let mut other = PgConnection::connect_with(options).await?;
        let (mut own, mut others) = (HashSet::new(), HashSet::new());
        let mut route = Self::Direct;
        for _ in 0..ROUNDS {
            own.insert(process(connection).await?);
            others.insert(process(&mut other).await?);
            if own.len() > 1 || others.len() > 1 || !own.is_disjoint(&others) {
                route = Self::Pooled;
                break;
            }
        }
        other.close().await?;
        Ok(route)
    }
}

/// Asked without a prepared statement, which is what may go wrong.
async fn process(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    raw_sql(PROCESS).fetch_one(connection).await?.try_get(0)
}
