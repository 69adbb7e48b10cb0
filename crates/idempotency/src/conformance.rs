//! The contract of a [`Store`], as functions that panic where it is broken.
//!
//! Every store of this library runs them, and so can yours:
//!
//! ```
//! use std::sync::Arc;
//! use idempotency::{Clock, MemoryStore, Store, conformance};
//!
//! # #[tokio::main]
//! # async fn main() {
//! let clock = Clock::manual();
//! let open = async || Arc::new(MemoryStore::new().with_clock(clock.clone())) as Arc<dyn Store>;
//! conformance::all(open, &|time| clock.advance(time)).await;
//! # }
//! ```
//!
//! [`all`] is for a first look. A test for each function says more when one fails, and they can then run
//! beside each other. A store with a limit of its own has [`shares`] in addition.
//!
//! Each function wants a store of its own, on whose records nobody else works, and a tokio runtime, of
//! several threads to be worth something: races are run, not imagined. Where time has to pass they call
//! `advance`; a store whose clock is a server's can only sleep there, for [`LEASE`] or [`TTL`] at a time.

pub mod claims;
pub mod corrections;
pub mod fencing;
pub mod labels;
pub mod lost;
pub mod operators;
pub mod progress;
pub mod renewal;
pub mod shares;
pub mod suspension;
pub mod time;
pub mod waiting;
pub mod withdrawal;
pub mod wrapping;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::Barrier, task::JoinSet};

use crate::{
    Claim, ClaimRequest, Fingerprint, Hold, IfOwner, ListRequest, OnLost, Record, RecordId, Store,
    Token,
};

/// Makes this much time pass for the store.
pub type Advance<'a> = dyn Fn(Duration) + Send + Sync + 'a;

/// The lease of the holds in here.
pub const LEASE: Duration = Duration::from_secs(3);

/// Their ttl.
pub const TTL: Duration = Duration::from_secs(6);

/// How far before and behind a boundary they look: enough for a clock that goes on by itself.
const MARGIN: Duration = Duration::from_secs(1);

/// How many callers want the same key at one time.
const CROWD: usize = 50;

