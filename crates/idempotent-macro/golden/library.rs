#[allow(non_upper_case_globals, clippy::type_complexity)]
const transfer: crate::web::idempotency::Idempotent<
    fn(
        Claims,
    ) -> crate::web::idempotency::__private1::Direct<
        crate::web::idempotency::__private1::Response,
    >,
    crate::web::idempotency::__private1::ProvedBy<
        Claims,
        fn(
            crate::web::idempotency::__private1::Proved<Claims>,
        ) -> crate::web::idempotency::__private1::BoxFuture<
            'static,
            crate::web::idempotency::__private1::Response,
        >,
    >,
> = {
    async fn transfer(claims: Claims) -> impl IntoResponse {
        claims.subject
    }
    crate::web::idempotency::__private1::protected_by::<
        Claims,
        _,
        _,
        _,
    >(
        crate::web::idempotency::Options::new()
            .ttl(crate::web::idempotency::__private1::Duration::from_secs(3600))
            .lease(crate::web::idempotency::__private1::Duration::from_secs(30))
            .on_duplicate(crate::web::idempotency::OnDuplicate::Wait)
            .on_lost(crate::web::idempotency::OnLost::Refuse)
            .keep(crate::web::idempotency::options::Keep::All),
        |argument_0| crate::web::idempotency::__private1::Direct::new(
            crate::web::idempotency::__private1::run_into_response(transfer(argument_0)),
        ),
        |argument_0| crate::web::idempotency::__private1::run_into_response(
            transfer(argument_0.0),
        ),
    )
};
