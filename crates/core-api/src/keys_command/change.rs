//! Changes keys that are named one by one, or by a filter.

use serde_json::json;

use super::{
    input::{self, Named},
    print,
    source::{Changed, Source},
};
use crate::{
    config::{Chosen, KeyFilter},
    keys::{Change, View, WantedPhase, Who},
    logging,
};

/// The named keys; `None` if there is a filter instead. They are read before the store is opened, because the command that writes
/// the list may have the same SQLite file open.
pub(super) fn named_by(chosen: &Chosen) -> Result<Option<Vec<Named>>, String> {
    match (chosen.ids.is_empty(), chosen.filter.is_any()) {
        (false, false) if chosen.limit.is_some() => {
            Err("--limit is for filters: name only the ids that are to be changed".into())
        }
        (false, false) => input::named(&chosen.ids).map(Some),
        (true, true) => Ok(None),
        (true, false) => {
            Err("name ids, - for those of standard input, or a filter such as --stuck".into())
        }
        (false, true) => Err("name ids or a filter, and not both".into()),
    }
}

/// Changes the named keys, or those that the filter finds; unless the filter names a phase, only those in this one.
pub(super) async fn change_chosen(
    source: &Source,
    chosen: &Chosen,
    named: Option<Vec<Named>>,
    to: &Change,
    phase: WantedPhase,
) -> Result<bool, String> {
    match named {
        Some(named) => change_named(source, named, chosen.json, to).await,
        None => change_found(source, chosen, to, phase).await,
    }
}

/// Changes these keys one by one.
pub(super) async fn change_named(
    source: &Source,
    named: Vec<Named>,
    as_json: bool,
    to: &Change,
) -> Result<bool, String> {
    let who = Who::of_process();
    let mut is_all_done = true;
    for Named { id, version } in named {
        let changed = source.change(&who, &id, version.as_deref(), to).await;
        is_all_done &= say(&id.to_string(), &changed, as_json)?;
    }
    Ok(is_all_done)
}

async fn change_found(
    source: &Source,
    chosen: &Chosen,
    to: &Change,
    phase: WantedPhase,
) -> Result<bool, String> {
    let who = Who::of_process();
    let mut listing = source.list(&chosen.filter, Some(phase));
    let mut left = chosen.limit.unwrap_or(usize::MAX);
    let (mut found, mut unknown, mut is_all_done) = (0, 0, true);
    // It is not known whose an unreadable record is.
    let filter = &chosen.filter;
    let is_for_some =
        filter.of_subject.is_some() || filter.label.is_some() || filter.route.is_some();
    let frees = matches!(to, Change::Release { .. });
    while left > 0 {
        let page = listing.next().await?;
        if page.is_empty() {
            break;
        }
        for item in page {
            match &item.view {
                View::Readable(_) if frees && item.is_spared => continue,
                View::Unreadable { id, .. } if is_for_some => {
                    unknown += 1;
                    is_all_done = false;
                    if chosen.yes {
                        say(id, &undecided(), chosen.json)?;
                    }
                    continue;
                }
                _ if left == 0 => break,
                _ => left -= 1,
            }
            found += 1;
            if !chosen.yes {
                continue;
            }
            let id = match &item.view {
                View::Readable(key) => key.id.clone(),
                View::Unreadable { id, .. } => id.clone(),
            };
            let changed = source.change_seen(&who, item, to).await;
            is_all_done &= say(&id, &changed, chosen.json)?;
        }
    }
    if !chosen.yes {
        print::count("found", found, chosen.json)?;
        logging::say("without --yes nothing is changed");
        if unknown > 0 {
            logging::say(&format!(
                "{unknown} more cannot be read, so it is not known whether they are among these"
            ));
        }
    }
    if found == 0 && chosen.filter.of_subject.is_some() {
        let anything = source.list(&KeyFilter::default(), None).next().await?;
        if !anything.is_empty() {
            if chosen.yes {
                print::count("found", found, chosen.json)?;
            }
            logging::say(
                "the store has keys, and none of this subject: the subject or the secret may be another one, or its responses \
                 are erased already",
            );
            return Ok(false);
        }
    }
    Ok(is_all_done)
}

/// The result for a record that cannot be read, where the filter asks for what only the record says.
fn undecided() -> Changed {
    Changed {
        is_done: false,
        result: "not changed: it cannot be read, so it is not known whether it is one of these"
            .into(),
    }
}

/// Prints the result, and returns whether the change was made.
fn say(id: &str, changed: &Changed, as_json: bool) -> Result<bool, String> {
    let Changed { is_done, result } = changed;
    print::line(&if as_json {
        json!({"id": id, "result": result}).to_string()
    } else {
        format!("{id}  {result}")
    })?;
    Ok(*is_done)
}
