//! Changes keys that are named one by one, or by a filter.

use idempotency::{
    Idempotency, StoreError,
    log_text::Causes,
    store::{ListRequest, Listed},
};
use serde_json::json;

use super::{
    failed, filter,
    input::{self, Named},
    print,
};
use crate::{
    config::Chosen,
    keys::{Change, KeyId, Outcome, Position, WantedPhase, Who, change, change_seen},
    logging,
};

/// The named keys; `None` if there is a filter instead. They are read before the store is opened, because the command that writes
/// the list may have the same SQLite file open.
pub(super) fn named_by(chosen: &Chosen) -> Result<Option<Vec<Named>>, String> {
    match (chosen.ids.is_empty(), chosen.filter.is_any()) {
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
    idempotency: &Idempotency,
    chosen: &Chosen,
    named: Option<Vec<Named>>,
    to: &Change,
    phase: WantedPhase,
) -> Result<bool, String> {
    match named {
        Some(named) => change_named(idempotency, named, chosen.json, to).await,
        None => change_found(idempotency, chosen, to, phase).await,
    }
}

/// Changes these keys one by one.
pub(super) async fn change_named(
    idempotency: &Idempotency,
    named: Vec<Named>,
    as_json: bool,
    to: &Change,
) -> Result<bool, String> {
    let who = Who::of_process();
    let mut is_all_done = true;
    for Named { id, version } in named {
        let changed = change(idempotency, &who, &id, version.as_deref(), to).await;
        is_all_done &= say(&id, changed, as_json)?;
    }
    Ok(is_all_done)
}

async fn change_found(
    idempotency: &Idempotency,
    chosen: &Chosen,
    to: &Change,
    phase: WantedPhase,
) -> Result<bool, String> {
    let who = Who::of_process();
    let filter = filter(idempotency, &chosen.filter, Some(phase));
    let mut left = chosen.limit.unwrap_or(usize::MAX);
    let (mut position, mut found, mut is_all_done) = (Position::Start, 0, true);
    // The owner of an unreadable record is not known.
    let is_for_some = !filter.labels.is_empty() || filter.route.is_some();
    let frees = matches!(to, Change::Release { .. });
    while left > 0 {
        let page = filter.next(idempotency, &mut position).await;
        let page = page.map_err(|error| failed(&error))?;
        if page.is_empty() {
            break;
        }
        let chosen_of = |listed: &Listed| match &listed.record {
            Ok(record) => !(frees && filter.spares(record)),
            Err(_) => !is_for_some,
        };
        for listed in page.into_iter().filter(chosen_of).take(left) {
            left -= 1;
            found += 1;
            if !chosen.yes {
                continue;
            }
            let id = KeyId::of(&listed.id);
            let changed = match listed.record {
                Ok(seen) => change_seen(idempotency, &who, &seen, to).await,
                Err(unreadable) => Err(unreadable),
            };
            is_all_done &= say(&id, changed, chosen.json)?;
        }
    }
    if !chosen.yes {
        print::count("found", found, chosen.json)?;
        logging::say("without --yes nothing is changed");
    }
    if found == 0 && chosen.filter.of_subject.is_some() {
        let anything = idempotency.store().list(&ListRequest::new(1)).await;
        if !anything.map_err(|error| failed(&error))?.is_empty() {
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

/// Prints the result, and returns whether the change was made.
fn say(id: &KeyId, changed: Result<Outcome, StoreError>, as_json: bool) -> Result<bool, String> {
    let (is_done, result) = match changed {
        Ok(outcome) => (outcome == Outcome::Done, outcome.to_string()),
        Err(error) => (false, format!("failed: {}", Causes(&error))),
    };
    print::line(&if as_json {
        json!({"id": id.to_string(), "result": result}).to_string()
    } else {
        format!("{id}  {result}")
    })?;
    Ok(is_done)
}
