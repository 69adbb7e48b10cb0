#[allow(non_upper_case_globals, clippy::type_complexity)]
const transfer: ::idempotency::Idempotent<
    fn(
        State<Db>,
        Claims<Admin>,
        Json<Transfer>,
    ) -> ::idempotency::__private1::Direct<StatusCode>,
    ::idempotency::__private1::ProvedBy<
        Claims<Admin>,
        fn(
            State<Db>,
            ::idempotency::__private1::Proved<Claims<Admin>>,
            Json<Transfer>,
        ) -> ::idempotency::__private1::BoxFuture<'static, StatusCode>,
    >,
> = {
    async fn transfer(
        State(db): State<Db>,
        Claims { subject, .. }: Claims<Admin>,
        Json(new): Json<Transfer>,
    ) -> StatusCode {
        db.transfer(subject, new).await
    }
    ::idempotency::__private1::protected_by::<
        Claims<Admin>,
        _,
        _,
        _,
    >(
        ::idempotency::Options::new().required(),
        |argument_0, argument_1, argument_2| ::idempotency::__private1::Direct::new(
            ::idempotency::__private1::run(transfer(argument_0, argument_1, argument_2)),
        ),
        |argument_0, argument_1, argument_2| ::idempotency::__private1::run(
            transfer(argument_0, argument_1.0, argument_2),
        ),
    )
};