/// Runs every function of this module, each on a store that `open` makes.
pub async fn all(open: impl AsyncFn() -> Arc<dyn Store>, advance: &Advance<'_>) {
    claims::one_of_many_wins_a_new_key(&open().await).await;
    claims::one_of_many_wins_a_lapsed_hold(&open().await, advance).await;
    claims::one_of_many_wins_an_expired_record(&open().await, advance).await;
    claims::different_keys_are_all_won(&open().await).await;
    claims::a_key_has_one_owner_at_a_time(&open().await).await;
    claims::a_living_hold_turns_everybody_away(&open().await).await;
    claims::a_lapsed_hold_goes_to_the_same_request_only(&open().await, advance).await;
    claims::a_claim_recognises_its_own_token(&open().await, advance).await;
    claims::a_completed_record_answers_every_claim(&open().await).await;
    claims::ids_are_compared_byte_by_byte(&open().await).await;

    fencing::a_stale_owner_changes_nothing(&open().await, advance).await;
    fencing::an_absent_record_has_no_owner(&open().await).await;
    fencing::a_dead_token_fits_no_later_record(&open().await).await;
    fencing::a_late_owner_may_end_what_nobody_took(&open().await, advance).await;
    fencing::either_the_owner_or_its_successor_wins(&open().await, advance).await;
    fencing::a_repeated_completion_changes_nothing(&open().await).await;
    fencing::a_completed_record_cannot_be_renewed_or_released(&open().await).await;
    fencing::a_release_frees_the_key(&open().await).await;

    time::renewing_moves_the_lease(&open().await, advance).await;
    time::the_ttl_counts_from_completion(&open().await, advance).await;
    time::a_replay_does_not_extend_the_ttl(&open().await, advance).await;
    time::an_expired_record_is_absent_before_it_is_swept(&open().await, advance).await;
    time::an_abandoned_hold_is_forgotten_a_ttl_after_its_lease(&open().await, advance).await;
    time::each_hold_has_its_own_times(&open().await).await;
    time::a_lease_and_a_ttl_of_zero_are_over_at_once(&open().await).await;
    time::what_is_kept_without_end_is_kept(&open().await).await;

    renewal::a_renewal_undoes_no_completion(&open().await).await;
    renewal::a_renewal_undoes_no_release(&open().await).await;
    renewal::a_renewal_forgets_no_progress(&open().await).await;

    progress::a_take_over_gets_what_was_left(&open().await, advance).await;
    progress::what_was_kept_is_handed_over(&open().await, advance).await;
    progress::progress_comes_back_byte_for_byte(&open().await).await;
    progress::a_repeated_checkpoint_changes_nothing(&open().await).await;
    progress::a_renewal_keeps_the_progress(&open().await, advance).await;
    progress::the_end_of_a_hold_forgets_its_progress(&open().await).await;
    progress::an_expired_record_leaves_no_progress(&open().await, advance).await;
    progress::progress_above_the_limit_is_refused(&open().await).await;

    lost::a_refused_claim_changes_nothing(&open().await, advance).await;
    lost::of_many_refused_claims_none_wins(&open().await, advance).await;
    lost::an_operator_ends_what_is_unknown(&open().await, advance).await;
    lost::what_is_unknown_is_forgotten_in_the_end(&open().await, advance).await;

    operators::outcomes_come_back_byte_for_byte(&open().await).await;
    operators::an_outcome_above_the_limit_is_refused(&open().await).await;
    operators::inspection_shows_the_whole_record(&open().await).await;
    operators::a_list_pages_in_the_order_of_ids(&open().await).await;
    operators::a_resolution_ends_the_hold_that_was_seen(&open().await).await;
    operators::a_resolution_shuts_the_old_owner_out(&open().await, advance).await;
    operators::a_sweep_takes_expired_records_only(&open().await, advance).await;
    operators::a_sweep_takes_no_fresh_claim_away(&open().await, advance).await;

    labels::a_record_tells_its_times(&open().await, advance).await;
    labels::a_record_keeps_the_labels_of_its_first_claim(&open().await, advance).await;
    labels::a_list_is_narrowed_by_phase_age_and_label(&open().await, advance).await;

    corrections::a_completed_outcome_is_replaced(&open().await, advance).await;
    corrections::a_completed_record_is_forgotten(&open().await).await;

    suspension::a_suspended_run_goes_on_at_once(&open().await).await;
    suspension::only_the_owner_suspends(&open().await).await;
    suspension::a_late_checkpoint_changes_nothing(&open().await).await;

    waiting::a_waiter_hears_of_the_end(&open().await).await;

    withdrawal::a_withdrawn_claim_leaves_a_new_key(&open().await).await;
    withdrawal::a_claim_behind_its_withdrawal_takes_nothing(&open().await).await;
    withdrawal::a_claim_behind_its_release_takes_nothing(&open().await).await;
    withdrawal::an_operators_release_spends_the_token(&open().await).await;
    withdrawal::a_withdrawn_take_over_leaves_what_it_found(&open().await, advance).await;
    withdrawal::a_take_over_behind_its_withdrawal_takes_nothing(&open().await).await;
    withdrawal::a_withdrawal_leaves_a_late_owner_alone(&open().await, advance).await;
    withdrawal::a_take_over_of_a_lost_run_behind_its_withdrawal_takes_nothing(
        &open().await,
        advance,
    )
    .await;
    withdrawal::a_claim_withdrawn_beside_a_run_takes_nothing_after_it(&open().await, advance).await;
    withdrawal::a_key_remembers_several_spent_tokens(&open().await).await;
    withdrawal::a_withdrawal_leaves_others_alone(&open().await).await;
    withdrawal::an_operator_ends_what_a_withdrawal_left(&open().await, advance).await;
    withdrawal::a_claim_and_its_withdrawal_leave_the_key_free(&open().await).await;

    wrapping::what_a_transaction_writes_is_read_back(&open().await).await;
}

