//! The servers that are compared.

/// How a server is started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Rust {
        package: &'static str,
        binary: &'static str,
    },
    /// `servers/python/server.py` with this value of `SERVER`.
    Python(&'static str),
    /// `servers/node/server.js` with this value of `SERVER`.
    Node(&'static str),
}

/// Where a server has its bookings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bookings {
    /// Nowhere: it counts them.
    Counted,
    /// In a table of PostgreSQL.
    Rows,
}

/// A library behind its framework.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// What exactly is measured.
    pub(crate) describes: &'static str,
    pub(crate) program: Program,
    /// The same handler behind the framework alone.
    pub(crate) plain: Program,
    pub(crate) bookings: Bookings,
    /// Whether it protects only requests of a session, which `GET /login` begins.
    pub(crate) has_sessions: bool,
    /// How many requests are in one slice.
    pub(crate) slice: u64,
}

const AXUM: Program = rust("memory-servers", "plain");
const AXUM_WITH_ROWS: Program = rust("postgres-servers", "postgres-plain");
const FASTAPI: Program = Program::Python("plain");
const EXPRESS: Program = Program::Node("plain");

pub(crate) const PEERS: &[Peer] = &[
    Peer {
        describes: "this project's `#[idempotent]` over `MemoryStore`",
        ..in_rust("idempotency, attribute", "memory-servers", "attribute")
    },
    Peer {
        describes: "this project's `IdempotencyLayer` over `MemoryStore`",
        ..in_rust("idempotency, layer", "memory-servers", "layer")
    },
    Peer {
        describes: "the Rust crate `idempotent` 2.0.0: its layer for axum over its memory store, without a scope, as its README has it",
        ..in_rust("idempotent", "idempotent-2", "idempotent-2")
    },
    Peer {
        describes: "the Rust crate `axum-idempotent` 0.6.0 with keys of the header field, over the memory store of its sessions (`ruts` 0.13); another caller is another session",
        has_sessions: true,
        ..in_rust(
            "axum-idempotent",
            "axum-idempotent-server",
            "axum-idempotent-server",
        )
    },
    Peer {
        describes: "the Rust crate `rustango` 0.62.0: its layer over its cache in memory",
        ..in_rust("rustango", "rustango-server", "rustango-server")
    },
    Peer {
        describes: "FastAPI 0.165 with responses in one dictionary, behind one `asyncio.Lock` that is held while the handler runs",
        program: Program::Python("dictionary"),
        ..in_python("one dictionary")
    },
    Peer {
        describes: "the Python package `idemkit` 1.0.2: its middleware for FastAPI 0.165 over its memory backend. Its slices are short, because each claim reads all records, and the backend refuses more than 10,000",
        program: Program::Python("idemkit"),
        slice: 200,
        ..in_python("idemkit")
    },
    Peer {
        name: "express-idempotency",
        describes: "the package `express-idempotency` 1.0.6 behind Express 5.3, over its memory adapter",
        program: Program::Node("express-idempotency"),
        plain: EXPRESS,
        bookings: Bookings::Counted,
        has_sessions: false,
        slice: 600,
    },
    Peer {
        describes: "this project's `#[idempotent(transactional)]` over `PostgresStore`: row, key and response are one commit",
        ..with_rows(
            "idempotency, transactional",
            "postgres-servers",
            "postgres-attribute",
        )
    },
    Peer {
        describes: "the Rust crate `durare` 0.5.0: a workflow with the key as its id and one transactional step. Row and step are one commit, the workflow's beginning and end two more",
        ..with_rows("durare", "durare-server", "durare-server")
    },
    Peer {
        describes: "the Rust crate `dbos` 0.5.0: a workflow with the key as its id and one step. It has no transactional step: a crash between the row's commit and the step's can make a second row",
        ..with_rows("dbos", "dbos-server", "dbos-server")
    },
];

const fn rust(package: &'static str, binary: &'static str) -> Program {
    Program::Rust { package, binary }
}

const fn in_rust(name: &'static str, package: &'static str, binary: &'static str) -> Peer {
    Peer {
        name,
        describes: "",
        program: rust(package, binary),
        plain: AXUM,
        bookings: Bookings::Counted,
        has_sessions: false,
        slice: 5_000,
    }
}

const fn in_python(name: &'static str) -> Peer {
    Peer {
        name,
        describes: "",
        program: FASTAPI,
        plain: FASTAPI,
        bookings: Bookings::Counted,
        has_sessions: false,
        slice: 500,
    }
}

const fn with_rows(name: &'static str, package: &'static str, binary: &'static str) -> Peer {
    Peer {
        plain: AXUM_WITH_ROWS,
        bookings: Bookings::Rows,
        slice: 300,
        ..in_rust(name, package, binary)
    }
}
