//! Changes of keys that are named one by one, or by a filter.

use idempotency::{Idempotency, StoreError, log_text::Causes, store::ListedPhase};
use serde_json::json;

use super::{failed, filter, input, print};
use crate::{
    config::{Chosen, IdArgument},
    keys::{Change, KeyId, Outcome, Position, Who, change, change_seen},
    logging,
};

/// Changes what is named, or what the filter finds in this phase, unless it asks for another one.
pub(super) async fn change_chosen(
    idempotency: &Idempotency,
    chosen: &Chosen,
    to: &Change,
    phase: ListedPhase,
) -> Result<bool, String> {
    match (chosen.ids.is_empty(), chosen.filter.is_any()) {
        (false, false) => change_named(idempotency, &chosen.ids, chosen.json, to).await,
        (true, true) => change_found(idempotency, chosen, to, phase).await,
        (true, false) => {
            Err("name ids, - for those of standard input, or a filter such as --stuck".into())
        }
        (false, true) => Err("name ids or a filter, and not both".into()),
    }
}

/// Changes these keys, each for itself.
pub(super) async fn change_named(
    idempotency: &Idempotency,
    ids: &[IdArgument],
    as_json: bool,
    to: &Change,
) -> Result<bool, String> {
    let who = Who::of_process();
    let mut is_all_done = true;
    for named in input::named(ids)? {
        let seen = named.version.as_deref();
        let changed = change(idempotency, &who, &named.id, seen, to).await;
        is_all_done &= say(&named.id, changed, as_json)?;
    }
    Ok(is_all_done)
}

async fn change_found(
    idempotency: &Idempotency,
    chosen: &Chosen,
    to: &Change,
    phase: ListedPhase,
) -> Result<bool, String> {
    let who = Who::of_process();
    let filter = filter(idempotency, &chosen.filter, Some(phase));
    let mut left = chosen.limit.unwrap_or(usize::MAX);
    let (mut position, mut found, mut is_all_done) = (Position::Start, 0, true);
    while left > 0 {
        let page = filter.next(idempotency, &mut position).await;
        let page = page.map_err(|error| failed(&error))?;
        if page.is_empty() {
            break;
        }
        for listed in page.into_iter().take(left) {
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
        logging::say("nothing is changed without --yes");
    }
    Ok(is_all_done)
}

/// Prints what came of it, and returns whether it is done.
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
