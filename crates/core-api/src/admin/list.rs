//! One page of a list, within a time limit.

use idempotency::{
    Idempotency,
    store::{Listed, StoreError},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    database::DatabaseError,
    error::ApiError,
    keys::{Filter, KeyId, Position, View},
};

/// The keys of a page, and where the next page begins.
pub(crate) struct Page {
    pub(crate) views: Vec<View>,
    /// The last key that was read, unless the list is at its end.
    pub(crate) next: Option<KeyId>,
}

/// The limits of a page.
pub(super) struct Wanted {
    pub(super) limit: usize,
    /// Whether it includes unreadable records.
    pub(super) unreadable: bool,
    /// When it ends, with what has been found so far.
    pub(super) until: Instant,
}

/// The source of a list's pieces.
pub(super) trait Pieces: Sync {
    /// The next keys; an empty result means the end. The position advances even if the future is dropped.
    fn next(
        &self,
        position: &mut Position,
    ) -> impl Future<Output = Result<Vec<Listed>, StoreError>> + Send;

    fn view(&self, listed: &Listed) -> View;
}

/// The keys that a filter finds.
pub(super) struct Filtered<'a>(pub(super) &'a Idempotency, pub(super) Filter);

impl Pieces for Filtered<'_> {
    async fn next(&self, position: &mut Position) -> Result<Vec<Listed>, StoreError> {
        self.1.next(self.0, position).await
    }

    fn view(&self, listed: &Listed) -> View {
        View::of(self.0, listed)
    }
}

/// Reads pieces of a list until one is empty. Fails if the time is up before the first piece.
pub(super) async fn page(
    start: Position,
    wanted: &Wanted,
    pieces: &impl Pieces,
) -> Result<Page, ApiError> {
    let mut position = start;
    let (mut views, mut last) = (Vec::new(), None);
    loop {
        let Ok(piece) = timeout_at(wanted.until, pieces.next(&mut position)).await else {
            return match position {
                Position::After(id) if position != start => Ok(Page {
                    views,
                    next: Some(KeyId::of(&id)),
                }),
                _ => Err(ApiError::Database(DatabaseError::TimedOut)),
            };
        };
        let piece = piece?;
        if piece.is_empty() {
            return Ok(Page { views, next: None });
        }
        for listed in &piece {
            if listed.record.is_err() && !wanted.unreadable {
                continue;
            }
            if views.len() == wanted.limit {
                return Ok(Page { views, next: last });
            }
            views.push(pieces.view(listed));
            last = Some(KeyId::of(&listed.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use idempotency::store::RecordId;

    use super::*;

    fn unreadable(number: u8) -> Listed {
        Listed::unreadable(
            RecordId::from_bytes([number; 32]),
            StoreError::unreadable("damaged"),
        )
    }

    /// The first piece has these keys, and the next one never comes.
    struct Stalled<'a>(&'a [u8]);

    impl Pieces for Stalled<'_> {
        async fn next(&self, position: &mut Position) -> Result<Vec<Listed>, StoreError> {
            let found: Vec<_> = self.0.iter().copied().map(unreadable).collect();
            match found.last() {
                Some(last) if *position == Position::Start => *position = Position::After(last.id),
                _ => return pending().await,
            }
            Ok(found)
        }

        fn view(&self, listed: &Listed) -> View {
            View::Unreadable {
                id: KeyId::of(&listed.id).to_string(),
                error: String::new(),
            }
        }
    }

    fn wanted(unreadable: bool) -> Wanted {
        Wanted {
            limit: 3,
            unreadable,
            until: Instant::now() + Duration::from_secs(30),
        }
    }

    async fn stalled(numbers: &[u8], wanted: &Wanted) -> Result<Page, ApiError> {
        page(Position::Start, wanted, &Stalled(numbers)).await
    }

    // proves: key-state-shown
    #[tokio::test(start_paused = true)]
    async fn a_list_that_takes_too_long_ends_with_what_it_has_found() {
        let found = stalled(&[1, 2], &wanted(true)).await.unwrap();
        assert_eq!(found.views.len(), 2);
        let next = found.next.unwrap().whole();
        assert_eq!(next, Some(RecordId::from_bytes([2; 32])));
        let nothing = stalled(&[], &wanted(true)).await;
        assert!(matches!(
            nothing,
            Err(ApiError::Database(DatabaseError::TimedOut))
        ));
    }

    // proves: key-state-shown, principals-are-separate
    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_shown_to_those_only_who_see_all() {
        let found = stalled(&[1, 2], &wanted(false)).await.unwrap();
        assert!(found.views.is_empty());
        assert!(found.next.is_some());
        let full = stalled(&[1, 2, 3, 4], &wanted(true)).await.unwrap();
        assert_eq!(full.views.len(), 3);
        let next = full.next.unwrap().whole();
        assert_eq!(next, Some(RecordId::from_bytes([3; 32])));
    }
}
