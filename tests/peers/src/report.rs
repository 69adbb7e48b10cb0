//! The tables of `RESULTS.md`, and what its charts show.

use std::{fmt::Write, process::Command};

use crate::{
    Found,
    chart::{self, Bars},
    checks::QUESTIONS,
    peer::Bookings,
    slices::{KINDS, ROUNDS, Ratio},
};

const COMMAND: &str =
    "cargo run --release --manifest-path tests/peers/Cargo.toml --target-dir target/peers";

const INTRODUCTION: &str = "\
Each server has the same handler at `POST /bookings`, which takes and returns 100 bytes of JSON. It is served once by its framework alone
and once behind the library, and a figure is the ratio of the two: the median of ROUNDS pairs of neighbouring slices, and in brackets where the middle
eight tenths of the pairs are. Requests come on 32 connections. Servers have one core for themselves, and clients and PostgreSQL share the other one.
Two runs differ by some 7 % on a machine with nothing else to do. Where other programs ran meanwhile, two runs differed by up to 15 %, and those of idemkit
and express-idempotency, whose stores become slower as they grow, by up to a half.";

pub(crate) fn text(found: &[Found], cores: usize) -> String {
    let mut text = format!("# This project beside others\n\nWritten by `{COMMAND}`");
    let date = Command::new("date").args(["-u", "+%F"]).output();
    let date = date.map(|date| String::from_utf8_lossy(&date.stdout).trim().to_owned());
    let date = date.unwrap_or_default();
    let _ = write!(
        text,
        " on {date}, on one machine with {} cores.\n\n{}\n\n",
        if cores == 2 {
            "two".to_owned()
        } else {
            cores.to_string()
        },
        INTRODUCTION.replace("ROUNDS", &ROUNDS.to_string())
    );
    text.push_str("| Server | What it is |\n|---|---|\n");
    for Found { peer, .. } in found {
        let _ = writeln!(text, "| {} | {} |", peer.name, peer.describes);
    }
    text.push_str("\n## CPU time of the server\n\n");
    text.push_str("1 is the framework alone; less is better.\n\n");
    table(&mut text, found, Bookings::Counted, true);
    text.push_str("\n![CPU time of the server](cpu.svg)\n\n## Requests a second\n\n");
    text.push_str("1 is the framework alone; more is better.\n\n");
    table(&mut text, found, Bookings::Counted, false);
    text.push_str("\n## With rows in PostgreSQL\n\n");
    text.push_str(
        "Here the framework alone inserts a row and commits it. PostgreSQL waits for the disk, and its own CPU time is not in the first table.\n\n\
         CPU time of the server; less is better:\n\n",
    );
    table(&mut text, found, Bookings::Rows, true);
    text.push_str("\nRequests a second; more is better:\n\n");
    table(&mut text, found, Bookings::Rows, false);
    text.push_str("\n![Requests a second, with rows](rows.svg)\n\n## What it protects from\n\n");
    text.push_str(
        "An effect is one count of the handler, or one row that is committed. In bold is what a client with a payment cannot live with: a second effect, \
         another caller's response, a response to another request, or no response for ten seconds. To run again after 500 and to repeat the 500 are \
         both rules that it can live with.\n\n",
    );
    verdicts(&mut text, found);
    text
}

pub(crate) fn charts(found: &[Found]) -> [(&'static str, String); 2] {
    [
        (
            "cpu.svg",
            chart::svg(
                "CPU time of the server, 1 = its framework alone",
                &bars(found, Bookings::Counted, true),
            ),
        ),
        (
            "rows.svg",
            chart::svg(
                "Requests a second, 1 = its framework alone",
                &bars(found, Bookings::Rows, false),
            ),
        ),
    ]
}

fn bars(found: &[Found], bookings: Bookings, is_cpu: bool) -> Vec<Bars> {
    let found = found.iter().filter(|found| found.peer.bookings == bookings);
    let costs = found.filter_map(|found| Some((found.peer.name, found.costs.as_ref().ok()?)));
    let bars = costs.map(|(name, costs)| Bars {
        name,
        values: if is_cpu { costs.cpu } else { costs.rate }.map(|ratio| ratio.median),
    });
    bars.collect()
}

fn table(text: &mut String, found: &[Found], bookings: Bookings, is_cpu: bool) {
    let _ = writeln!(
        text,
        "| Server | {} |\n|---|---|---|---|",
        KINDS.join(" | ")
    );
    for found in found.iter().filter(|found| found.peer.bookings == bookings) {
        let cells = match &found.costs {
            Ok(costs) => if is_cpu { costs.cpu } else { costs.rate }
                .map(cell)
                .join(" | "),
            Err(problem) => format!("not done: {} | | ", plain(problem)),
        };
        let _ = writeln!(text, "| {} | {cells} |", found.peer.name);
    }
}

fn cell(Ratio { median, low, high }: Ratio) -> String {
    format!("**{median:.2}** ({low:.2} to {high:.2})")
}

fn verdicts(text: &mut String, found: &[Found]) {
    let _ = writeln!(
        text,
        "| Server | {} |\n|---|---|---|---|---|---|---|",
        QUESTIONS.join(" | ")
    );
    for Found { peer, checks, .. } in found {
        let cells = match checks {
            Ok(checks) => {
                let cells = checks.iter().map(|verdict| match verdict.is_kept {
                    true => verdict.text.clone(),
                    false => format!("**{}**", verdict.text),
                });
                cells.collect::<Vec<_>>().join(" | ")
            }
            Err(problem) => format!("not done: {} | | | | | ", plain(problem)),
        };
        let _ = writeln!(text, "| {} | {cells} |", peer.name);
    }
}

/// What a cell of a table can have.
fn plain(problem: &str) -> String {
    problem.replace(['|', '\n'], " ")
}