/// A hold on a key that nobody has used.
fn new_hold() -> Hold {
    let mut id = [0; 32];
    id[..16].copy_from_slice(Token::random().as_bytes());
    id[16..].copy_from_slice(Token::random().as_bytes());
    hold_on(RecordId::from_bytes(id))
}

/// What another request, or another attempt, would hold.
fn hold_on(id: RecordId) -> Hold {
    Hold::new(id, Token::random(), LEASE, TTL)
}

fn request(content: &str) -> Fingerprint {
    Fingerprint::of([content.as_bytes()])
}

/// A key that this request has just taken.
async fn taken(store: &Arc<dyn Store>, fingerprint: &Fingerprint) -> Hold {
    let hold = new_hold();
    assert_eq!(claim(store, &hold, fingerprint).await, won(1));
    hold
}

/// A key whose request has left this outcome.
async fn completed(store: &Arc<dyn Store>, fingerprint: &Fingerprint, outcome: &[u8]) -> Hold {
    let hold = taken(store, fingerprint).await;
    let completed = store
        .complete(&hold, Bytes::copy_from_slice(outcome))
        .await
        .expect("a completion");
    assert!(matches!(completed, IfOwner::Done(_)), "{completed:?}");
    hold
}

/// What a claim gets that takes over what has lapsed.
async fn claim(store: &Arc<dyn Store>, hold: &Hold, fingerprint: &Fingerprint) -> Claim {
    let claim = store
        .claim(ClaimRequest::new(hold, fingerprint, OnLost::TakeOver))
        .await;
    claim.expect("a claim")
}

/// A claim that is won as this attempt, with nothing left by the one before.
const fn won(attempt: u32) -> Claim {
    Claim::Won {
        attempt,
        progress: Bytes::new(),
    }
}

async fn inspect(store: &Arc<dyn Store>, id: &RecordId) -> Option<Record> {
    store.inspect(id).await.expect("an inspection")
}

/// A page of records that can all be read.
async fn list(store: &Arc<dyn Store>, after: Option<&RecordId>, limit: usize) -> Vec<Record> {
    let mut request = ListRequest::new(limit);
    request.after = after.copied();
    let listed = store.list(&request).await.expect("a page");
    let records = listed.into_iter().map(|listed| listed.record);
    records.map(|record| record.expect("a record")).collect()
}

/// The claims of a crowd on one key, all sent at one time, with the hold that each of them asked for.
async fn rush(
    store: &Arc<dyn Store>,
    id: RecordId,
    fingerprint: Fingerprint,
    on_lost: OnLost,
) -> Vec<(Hold, Claim)> {
    let start = Arc::new(Barrier::new(CROWD));
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (store, start) = (Arc::clone(store), Arc::clone(&start));
        crowd.spawn(async move {
            let hold = hold_on(id);
            start.wait().await;
            let claim = store
                .claim(ClaimRequest::new(&hold, &fingerprint, on_lost))
                .await;
            (hold, claim.expect("a claim"))
        });
    }
    crowd.join_all().await
}

/// The one of a crowd that won, as this attempt; all others must have been told who did.
#[track_caller]
fn only_winner(claims: Vec<(Hold, Claim)>, attempt: u32, fingerprint: Fingerprint) -> Hold {
    let (won, lost): (Vec<_>, Vec<_>) = claims
        .into_iter()
        .partition(|(_, claim)| *claim == won(attempt));
    for (_, claim) in lost {
        assert_eq!(claim, Claim::InFlight { fingerprint });
    }
    assert_eq!(won.len(), 1, "one wins");
    won.into_iter().map(|(hold, _)| hold).next().expect("one")
}
