#[allow(non_upper_case_globals, clippy::type_complexity)]
const ping: ::idempotency::Idempotent<
    fn() -> ::idempotency::__private::BoxFuture<'static, ()>,
> = {
    async fn ping() {}
    ::idempotency::__private::protected(
        ::idempotency::Options::new(),
        || ::idempotency::__private::run(ping()),
    )
};
