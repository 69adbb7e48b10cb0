#[allow(non_upper_case_globals, clippy::type_complexity)]
const create_token: ::idempotency::Idempotent<
    fn(
        State<Db>,
    ) -> ::idempotency::__private1::BoxFuture<'static, (ReplayWith<u64>, String)>,
    ::idempotency::__private1::Unproved,
    ::idempotency::__private1::InExtensions,
    ::idempotency::__private1::Rebuilt<
        fn(
            ::idempotency::__private1::State<Db>,
            ::idempotency::__private1::Request,
        ) -> ::idempotency::__private1::BoxFuture<
            'static,
            ::idempotency::__private1::Response,
        >,
    >,
> = {
    async fn create_token(State(db): State<Db>) -> (ReplayWith<u64>, String) {
        db.create().await
    }
    ::idempotency::__private1::replaying(
        ::idempotency::__private1::protected(
            ::idempotency::Options::new(),
            |argument_0| ::idempotency::__private1::run(create_token(argument_0)),
        ),
        |argument_0, argument_1| ::idempotency::__private1::rebuild_with_state(
            tokens::show,
            argument_0,
            argument_1,
        ),
    )
};
