#[allow(non_upper_case_globals, clippy::type_complexity)]
const create_token: ::idempotency::Idempotent<
    fn() -> ::idempotency::__private1::BoxFuture<'static, (ReplayWith<u64>, String)>,
    ::idempotency::__private1::Unproved,
    ::idempotency::__private1::InExtensions,
    ::idempotency::__private1::Rebuilt<
        fn(
            ::idempotency::__private1::Request,
        ) -> ::idempotency::__private1::BoxFuture<
            'static,
            ::idempotency::__private1::Response,
        >,
    >,
> = {
    async fn create_token() -> (ReplayWith<u64>, String) {
        mint()
    }
    ::idempotency::__private1::replaying(
        ::idempotency::__private1::protected(
            ::idempotency::Options::new(),
            || ::idempotency::__private1::run(create_token()),
        ),
        |argument_0| ::idempotency::__private1::rebuild_without_state(
            tokens::show,
            argument_0,
        ),
    )
};
