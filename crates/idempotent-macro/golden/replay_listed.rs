#[allow(non_upper_case_globals, clippy::type_complexity)]
const create_token: ::idempotency::Idempotent<
    fn(
        State<Db>,
        Claims,
    ) -> ::idempotency::__private1::Direct<(ReplayWith<u64>, String)>,
    ::idempotency::__private1::ProvedBy<
        Claims,
        fn(
            State<Db>,
            ::idempotency::__private1::Proved<Claims>,
        ) -> ::idempotency::__private1::BoxFuture<'static, (ReplayWith<u64>, String)>,
    >,
    ::idempotency::__private1::InState,
    ::idempotency::__private1::Rebuilt<
        fn(
            State<Db>,
            ::idempotency::__private1::ProvedAgain<Claims>,
            ReplayWith<u64>,
        ) -> ::idempotency::__private1::BoxFuture<
            'static,
            ::idempotency::__private1::Response,
        >,
    >,
> = {
    async fn create_token(
        State(db): State<Db>,
        claims: Claims,
    ) -> (ReplayWith<u64>, String) {
        db.create(claims).await
    }
    ::idempotency::__private1::replaying(
        ::idempotency::__private1::protected_by::<
            Claims,
            _,
            _,
            _,
        >(
            ::idempotency::Options::new(),
            |argument_0, argument_1| ::idempotency::__private1::Direct::new(
                ::idempotency::__private1::run(create_token(argument_0, argument_1)),
            ),
            |argument_0, argument_1| ::idempotency::__private1::run(
                create_token(argument_0, argument_1.0),
            ),
        ),
        |argument_0, argument_1, argument_2| ::idempotency::__private1::run_into_response(
            show(argument_0, argument_1.0, argument_2),
        ),
    )
};
