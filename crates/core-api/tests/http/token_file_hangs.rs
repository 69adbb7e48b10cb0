//! The file of the tokens on a file system that stops responding.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use crate::{
    clients::is_installed,
    tokens::{Tokens, get},
};

/// While another process has a write lease on a file, the kernel keeps whoever opens it waiting, as a file system that has stopped responding
/// does.
const LEASE: &str = "import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDWR)
while True:
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        break
    except BlockingIOError:
        pass
print('held', flush=True)
sys.stdin.read()
";

// proves: token-file-read-again
#[tokio::test]
async fn a_file_whose_file_system_hangs_is_reported_as_stale() {
    if !is_installed("python3", "Debian: apt-get install python3") {
        return;
    }
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    let server = tokens.start(&[]);
    let gauge = async |value| {
        let shown = String::from_utf8(server.get("/metrics").await.body).unwrap();
        let line = format!("\ncore_api_tokens_stale {value}\n");
        assert!(shown.contains(&line), "{shown}");
    };
    gauge(0).await;
    let mut holder = Command::new("python3")
        .args(["-c", LEASE])
        .arg(tokens.file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = [0; 4];
    let stdout = holder.stdout.as_mut().unwrap();
    stdout.read_exact(&mut held).unwrap();
    server
        .wait_for_log("could not be read for ten seconds")
        .await;
    assert_eq!(server.get("/readyz").await.json()["tokens"], "stale");
    gauge(1).await;
    assert_eq!(get(&server, &ann, "/bookings").await.status, 200);
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    server.wait_for_log("the token file can be read").await;
    assert!(server.get("/readyz").await.json().get("tokens").is_none());
    gauge(0).await;
}
