#[allow(non_upper_case_globals, clippy::type_complexity)]
const ping: ::idempotency::Idempotent<
    fn() -> ::idempotency::__private1::BoxFuture<'static, ()>,
> = {
    async fn ping() {}
    ::idempotency::__private1::protected(
        ::idempotency::Options::new(),
        || ::idempotency::__private1::run(ping()),
    )
};
