#[allow(non_upper_case_globals, clippy::type_complexity)]
pub const cancel_booking: ::idempotency::Idempotent<
    fn(
        Path<Uuid>,
    ) -> ::idempotency::__private1::BoxFuture<
        'static,
        ::idempotency::__private1::Response,
    >,
> = {
    async fn cancel_booking(
        Path(id): Path<Uuid>,
    ) -> Result<impl IntoResponse, ApiError> {
        Ok((StatusCode::NO_CONTENT, [("x-booking", id.to_string())]))
    }
    ::idempotency::__private1::protected(
        ::idempotency::Options::new()
            .ttl(::idempotency::__private1::Duration::from_secs(60))
            .mode(::idempotency::options::RunMode::Transactional),
        |argument_0| ::idempotency::__private1::run_into_response(
            cancel_booking(argument_0),
        ),
    )
};
