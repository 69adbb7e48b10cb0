//! The process that is measured: this program again, with another argument.

use std::{
    env,
    io::{BufRead, BufReader, Lines, Write, stdin},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio, exit},
    thread,
    time::Duration,
};

use axum::Router;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use crate::{cpu, firestore, memory, postgres, redis, size, sqlite, stalls};

/// The first argument of the measured process.
pub(crate) const SERVE: &str = "serve";

/// The running process, which ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let program = env::current_exe().expect("the path of this program");
        Self::start_of(&program, arguments)
    }

    /// That of another build of this program.
    pub(crate) fn start_of(program: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .arg(SERVE)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let input = child.stdin.take();
        let output = child.stdout.take().expect("a piped output");
        Self {
            child,
            input,
            output: BufReader::new(output).lines(),
        }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let line = self.output.next().expect("a process that has not failed");
        line.expect("a line of text")
    }

    /// The address, which it prints when it is ready.
    pub(crate) fn address(&mut self) -> SocketAddr {
        self.line().parse().expect("an address")
    }

    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("an input that is open");
        writeln!(input, "{line}").expect("a process that listens");
    }

    pub(crate) fn cpu(&self) -> Duration {
        cpu::time(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It exits at the end of its input.
        self.input = None;
        drop(self.child.wait());
    }
}

/// The other side: what that process does.
pub(crate) fn run(arguments: &[String]) {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["memory", workers] => memory::serve(workers.parse().expect("a number")),
        ["size", keys] => size::store(keys.parse().expect("a number")),
        ["stalls", keys] => stalls::serve(keys.parse().expect("a number")),
        ["sqlite", folder] => sqlite::serve(folder.as_ref()),
        ["postgres", url] => postgres::serve(url),
        ["redis", url] => redis::serve(url),
        ["firestore", project, address] => firestore::serve(project, address),
        _ => panic!("what {arguments:?} serve is not known"),
    }
}

pub(crate) fn runtime(workers: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let built = builder.worker_threads(workers).enable_all().build();
    built.expect("a runtime")
}

/// Serves until the input ends; each line of it goes to `heard`.
pub(crate) fn serve(
    runtime: &Runtime,
    router: Router,
    mut heard: impl FnMut(&str) + Send + 'static,
) {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            stdin()
                .lines()
                .map_while(Result::ok)
                .for_each(|line| heard(&line));
            exit(0);
        });
        // As servers do that send a response in one piece. The client waits only for the response.
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            stream.set_nodelay(true).expect("an option of the socket");
        });
        tokio::spawn(async { axum::serve(listener, router).await })
            .await
            .expect("a server")
            .expect("a server");
    });
}
