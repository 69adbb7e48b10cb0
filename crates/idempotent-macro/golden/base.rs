#[allow(non_upper_case_globals, clippy::type_complexity)]
const on_event: ::idempotency::Idempotent<
    fn(String) -> ::idempotency::__private1::BoxFuture<'static, ()>,
> = {
    async fn on_event(event: String) {}
    ::idempotency::__private1::protected(
        ::idempotency::__private1::base(webhooks::STRIPE)
            .ttl(::idempotency::__private1::Duration::from_secs(86400))
            .keep(::idempotency::options::Keep::Success)
            .fingerprint(json_without!("sent_at"))
            .key(order_number),
        |argument_0| ::idempotency::__private1::run(on_event(argument_0)),
    )
};
