//! Concurrent calls, and what goes wrong meanwhile: the replies have to be those of some order of the calls.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use futures_util::future::{join, join_all};
use idempotency::store::{ListRequest, StoreError, StoreErrorKind, Token};
use parking_lot::Mutex;
use tests::wait::within_a_minute;
use tokio::{
    runtime::Runtime,
    sync::{Barrier, watch},
    task::JoinSet,
};

use crate::{
    backend::Backend,
    call::{Call, Reply, Verb},
    history::{History, What},
    linearizability::explain,
    plan::{Act, KEYS, Phase, Plan},
    seeds::Seeds,
};

/// One history on a store.
struct Tested {
    backend: Arc<Backend>,
    number: u64,
    history: History,
    /// What a store must not reply, whatever the order.
    wrong: Mutex<Option<String>>,
}

/// What a caller learns from a call.
enum Learned<T> {
    Reply(T),
    /// Whether it was done, or will be, is not known.
    Nothing,
    /// It was not sent.
    NotDone,
}

/// Does so many histories on stores that this opens; `None` where there are none.
pub(crate) fn check(
    many: u64,
    open: impl AsyncFn() -> Option<Backend>,
) -> Option<Result<(), String>> {
    let runtime = Runtime::new().expect("a runtime");
    let mut backend = Arc::new(runtime.block_on(open())?);
    for (number, seed) in (0..).zip(Seeds::of(many).each()) {
        // What a test does to let time pass takes longer with each record.
        if number > 0 && number % 16 == 0 {
            backend = Arc::new(runtime.block_on(open())?);
        }
        let done = runtime.block_on(check_one(&backend, number, &Plan::of(seed)));
        if let Err(why) = done {
            return Some(Err(format!("HISTORIES_SEED={seed}: {why}")));
        }
    }
    Some(Ok(()))
}

async fn check_one(backend: &Arc<Backend>, number: u64, plan: &Plan) -> Result<(), String> {
    let now = backend.now(number).await;
    let tested = Arc::new(Tested {
        backend: Arc::clone(backend),
        number,
        history: History::new(KEYS),
        wrong: Mutex::default(),
    });
    for phase in &plan.phases {
        tested.run(phase).await;
    }
    for key in 0..KEYS {
        tested.inspect(key).await;
    }
    let tested = Arc::into_inner(tested).expect("all callers have returned");
    if let Some(wrong) = tested.wrong.into_inner() {
        return Err(wrong);
    }
    for (key, operations) in (0..).zip(tested.history.into_keys()) {
        let start = backend.reference(number, key, now);
        explain(&start, &operations).map_err(|why| format!("key {key}: {why}"))?;
    }
    Ok(())
}

impl Tested {
    async fn run(self: &Arc<Self>, phase: &Phase) {
        let start = Arc::new(Barrier::new(phase.callers.len()));
        let mut callers = JoinSet::new();
        let before = self.history.calls();
        for acts in &phase.callers {
            let (tested, start, acts) = (Arc::clone(self), Arc::clone(&start), acts.clone());
            let is_in_step = phase.is_in_step;
            callers.spawn(async move {
                let mut inspected = [None; KEYS as usize];
                for (count, act) in acts.into_iter().enumerate() {
                    if count == 0 || is_in_step {
                        start.wait().await;
                    }
                    tested.act(act, &mut inspected).await;
                }
            });
        }
        let is_over = watch::Sender::new(false);
        let faults = phase.faults.iter().map(async |(after, fault)| {
            let mut over = is_over.subscribe();
            tokio::select! {
                () = self.history.reach(before + after) => self.backend.suffer(*fault).await,
                _ = over.wait_for(|&is_over| is_over) => {}
            }
        });
        let calls = async {
            callers.join_all().await;
            is_over.send_replace(true);
        };
        join(calls, join_all(faults)).await;
        let moment = self.history.moment();
        self.backend.advance(phase.units);
        for key in 0..KEYS {
            self.history.note(key, What::Advance(phase.units), moment);
        }
    }

