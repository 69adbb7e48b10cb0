//! Calls of the store as letters. The network carries their numbers, so it can lose, delay and repeat them, and nothing has to be
//! written as bytes.

use std::{any::Any, fmt, sync::Arc};

use futures_util::future::BoxFuture;
use idempotency::{Store, store::StoreError};
use parking_lot::Mutex;

type Reply = Box<dyn Any + Send>;

type Letter = Arc<dyn Fn(Arc<dyn Store>) -> BoxFuture<'static, Reply> + Send + Sync>;

#[derive(Clone, Default)]
pub(crate) struct Mail(Arc<Mutex<Sent>>);

#[derive(Default)]
struct Sent {
    letters: Vec<Letter>,
    replies: Vec<Option<Reply>>,
}

impl Mail {
    /// The number of a letter that asks for this.
    pub(crate) fn write<T, F>(
        &self,
        ask: impl Fn(Arc<dyn Store>) -> F + Send + Sync + 'static,
    ) -> u64
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let letter: Letter = Arc::new(move |store| {
            let asked = ask(store);
            Box::pin(async move { Box::new(asked.await) as Reply })
        });
        number(&mut self.0.lock().letters, letter)
    }

    /// Does what the letter asks for, as often as it arrives, and returns the number of the reply.
    pub(crate) async fn answer(&self, letter: u64, store: Arc<dyn Store>) -> u64 {
        let letter = Arc::clone(&self.0.lock().letters[place(letter)]);
        let reply = letter(store).await;
        number(&mut self.0.lock().replies, Some(reply))
    }

    /// What the reply says, which is read once.
    pub(crate) fn read<T: 'static>(&self, reply: u64) -> Result<T, StoreError> {
        let reply = self.0.lock().replies[place(reply)].take();
        let reply = reply.expect("a reply that nobody has read");
        *reply.downcast().expect("the reply to this letter")
    }
}

fn number<T>(all: &mut Vec<T>, one: T) -> u64 {
    all.push(one);
    u64::try_from(all.len() - 1).expect("a number")
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("a place")
}

impl fmt::Debug for Mail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mail").finish_non_exhaustive()
    }
}
