#[allow(non_upper_case_globals, clippy::type_complexity)]
pub const cancel_booking: ::idempotency::Idempotent<
    fn(
        Path<Uuid>,
    ) -> ::idempotency::__private::BoxFuture<'static, ::idempotency::__private::Response>,
> = {
    async fn cancel_booking(
        Path(id): Path<Uuid>,
    ) -> Result<impl IntoResponse, ApiError> {
        Ok((StatusCode::NO_CONTENT, [("x-booking", id.to_string())]))
    }
    ::idempotency::__private::protected(
        ::idempotency::Options::new()
            .ttl(::idempotency::__private::Duration::from_secs(60))
            .transactional(true),
        |argument_0| ::idempotency::__private::run_into_response(
            cancel_booking(argument_0),
        ),
    )
};