    async fn act(&self, act: Act, inspected: &mut [Option<Token>]) {
        match act {
            Act::Call { call, leaves_after } => {
                let call = self.backend.adapted(&call);
                let key = usize::from(call.key);
                let reply = self.call(&call, inspected[key], leaves_after).await;
                if let (Verb::Inspect, Some(reply)) = (&call.verb, reply) {
                    inspected[key] = reply.inspected();
                }
            }
            Act::List => self.list().await,
            Act::Sweep => {
                let process = self.backend.process().await;
                let swept = process.store.purge_expired(1000).await;
                self.learn(swept);
            }
        }
    }

    /// The reply, if there is one.
    async fn call(
        &self,
        call: &Call,
        inspected: Option<Token>,
        leaves_after: Option<u8>,
    ) -> Option<Reply> {
        let note = |reply, invoked, may_be_repeated| {
            let what = What::Call {
                call: call.clone(),
                inspected,
                reply,
                may_be_repeated,
            };
            self.history.note(call.key, what, invoked);
        };
        let id = Backend::id(self.number, call.key);
        let faults = self.backend.faults();
        let process = self.backend.process().await;
        let invoked = self.history.begin();
        let asked = call.perform(&*process.store, id, inspected);
        let learned = polled(asked, leaves_after).await.map(|it| self.learn(it));
        match learned.filter(|_| !self.backend.has_died(&process)) {
            Some(Learned::Reply(reply)) => {
                let may_be_repeated = self.backend.faults() != faults;
                note(Some(reply.clone()), invoked, may_be_repeated);
                if may_be_repeated {
                    note(None, invoked, false);
                }
                Some(reply)
            }
            Some(Learned::NotDone) => None,
            Some(Learned::Nothing) | None => {
                note(None, invoked, false);
                None
            }
        }
    }

    /// A list is an inspection of each key.
    async fn list(&self) {
        let process = self.backend.process().await;
        let invoked = self.history.begin();
        let request = ListRequest::new(usize::from(KEYS)).after(Backend::before(self.number));
        let listed = process.store.list(&request).await;
        let Learned::Reply(listed) = self.learn(listed) else {
            return;
        };
        if self.backend.has_died(&process) {
            return;
        }
        for key in 0..KEYS {
            let id = Backend::id(self.number, key);
            let found = listed.iter().find(|listed| listed.id == id);
            let found = found.and_then(|listed| listed.record.as_ref().ok().cloned());
            let what = What::Call {
                call: Call::inspection(key),
                inspected: None,
                reply: Some(Reply::Record(found)),
                may_be_repeated: false,
            };
            self.history.note(key, what, invoked);
        }
    }

    /// Inspects the key until the store replies.
    async fn inspect(&self, key: u8) {
        let call = Call::inspection(key);
        let inspected = async {
            while self.call(&call, None, None).await.is_none() {
                tokio::task::yield_now().await;
            }
        };
        within_a_minute("a reply of the store", inspected).await;
    }

    /// What a store's failure says about the step. Only one whose server was disturbed may fail.
    fn learn<T>(&self, replied: Result<T, StoreError>) -> Learned<T> {
        match replied {
            Ok(reply) => Learned::Reply(reply),
            Err(error) => {
                let is_outage = error.kind() == StoreErrorKind::Unavailable;
                if !is_outage || self.backend.faults() == 0 {
                    *self.wrong.lock() = Some(format!("the store fails: {error:?}"));
                }
                if error.was_sent() {
                    Learned::Nothing
                } else {
                    Learned::NotDone
                }
            }
        }
    }
}

/// The result, unless the caller leaves before.
async fn polled<T>(asked: impl Future<Output = T>, leaves_after: Option<u8>) -> Option<T> {
    let mut asked = pin!(asked);
    let mut polls = 0;
    poll_fn(|context| match asked.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if leaves_after == Some(polls) => Poll::Ready(None),
        Poll::Pending => {
            polls += 1;
            Poll::Pending
        }
    })
    .await
}
