//! `core-api check`.

mod address;
mod print;

use std::{net::SocketAddr, path::Path};

use idempotency::{log_text::Causes, store::Verification};
use rustls::crypto::ring;

use crate::{
    config::{Check, Config, DatabaseUrl, StoreUrl},
    database::{self, Opened},
    keys, logging,
    progress::Progress,
    sent_token,
    server::ServerError,
    tokens::Tokens,
};
use address::Address;

/// Checks a service with these options, and returns whether there is no problem.
pub(crate) async fn run(asked: &Check) -> Result<bool, String> {
    logging::start(asked.config.log_format);
    drop(ring::default_provider().install_default());
    let mut found = Verification::new();
    let token = match &asked.token_file {
        // It may be an operator's, and another program may have the address: it is for a service that should be running here.
        None if !asked.running || !is_here(asked.config.listen) => None,
        file => sent_token::authorization(file.as_deref())?,
    };
    if asked.running {
        address::check_running(asked.config.listen, token, &mut found).await;
        return print::found(&found, asked.json);
    }
    check_tokens(&asked.config, &mut found);
    let mut progress = Progress::new();
    progress.begin("asking the address of the service");
    let address = address::check(asked.config.listen, token, &mut found).await;
    progress.begin("asking the databases; a file is read as a whole");
    check_databases(&asked.config, address, &mut found).await;
    print::found(&found, asked.json)
}

/// Whether the token stays on this machine.
fn is_here(address: SocketAddr) -> bool {
    address.ip().is_loopback() || address.ip().is_unspecified()
}

fn check_tokens(config: &Config, found: &mut Verification) {
    const CHECK: &str = "tokens";
    match &config.tokens {
        Some(path) => match Tokens::open(path) {
            Ok(_) => found.ok(CHECK, format!("{} can be read", path.display())),
            Err(error) => found.problem(
                CHECK,
                ServerError::Tokens(path.clone(), error).to_string(),
                "correct the file: the service does not start with it",
            ),
        },
        None if config.protect_health => found.problem(
            CHECK,
            ServerError::ProtectHealth.to_string(),
            "give --tokens, or leave --protect-health out",
        ),
        None if config.protect_docs => found.problem(
            CHECK,
            ServerError::ProtectDocs.to_string(),
            "give --tokens, or leave --protect-docs out",
        ),
        None if config.listen.ip().is_loopback() => {
            found.ok(CHECK, "the service is open, to this machine only");
        }
        None => found.warning(
            CHECK,
            "the service is open: everyone who can reach it may do everything",
            "give --tokens, or make it reachable only through a proxy with its own sign-in",
        ),
    }
    if config.fault_injection {
        found.warning(
            "fault-injection",
            "clients can inject failures",
            "leave --fault-injection out in production",
        );
    }
}

async fn check_databases(config: &Config, address: Address, found: &mut Verification) {
    const CHECK: &str = "database";
    for file in missing(config) {
        check_folder(file, found);
    }
    if missing(config).next().is_some() {
        return;
    }
    let opened = match database::open_existing(config).await {
        Ok(opened) => opened,
        // The service has the file open, and has reported that it can write.
        Err(error) if error.is_in_use() && address == Address::IsReady => {
            found.ok(
                CHECK,
                "the service that is running has the file open, and can write",
            );
            return;
        }
        Err(error) if error.is_in_use() => {
            found.warning(
                CHECK,
                ServerError::from(error).to_string(),
                "stop the other process, or give the address of the running service with --listen",
            );
            return;
        }
        Err(error) => {
            found.problem(
                CHECK,
                ServerError::from(error).to_string(),
                "the service does not start until this is corrected",
            );
            return;
        }
    };
    check_opened(opened, config, found).await;
}

async fn check_opened(opened: Opened, config: &Config, found: &mut Verification) {
    const CHECK: &str = "database";
    let bookings = &opened.bookings;
    let written = async {
        bookings.ping().await?;
        bookings.try_to_write().await
    };
    match written.await {
        Ok(()) => found.ok(CHECK, format!("{} can be written", config.database)),
        Err(error) => found.problem(
            CHECK,
            format!("--database {}: {}", config.database, Causes(&error)),
            "no booking can be made until this is corrected",
        ),
    }
    if opened.secrets.own.is_some() {
        found.ok("secret", "keys are stored with a secret");
    } else {
        found.warning(
            "secret",
            "keys are stored without a secret: a copy of the store gives away keys that can be guessed",
            "give --secret-file when no client is retrying",
        );
    }
    let idempotency = keys::engine(opened.store, &opened.secrets).build();
    let verified = idempotency.verify().await;
    found.findings.extend(verified.findings);
}

/// The files that the service would create at its start.
fn missing(config: &Config) -> impl Iterator<Item = &Path> {
    let database = match &config.database {
        DatabaseUrl::Sqlite(path) => Some(path.as_path()),
        _ => None,
    };
    let keys = match &config.idempotency_store {
        StoreUrl::Sqlite(path) => Some(path.as_path()),
        _ => None,
    };
    [database, keys]
        .into_iter()
        .flatten()
        .filter(|path| !path.exists())
}

fn check_folder(file: &Path, found: &mut Verification) {
    const CHECK: &str = "file";
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let name = file.display();
    match folder.metadata() {
        Ok(metadata) if !metadata.is_dir() => found.problem(
            CHECK,
            format!("{} is not a folder", folder.display()),
            "name a file in a folder",
        ),
        Ok(metadata) if metadata.permissions().readonly() => found.problem(
            CHECK,
            format!("{name} does not exist, and its folder cannot be written"),
            "let the service's user write to the folder",
        ),
        Ok(_) => found.warning(
            CHECK,
            format!("{name} does not exist: the service creates it at its start, without bookings"),
            "if it should already have bookings, correct the path",
        ),
        Err(error) => found.problem(
            CHECK,
            format!("{}: {}", folder.display(), Causes(&error)),
            "create the folder, and let the service's user write to it",
        ),
    }
}
